//! One stored xorb, open for reading: its verified footer and its chunks.

use std::fs::File;
use std::io;
use std::sync::Arc;

use xetway_core::buffer::front;
use xetway_core::codec::{Decoder, Scheme};
use xetway_core::hash::chunk_hash;
use xetway_core::xorb::{ChunkHeader, ChunkMeta, XorbMeta, footer_bytes, parse_footer};
use xetway_core::{Error as FormatError, Hash};

use crate::error::{Error, Result};
use crate::footers::{Footer, Footers};
use crate::layout::Layout;
use crate::positioned::{Stamp, read_exact_at};

/// Bytes after the footer that hold its length.
const FOOTER_LENGTH_BYTES: u64 = 4;

/// A xorb's file and the footer read from that very file.
#[derive(Debug)]
pub(crate) struct XorbFile {
    xorb: Hash,
    footer: Arc<Footer>,
    file: File,
    bytes: u64,
}

impl XorbFile {
    /// Open a xorb, reading its footer unless it is cached for this file.
    pub(crate) fn open(layout: &Layout, footers: &Footers, xorb: Hash) -> Result<Self> {
        let (file, stamp) = open(layout, xorb)?;
        let footer = if let Some(footer) = footers.get(&xorb, stamp) {
            footer
        } else {
            let footer = Arc::new(Footer::new(read_footer(&file, stamp.bytes, xorb)?));
            footers.put(xorb, stamp, Arc::clone(&footer));
            footer
        };
        Ok(Self {
            xorb,
            footer,
            file,
            bytes: stamp.bytes,
        })
    }

    /// Open a xorb, reading its footer whatever is cached.
    pub(crate) fn open_afresh(layout: &Layout, xorb: Hash) -> Result<Self> {
        let (file, stamp) = open(layout, xorb)?;
        let footer = Arc::new(Footer::new(read_footer(&file, stamp.bytes, xorb)?));
        Ok(Self {
            xorb,
            footer,
            file,
            bytes: stamp.bytes,
        })
    }

    pub(crate) const fn xorb(&self) -> Hash {
        self.xorb
    }

    pub(crate) fn meta(&self) -> &Arc<XorbMeta> {
        &self.footer.meta
    }

    /// Length of the whole file, footer included.
    pub(crate) const fn file_bytes(&self) -> u64 {
        self.bytes
    }

    /// The footer's record of a chunk, and where its header starts in the file.
    pub(crate) fn chunk(&self, index: u32) -> Result<(&ChunkMeta, u64)> {
        let at = index as usize;
        let meta = self.meta();
        meta.chunk(at)
            .zip(meta.start(at))
            .map(|(chunk, start)| (chunk, u64::from(start)))
            .ok_or_else(|| {
                let chunks = meta.len() as u64;
                Error::Format(FormatError::ChunkRange {
                    xorb: self.xorb,
                    start: index,
                    end: index,
                    chunks,
                })
            })
    }

    /// Fill `buffer` with the file's bytes from `offset` on.
    pub(crate) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        read(&self.file, self.xorb, buffer, offset)
    }

    /// Decode the chunk that `stored` holds into `raw`, whose length is the chunk's, and prove it.
    pub(crate) fn decode(&self, decoder: &mut Decoder, index: u32, stored: &[u8], raw: &mut [u8]) -> Result<()> {
        let (chunk, offset) = self.chunk(index)?;
        payload(stored, raw.len(), offset)
            .and_then(|(scheme, payload)| decode(decoder, scheme, payload, raw, offset))
            .and_then(|()| {
                if self.footer.was_proven(index, stored) {
                    return Ok(());
                }
                same_hash(raw, chunk.hash, offset)?;
                self.footer.note_proven(index, stored);
                Ok(())
            })
            .map_err(Error::corrupt(self.xorb, Some(index)))
    }

    /// Return the content of the chunk that `stored` holds, proven now: a part of it, or decoded into `raw`.
    pub(crate) fn content<'a>(
        &self,
        decoder: &mut Decoder,
        index: u32,
        stored: &'a [u8],
        raw: &'a mut Vec<u8>,
    ) -> Result<&'a [u8]> {
        let (chunk, offset) = self.chunk(index)?;
        let raw_bytes = chunk.raw_bytes as usize;
        let content = payload(stored, raw_bytes, offset).and_then(|(scheme, payload)| {
            let content = if scheme == Scheme::None && payload.len() == raw_bytes {
                payload
            } else {
                let raw = front(raw, raw_bytes);
                decode(decoder, scheme, payload, raw, offset)?;
                raw
            };
            same_hash(content, chunk.hash, offset)?;
            Ok(content)
        });
        content.map_err(Error::corrupt(self.xorb, Some(index)))
    }

    /// Prove the chunk that `stored` holds; it is decoded, into `raw`, unless these very bytes were before.
    pub(crate) fn prove(&self, decoder: &mut Decoder, index: u32, stored: &[u8], raw: &mut Vec<u8>) -> Result<()> {
        if self.footer.was_proven(index, stored) {
            return Ok(());
        }
        let raw_bytes = self.chunk(index)?.0.raw_bytes as usize;
        self.decode(decoder, index, stored, front(raw, raw_bytes))
    }
}

/// Look at the header of a stored chunk; returns how its payload is encoded, and the payload.
fn payload(stored: &[u8], raw_bytes: usize, offset: u64) -> Result<(Scheme, &[u8]), FormatError> {
    let truncated = FormatError::Truncated {
        format: "chunk",
        offset,
        wanted: ChunkHeader::BYTES as u64,
        got: stored.len() as u64,
    };
    let (header, payload) = stored.split_first_chunk::<{ ChunkHeader::BYTES }>().ok_or(truncated)?;
    let header = ChunkHeader::parse(header).map_err(|error| error.shifted(offset))?;
    same_length("stored chunk", payload.len(), header.compressed_bytes, offset)?;
    same_length("decoded chunk", raw_bytes, header.raw_bytes, offset)?;
    Ok((header.scheme, payload))
}

fn decode(
    decoder: &mut Decoder,
    scheme: Scheme,
    payload: &[u8],
    raw: &mut [u8],
    offset: u64,
) -> Result<(), FormatError> {
    decoder
        .decompress_into(scheme, payload, raw)
        .map_err(|error| error.shifted(offset + ChunkHeader::BYTES as u64))
}

fn same_hash(raw: &[u8], expected: Hash, offset: u64) -> Result<(), FormatError> {
    let actual = chunk_hash(raw);
    if actual == expected {
        return Ok(());
    }
    Err(FormatError::HashMismatch {
        what: "chunk",
        expected,
        actual,
        offset,
        code: "chunk_hash",
    })
}

fn same_length(what: &'static str, expected: usize, actual: u32, offset: u64) -> Result<(), FormatError> {
    let (expected, actual) = (expected as u64, u64::from(actual));
    if expected == actual {
        return Ok(());
    }
    Err(FormatError::LengthMismatch {
        what,
        expected,
        actual,
        offset,
        code: "chunk_length",
    })
}

fn open(layout: &Layout, xorb: Hash) -> Result<(File, Stamp)> {
    let file = File::open(layout.xorb(&xorb)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::Missing { xorb },
        _ => Error::io("open a xorb")(error),
    })?;
    let stamp = Stamp::of(&file.metadata().map_err(Error::io("look at a xorb"))?);
    Ok((file, stamp))
}

fn read(file: &File, xorb: Hash, buffer: &mut [u8], offset: u64) -> Result<()> {
    read_exact_at(file, buffer, offset).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::corrupt(xorb, None)(FormatError::Truncated {
            format: "xorb",
            offset,
            wanted: buffer.len() as u64,
            got: file
                .metadata()
                .map_or(0, |metadata| metadata.len().saturating_sub(offset)),
        }),
        _ => Error::io("read a xorb")(error),
    })
}

/// Read the footer at the end of a file and prove it: its hashes give the xorb's name, its lengths
/// fill the file.
fn read_footer(file: &File, file_bytes: u64, xorb: Hash) -> Result<XorbMeta> {
    let corrupt = |cause| Error::corrupt(xorb, None)(cause);
    let truncated = |wanted: u64| {
        corrupt(FormatError::Truncated {
            format: "xorb",
            offset: 0,
            wanted,
            got: file_bytes,
        })
    };
    let length_at = file_bytes
        .checked_sub(FOOTER_LENGTH_BYTES)
        .ok_or_else(|| truncated(FOOTER_LENGTH_BYTES))?;
    let mut length = [0_u8; 4];
    read(file, xorb, &mut length, length_at)?;
    let length = footer_bytes(length).map_err(|error| corrupt(error.shifted(length_at)))?;
    let footer_at = length_at
        .checked_sub(length as u64)
        .ok_or_else(|| truncated(length as u64))?;
    let mut footer = vec![0_u8; length];
    read(file, xorb, &mut footer, footer_at)?;
    let meta = parse_footer(&footer)
        .and_then(xetway_core::xorb::Footer::into_meta)
        .map_err(|error| corrupt(error.shifted(footer_at)))?;
    prove(&meta, xorb, footer_at).map_err(corrupt)?;
    Ok(meta)
}

fn prove(meta: &XorbMeta, xorb: Hash, footer_at: u64) -> Result<(), FormatError> {
    let (expected, actual, offset) = (xorb, meta.hash(), footer_at);
    if expected != actual {
        let (what, code) = ("xorb footer", "xorb_hash");
        return Err(FormatError::HashMismatch {
            what,
            expected,
            actual,
            offset,
            code,
        });
    }
    meta.verify_root().map_err(|error| error.shifted(footer_at))?;
    let (expected, actual) = (footer_at, u64::from(meta.chunk_data_bytes()));
    if expected != actual {
        let (what, code) = ("chunk data", "footer_mismatch");
        return Err(FormatError::LengthMismatch {
            what,
            expected,
            actual,
            offset: 0,
            code,
        });
    }
    Ok(())
}

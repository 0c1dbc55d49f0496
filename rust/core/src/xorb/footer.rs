//! The footer of a stored xorb: hashes and offsets of its chunks.
//!
//! Version 1 is written; versions 0 and 1 are read. A `u32` after the footer holds its length,
//! itself not counted. The 16 reserved bytes at the end may hold anything and are ignored.
//!
//! | version 1 | size | field |
//! |---|---|---|
//! | 0 | 8 | "XETBLOB", 1 |
//! | 8 | 32 | xorb hash |
//! | 40 | 8 | "XBLBHSH", 0 |
//! | 48 | 4 | number of chunks n |
//! | 52 | 32 n | chunk hashes |
//! | .. | 8 | "XBLBBND", 1 |
//! | .. | 4 | n |
//! | .. | 4 n | end of each chunk in the chunk data |
//! | .. | 4 n | end of each chunk in the raw bytes |
//! | .. | 4 | n |
//! | .. | 4 | distance from the footer's end back to "XBLBHSH" |
//! | .. | 4 | distance from the footer's end back to "XBLBBND" |
//! | .. | 16 | reserved |
//!
//! Version 0: "XETBLOB", 0; xorb hash; n; ends in the chunk data; chunk hashes; 16 reserved bytes.

use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::reader::Reader;
use crate::xorb::meta::ChunkList;
use crate::xorb::{MAX_CHUNKS, MAX_FOOTER_BYTES, XorbMeta, too_many_chunks};

const FORMAT: &str = "xorb footer";
/// First bytes of every footer. No chunk header starts so: its version byte is 0.
pub(crate) const IDENT: [u8; 7] = *b"XETBLOB";
const HASHES_IDENT: [u8; 7] = *b"XBLBHSH";
const BOUNDARY_IDENT: [u8; 7] = *b"XBLBBND";
const RESERVED_BYTES: usize = 16;

/// Length of the field after the footer.
pub(crate) const LENGTH_BYTES: usize = 4;

pub(crate) const fn v1_bytes(chunks: usize) -> usize {
    92 + 40 * chunks
}

const fn v0_bytes(chunks: usize) -> usize {
    60 + 36 * chunks
}

/// A footer as read: consistent in itself, compared with nothing else yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Layout the footer was read from: 0 or 1.
    pub version: u8,
    /// Hash of the xorb.
    pub hash: Hash,
    /// Hash of each chunk.
    pub hashes: Vec<Hash>,
    /// End of each chunk in the chunk data.
    pub ends: Vec<u32>,
    /// End of each chunk in the raw bytes; version 0 does not know them.
    pub raw_ends: Option<Vec<u32>>,
}

impl Footer {
    /// Turn a footer of version 1 into the description of a xorb, checking every offset.
    ///
    /// Does not check that the hash is the root of the chunk hashes: see
    /// [`XorbMeta::verify_root`].
    pub fn into_meta(self) -> Result<XorbMeta> {
        let Some(raw_ends) = &self.raw_ends else {
            return Err(malformed(
                7,
                "footer_version",
                "a footer of version 0 does not hold raw lengths",
            ));
        };
        let mut list = ChunkList::default();
        let (mut before, mut raw_before) = (0_u32, 0_u32);
        for ((hash, end), raw_end) in self.hashes.iter().zip(&self.ends).zip(raw_ends) {
            let lengths = end.checked_sub(before).zip(raw_end.checked_sub(raw_before));
            let Some((stored_bytes, raw_bytes)) = lengths else {
                return Err(malformed(0, "footer_offsets", "chunk offsets do not grow"));
            };
            list.push(*hash, raw_bytes, stored_bytes)?;
            (before, raw_before) = (*end, *raw_end);
        }
        list.finish(self.hash)
    }

    /// Check that this footer describes exactly the xorb `meta`.
    pub(crate) fn check_against(&self, meta: &XorbMeta) -> Result<()> {
        let chunks = meta.chunks();
        let same = self.hash == meta.hash()
            && self.hashes.iter().eq(chunks.iter().map(|chunk| &chunk.hash))
            && self.ends.iter().eq(chunks.iter().map(|chunk| &chunk.end))
            && self
                .raw_ends
                .as_ref()
                .is_none_or(|ends| ends.iter().eq(chunks.iter().map(|chunk| &chunk.raw_end)));
        if same {
            return Ok(());
        }
        Err(malformed(
            0,
            "footer_mismatch",
            "footer does not describe the chunks before it",
        ))
    }
}

const fn malformed(offset: u64, code: &'static str, reason: &'static str) -> Error {
    Error::Malformed {
        format: FORMAT,
        offset,
        code,
        reason,
    }
}

/// Append a footer of version 1 and its length to `out`.
pub fn write_footer(meta: &XorbMeta, out: &mut Vec<u8>) {
    let chunks = meta.chunks();
    // A XorbMeta holds at most MAX_CHUNKS chunks, so these lengths fit.
    let count = u32::try_from(chunks.len()).unwrap_or_default().to_le_bytes();
    let boundary_bytes = 12 + 8 * chunks.len() + 12 + RESERVED_BYTES;
    let hashes_bytes = 12 + 32 * chunks.len() + boundary_bytes;
    let length_field = |bytes: usize| u32::try_from(bytes).unwrap_or_default().to_le_bytes();
    out.reserve(v1_bytes(chunks.len()) + LENGTH_BYTES);
    out.extend_from_slice(&IDENT);
    out.push(1);
    out.extend_from_slice(meta.hash().as_bytes());
    out.extend_from_slice(&HASHES_IDENT);
    out.push(0);
    out.extend_from_slice(&count);
    out.extend(chunks.iter().flat_map(|chunk| *chunk.hash.as_bytes()));
    out.extend_from_slice(&BOUNDARY_IDENT);
    out.push(1);
    out.extend_from_slice(&count);
    out.extend(chunks.iter().flat_map(|chunk| chunk.end.to_le_bytes()));
    out.extend(chunks.iter().flat_map(|chunk| chunk.raw_end.to_le_bytes()));
    out.extend_from_slice(&count);
    out.extend_from_slice(&length_field(hashes_bytes));
    out.extend_from_slice(&length_field(boundary_bytes));
    out.extend_from_slice(&[0; RESERVED_BYTES]);
    out.extend_from_slice(&length_field(v1_bytes(chunks.len())));
}

/// Read the length of a footer from the last four bytes of a stored xorb.
///
/// The footer is that many bytes, right before those four.
pub fn footer_bytes(tail: [u8; 4]) -> Result<usize> {
    let bytes = u32::from_le_bytes(tail) as usize;
    let limit = MAX_FOOTER_BYTES - LENGTH_BYTES;
    if bytes > limit {
        return Err(Error::LimitExceeded {
            what: "xorb footer length",
            limit: limit as u64,
            actual: bytes as u64,
            offset: 0,
            code: "footer_length",
        });
    }
    if bytes < v0_bytes(1) {
        return Err(malformed(0, "footer_length", "length is too small for any footer"));
    }
    Ok(bytes)
}

/// Read a whole footer, of version 0 or 1, without the length field after it.
pub fn parse_footer(bytes: &[u8]) -> Result<Footer> {
    let mut reader = Reader::new(FORMAT, bytes);
    if reader.array()? != IDENT {
        return Err(malformed(0, "footer_ident", "footer does not start with XETBLOB"));
    }
    let version = reader.u8()?;
    let hash = reader.hash()?;
    let footer = match version {
        0 => read_v0(&mut reader, hash)?,
        1 => read_v1(&mut reader, hash)?,
        _ => return Err(malformed(7, "footer_version", "version is not 0 or 1")),
    };
    if reader.remaining() > 0 {
        return Err(reader.malformed(0, "footer_length", "bytes follow the footer"));
    }
    Ok(footer)
}

fn read_v0(reader: &mut Reader<'_>, hash: Hash) -> Result<Footer> {
    let count = read_count(reader)?;
    let ends = read_u32s(reader, count)?;
    let hashes = read_hashes(reader, count)?;
    reader.take(RESERVED_BYTES)?;
    Ok(Footer {
        version: 0,
        hash,
        hashes,
        ends,
        raw_ends: None,
    })
}

fn read_v1(reader: &mut Reader<'_>, hash: Hash) -> Result<Footer> {
    let total = reader.offset().saturating_add(reader.remaining() as u64);
    let hashes_at = reader.offset();
    read_ident(reader, HASHES_IDENT, 0)?;
    let count = read_count(reader)?;
    let hashes = read_hashes(reader, count)?;
    let boundary_at = reader.offset();
    read_ident(reader, BOUNDARY_IDENT, 1)?;
    read_same_count(reader, count)?;
    let ends = read_u32s(reader, count)?;
    let raw_ends = Some(read_u32s(reader, count)?);
    read_same_count(reader, count)?;
    for section_at in [hashes_at, boundary_at] {
        if u64::from(reader.u32()?) != total.saturating_sub(section_at) {
            return Err(reader.malformed(4, "footer_offsets", "section is not where the footer says"));
        }
    }
    reader.take(RESERVED_BYTES)?;
    Ok(Footer {
        version: 1,
        hash,
        hashes,
        ends,
        raw_ends,
    })
}

fn read_ident(reader: &mut Reader<'_>, ident: [u8; 7], version: u8) -> Result<()> {
    if reader.array()? != ident {
        return Err(reader.malformed(7, "footer_ident", "section does not start with its identifier"));
    }
    if reader.u8()? != version {
        return Err(reader.malformed(1, "footer_version", "section has an unknown version"));
    }
    Ok(())
}

fn read_count(reader: &mut Reader<'_>) -> Result<u32> {
    let count = reader.u32()?;
    if count as usize > MAX_CHUNKS {
        return Err(too_many_chunks(u64::from(count), reader.offset().saturating_sub(4)));
    }
    Ok(count)
}

fn read_same_count(reader: &mut Reader<'_>, count: u32) -> Result<()> {
    if reader.u32()? != count {
        return Err(reader.malformed(4, "footer_count", "chunk counts differ"));
    }
    Ok(())
}

fn read_hashes(reader: &mut Reader<'_>, count: u32) -> Result<Vec<Hash>> {
    reader.ensure(count, 32)?;
    (0..count).map(|_| reader.hash()).collect()
}

fn read_u32s(reader: &mut Reader<'_>, count: u32) -> Result<Vec<u32>> {
    reader.ensure(count, 4)?;
    (0..count).map(|_| reader.u32()).collect()
}

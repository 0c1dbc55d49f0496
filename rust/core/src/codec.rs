//! The compression schemes of a chunk, and a chunk as it stands in a xorb: header and payload.
//!
//! Which scheme is worth trying is decided by a probe of a few samples ([`choose`]); what is written
//! is never larger than the raw chunk. The frame layer is in [`crate::lz4`].
//!
//! Source: draft-denis-xet-03, "Compression Schemes"; limits of the deployed reader.

use crate::bg4;
use crate::buffer::front;
use crate::error::{Error, Result};
use crate::lz4;
use crate::probe;
use crate::xorb::{ChunkHeader, MAX_CHUNK_BYTES};

/// How the payload of a chunk is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Scheme {
    /// The raw bytes.
    None = 0,
    /// One LZ4 frame.
    Lz4 = 1,
    /// One LZ4 frame of the byte-grouped chunk.
    ByteGrouping4Lz4 = 2,
}

impl TryFrom<u8> for Scheme {
    type Error = Error;

    fn try_from(scheme: u8) -> Result<Self> {
        match scheme {
            0 => Ok(Self::None),
            1 => Ok(Self::Lz4),
            2 => Ok(Self::ByteGrouping4Lz4),
            _ => Err(Error::BadScheme { scheme, offset: 0 }),
        }
    }
}

/// Encodes chunks; keeps its buffers between calls.
#[derive(Default)]
pub struct Encoder {
    lz4: lz4::Encoder,
    grouped: Vec<u8>,
}

impl Encoder {
    /// Make an encoder with empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Append `data` encoded with `scheme` to `out`, whether or not that is smaller.
    pub fn compress(&mut self, data: &[u8], scheme: Scheme, out: &mut Vec<u8>) {
        match scheme {
            Scheme::None => out.extend_from_slice(data),
            Scheme::Lz4 => self.lz4.encode(data, out),
            Scheme::ByteGrouping4Lz4 => {
                let grouped = front(&mut self.grouped, data.len());
                // The lengths are equal.
                let _ = bg4::split(data, grouped);
                self.lz4.encode_planes(grouped, out);
            }
        }
    }

    /// Say which scheme is worth trying on `data`, from samples of it.
    ///
    /// `None` is the answer only for data that LZ4 plainly cannot shrink.
    pub fn choose(&mut self, data: &[u8]) -> Scheme {
        probe::choose(data, &mut self.lz4)
    }

    /// Append one chunk, header and payload, to `out`, with the scheme that [`Self::choose`] names
    /// or with none if the result would not be smaller than the raw bytes.
    ///
    /// Returns the header written. A chunk of no bytes or of more than [`MAX_CHUNK_BYTES`] is an
    /// error, and nothing is written.
    pub fn encode_chunk(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<ChunkHeader> {
        let scheme = self.choose(data);
        self.encode_chunk_as(data, scheme, out)
    }

    /// Append one chunk with a given scheme, or with none if the result would not be smaller.
    ///
    /// As [`Self::encode_chunk`] in all else.
    pub fn encode_chunk_as(&mut self, data: &[u8], scheme: Scheme, out: &mut Vec<u8>) -> Result<ChunkHeader> {
        let raw_bytes = raw_length(data.len())?;
        let start = out.len();
        let body = start + ChunkHeader::BYTES;
        out.resize(body, 0);
        let mut header = ChunkHeader {
            scheme: Scheme::None,
            compressed_bytes: raw_bytes,
            raw_bytes,
        };
        if scheme != Scheme::None {
            self.compress(data, scheme, out);
            // Compressed data that does not fit 32 bits is not smaller than a chunk either.
            let compressed_bytes = u32::try_from(out.len() - body).unwrap_or(u32::MAX);
            if compressed_bytes < raw_bytes {
                header = ChunkHeader {
                    scheme,
                    compressed_bytes,
                    raw_bytes,
                };
            }
        }
        if header.scheme == Scheme::None {
            out.truncate(body);
            out.extend_from_slice(data);
        }
        if let Some(field) = out.get_mut(start..body) {
            field.copy_from_slice(&header.to_bytes());
        }
        Ok(header)
    }
}

/// Decodes payloads; keeps its buffer between calls.
#[derive(Debug, Default)]
pub struct Decoder {
    grouped: Vec<u8>,
}

impl Decoder {
    /// Make a decoder with an empty buffer.
    pub const fn new() -> Self {
        Self { grouped: Vec::new() }
    }

    /// Decode `payload` into `dst`, whose length is the exact raw length.
    ///
    /// A payload that decodes to fewer or more bytes is an error; nothing is ever written outside
    /// `dst`, and after an error its content is unspecified. Memory: one buffer as large as `dst`
    /// at most was, for byte grouping only.
    pub fn decompress_into(&mut self, scheme: Scheme, payload: &[u8], dst: &mut [u8]) -> Result<()> {
        match scheme {
            Scheme::None if payload.len() == dst.len() => {
                dst.copy_from_slice(payload);
                Ok(())
            }
            Scheme::None => Err(Error::LengthMismatch {
                what: "stored chunk",
                expected: dst.len() as u64,
                actual: payload.len() as u64,
                offset: 0,
                code: "decoded_length",
            }),
            Scheme::Lz4 => lz4::decode(payload, dst),
            Scheme::ByteGrouping4Lz4 => {
                let grouped = front(&mut self.grouped, dst.len().saturating_add(lz4::ROOM_BYTES));
                lz4::decode_front(payload, grouped, dst.len())?;
                // The lengths are equal.
                let _ = bg4::merge(grouped.get(..dst.len()).unwrap_or_default(), dst);
                Ok(())
            }
        }
    }
}

fn raw_length(bytes: usize) -> Result<u32> {
    if bytes == 0 {
        return Err(Error::Malformed {
            format: "chunk",
            offset: 0,
            code: "chunk_empty",
            reason: "chunk has no bytes",
        });
    }
    u32::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes <= MAX_CHUNK_BYTES)
        .ok_or(Error::LimitExceeded {
            what: "raw chunk length",
            limit: u64::from(MAX_CHUNK_BYTES),
            actual: bytes as u64,
            offset: 0,
            code: "chunk_too_large",
        })
}

/// Append `data` encoded with `scheme` to `out`, whether or not that is smaller.
pub fn compress(data: &[u8], scheme: Scheme, out: &mut Vec<u8>) {
    Encoder::new().compress(data, scheme, out);
}

/// Say which scheme is worth trying on `data`; see [`Encoder::choose`].
pub fn choose(data: &[u8]) -> Scheme {
    Encoder::new().choose(data)
}

/// Append one chunk, header and payload, to `out`; see [`Encoder::encode_chunk`].
pub fn encode_chunk(data: &[u8], out: &mut Vec<u8>) -> Result<ChunkHeader> {
    Encoder::new().encode_chunk(data, out)
}

/// Decode `payload` into `dst`; see [`Decoder::decompress_into`].
pub fn decompress_into(scheme: Scheme, payload: &[u8], dst: &mut [u8]) -> Result<()> {
    Decoder::new().decompress_into(scheme, payload, dst)
}

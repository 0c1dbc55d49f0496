//! The 8 bytes before the payload of each chunk.

use crate::codec::Scheme;
use crate::error::{Error, Result};
use crate::xorb::{MAX_CHUNK_BYTES, MAX_COMPRESSED_CHUNK_BYTES};

const FORMAT: &str = "chunk header";

/// Header of one chunk.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 1 | version, 0 |
/// | 1 | 3 | payload length, little-endian |
/// | 4 | 1 | scheme |
/// | 5 | 3 | raw length, little-endian |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    /// How the payload is encoded.
    pub scheme: Scheme,
    /// Length of the payload, without this header.
    pub compressed_bytes: u32,
    /// Length of the decoded chunk.
    pub raw_bytes: u32,
}

impl ChunkHeader {
    /// Length of the header itself.
    pub const BYTES: usize = 8;

    /// The same, for sums of lengths that are stored as `u32`.
    pub(crate) const BYTES_U32: u32 = 8;

    /// Read a header and check its lengths against the limits of a chunk.
    pub fn parse(bytes: &[u8; Self::BYTES]) -> Result<Self> {
        let [version, c0, c1, c2, scheme, r0, r1, r2] = *bytes;
        if version != 0 {
            return Err(Error::Malformed {
                format: FORMAT,
                offset: 0,
                code: "chunk_version",
                reason: "version is not 0",
            });
        }
        let scheme = Scheme::try_from(scheme).map_err(|error| error.shifted(4))?;
        let compressed_bytes = u32::from_le_bytes([c0, c1, c2, 0]);
        let raw_bytes = u32::from_le_bytes([r0, r1, r2, 0]);
        check("chunk payload length", compressed_bytes, MAX_COMPRESSED_CHUNK_BYTES, 1)?;
        check("raw chunk length", raw_bytes, MAX_CHUNK_BYTES, 5)?;
        Ok(Self {
            scheme,
            compressed_bytes,
            raw_bytes,
        })
    }

    /// Return the 8 bytes of the header. Lengths are at most 24 bits wide in any valid header.
    pub const fn to_bytes(&self) -> [u8; Self::BYTES] {
        let [c0, c1, c2, _] = self.compressed_bytes.to_le_bytes();
        let [r0, r1, r2, _] = self.raw_bytes.to_le_bytes();
        [0, c0, c1, c2, self.scheme as u8, r0, r1, r2]
    }

    /// Return the length of the whole chunk as stored: header and payload.
    pub const fn stored_bytes(&self) -> u32 {
        self.compressed_bytes.saturating_add(Self::BYTES_U32)
    }
}

fn check(what: &'static str, actual: u32, limit: u32, offset: u64) -> Result<()> {
    if actual == 0 {
        return Err(Error::Malformed {
            format: FORMAT,
            offset,
            code: "chunk_empty",
            reason: "a length is zero",
        });
    }
    if actual > limit {
        return Err(Error::LimitExceeded {
            what,
            limit: u64::from(limit),
            actual: u64::from(actual),
            offset,
            code: "chunk_too_large",
        });
    }
    Ok(())
}

//! The fixed records of a shard, and the term, which travels on its own as well.

use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::reader::Reader;
use crate::shard::RECORD_BYTES;

/// First bytes of every shard: an application name, a zero byte, and 17 bytes of magic.
pub(crate) const TAG: [u8; 32] =
    *b"HFRepoMetaData\0\x55\x69\x67\x45\x6a\x7b\x81\x57\x83\xa5\xbd\xd9\x5c\xcd\xd1\x4a\xa9";

/// Header version written. Readers in the field accept any.
pub(crate) const HEADER_VERSION: u64 = 2;

/// The only footer version.
pub(crate) const FOOTER_VERSION: u64 = 1;

/// Hash that ends a section; the rest of its record is zero.
pub(crate) const BOOKEND: Hash = Hash::from_bytes([0xff; 32]);

/// A run of chunks of one xorb, as part of a file.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 32 | xorb hash |
/// | 32 | 4 | flags, reserved |
/// | 36 | 4 | raw length of the chunks together |
/// | 40 | 4 | first chunk |
/// | 44 | 4 | one past the last chunk |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Xorb hash.
    pub xorb: Hash,
    /// Reserved; zero from every known writer.
    pub flags: u32,
    /// Raw length of the chunks together.
    pub unpacked_bytes: u32,
    /// First chunk.
    pub start: u32,
    /// One past the last chunk.
    pub end: u32,
}

impl Term {
    /// Length of the record.
    pub const BYTES: usize = RECORD_BYTES;

    /// Read a record. Every 48 bytes are a term; whether its chunks exist is checked elsewhere.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let [
            xorb @ ..,
            f0,
            f1,
            f2,
            f3,
            u0,
            u1,
            u2,
            u3,
            s0,
            s1,
            s2,
            s3,
            e0,
            e1,
            e2,
            e3,
        ] = *bytes;
        Self {
            xorb: Hash::from_bytes(xorb),
            flags: u32::from_le_bytes([f0, f1, f2, f3]),
            unpacked_bytes: u32::from_le_bytes([u0, u1, u2, u3]),
            start: u32::from_le_bytes([s0, s1, s2, s3]),
            end: u32::from_le_bytes([e0, e1, e2, e3]),
        }
    }

    /// Return the record.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        record(self.xorb, [self.flags, self.unpacked_bytes, self.start, self.end])
    }
}

/// Read terms written one after the other.
pub fn terms_from_bytes(bytes: &[u8]) -> Result<Vec<Term>> {
    let (records, rest) = bytes.as_chunks::<{ Term::BYTES }>();
    if !rest.is_empty() {
        return Err(Error::Truncated {
            format: "terms",
            offset: (bytes.len() - rest.len()) as u64,
            wanted: Term::BYTES as u64,
            got: rest.len() as u64,
        });
    }
    Ok(records.iter().map(Term::from_bytes).collect())
}

/// Return terms written one after the other.
pub fn terms_to_bytes(terms: &[Term]) -> Vec<u8> {
    terms.iter().flat_map(Term::to_bytes).collect()
}

/// Make a record of a hash and four integers.
pub(crate) fn record(hash: Hash, fields: [u32; 4]) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    let (head, tail) = bytes.split_at_mut(Hash::BYTES);
    head.copy_from_slice(hash.as_bytes());
    for (slot, field) in tail.as_chunks_mut::<4>().0.iter_mut().zip(fields) {
        *slot = field.to_le_bytes();
    }
    bytes
}

/// The first record of a file or xorb block.
pub(crate) struct BlockHeader {
    pub(crate) hash: Hash,
    pub(crate) flags: u32,
    pub(crate) count: u32,
    /// Reserved in a file block; raw bytes and stored bytes in a xorb block.
    pub(crate) sizes: [u32; 2],
}

/// Read the first record of a block, or `None` if it is the bookend of the section.
pub(crate) fn read_block_header(reader: &mut Reader<'_>) -> Result<Option<BlockHeader>> {
    let hash = reader.hash()?;
    let header = BlockHeader {
        hash,
        flags: reader.u32()?,
        count: reader.u32()?,
        sizes: [reader.u32()?, reader.u32()?],
    };
    if hash != BOOKEND {
        return Ok(Some(header));
    }
    if header.flags != 0 || header.count != 0 || header.sizes != [0; 2] {
        return Err(reader.malformed(16, "shard_bookend", "the end of a section is not followed by zeros"));
    }
    Ok(None)
}

//! What is known about a xorb without its chunk data.

use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::merkle::MerkleHasher;
use crate::xorb::{ChunkHeader, MAX_CHUNK_BYTES, MAX_CHUNKS, MAX_COMPRESSED_CHUNK_BYTES, MAX_RAW_BYTES};
use crate::xorb::{too_many_bytes, too_many_chunks};

/// One chunk of a xorb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkMeta {
    /// Hash of the raw bytes.
    pub hash: Hash,
    /// Length of the raw bytes.
    pub raw_bytes: u32,
    /// Where the chunk ends in the concatenated raw bytes of the xorb.
    pub raw_end: u32,
    /// Where the chunk ends in the chunk data, headers included.
    pub end: u32,
}

impl ChunkMeta {
    /// Return where the chunk starts in the concatenated raw bytes of the xorb.
    pub const fn raw_start(&self) -> u32 {
        self.raw_end.saturating_sub(self.raw_bytes)
    }
}

/// The hash of a xorb and the list of its chunks, always within the limits of a xorb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XorbMeta {
    hash: Hash,
    chunks: Vec<ChunkMeta>,
}

impl XorbMeta {
    /// Make a description from the hash claimed for a xorb and (hash, raw length, stored length)
    /// of each chunk, stored lengths with header.
    ///
    /// Checks the limits, not the hash: see [`Self::verify_root`].
    pub fn new(hash: Hash, chunks: impl IntoIterator<Item = (Hash, u32, u32)>) -> Result<Self> {
        let mut list = ChunkList::default();
        for (chunk, raw_bytes, stored_bytes) in chunks {
            list.push(chunk, raw_bytes, stored_bytes)?;
        }
        list.finish(hash)
    }

    /// Return the hash the xorb is known by.
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// Return all chunks in order; there is at least one.
    pub fn chunks(&self) -> &[ChunkMeta] {
        &self.chunks
    }

    /// Return the number of chunks.
    pub const fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Say whether there are no chunks: never.
    pub const fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Return one chunk.
    pub fn chunk(&self, index: usize) -> Option<&ChunkMeta> {
        self.chunks.get(index)
    }

    /// Return where chunk `index` starts in the chunk data; for the chunk count, where they all end.
    pub fn start(&self, index: usize) -> Option<u32> {
        self.end_before(index, |chunk| chunk.end)
    }

    /// Return where chunk `index` starts in the raw bytes; for the chunk count, where they all end.
    pub fn raw_start(&self, index: usize) -> Option<u32> {
        self.end_before(index, |chunk| chunk.raw_end)
    }

    fn end_before(&self, index: usize, end: impl FnOnce(&ChunkMeta) -> u32) -> Option<u32> {
        match index.checked_sub(1) {
            None => Some(0),
            Some(previous) => self.chunks.get(previous).map(end),
        }
    }

    /// Return the number of raw bytes.
    pub fn raw_bytes(&self) -> u32 {
        self.chunks.last().map_or(0, |chunk| chunk.raw_end)
    }

    /// Return the number of bytes of chunk data: the stored xorb without its footer.
    pub fn chunk_data_bytes(&self) -> u32 {
        self.chunks.last().map_or(0, |chunk| chunk.end)
    }

    /// Return the chunks `start..end`, or an error if the xorb does not have them or there are none.
    pub fn range(&self, start: u32, end: u32) -> Result<&[ChunkMeta]> {
        let chunks = (start as usize)..(end as usize);
        self.chunks
            .get(chunks)
            .filter(|chunks| !chunks.is_empty())
            .ok_or(Error::ChunkRange {
                xorb: self.hash,
                start,
                end,
                chunks: self.chunks.len() as u64,
            })
    }

    /// Check that the merkle root of the chunks is the hash of the xorb.
    pub fn verify_root(&self) -> Result<()> {
        let mut hasher = MerkleHasher::new();
        for chunk in &self.chunks {
            hasher.push(chunk.hash, u64::from(chunk.raw_bytes));
        }
        check_root(self.hash, hasher.root())
    }
}

pub(crate) fn check_root(expected: Hash, actual: Hash) -> Result<()> {
    if expected == actual {
        return Ok(());
    }
    Err(Error::HashMismatch {
        what: "xorb",
        expected,
        actual,
        offset: 0,
        code: "xorb_hash",
    })
}

/// A list of chunks that grows one at a time and never leaves the limits.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChunkList {
    chunks: Vec<ChunkMeta>,
}

impl ChunkList {
    pub(crate) fn push(&mut self, hash: Hash, raw_bytes: u32, stored_bytes: u32) -> Result<()> {
        let (raw_before, before) = self.chunks.last().map_or((0, 0), |last| (last.raw_end, last.end));
        let offset = u64::from(before);
        if self.chunks.len() >= MAX_CHUNKS {
            return Err(too_many_chunks(MAX_CHUNKS as u64 + 1, offset));
        }
        let payload_bytes = stored_bytes.saturating_sub(ChunkHeader::BYTES_U32);
        if raw_bytes == 0 || payload_bytes == 0 {
            return Err(bad_length(offset, "chunk has no bytes"));
        }
        if raw_bytes > MAX_CHUNK_BYTES || payload_bytes > MAX_COMPRESSED_CHUNK_BYTES {
            return Err(bad_length(offset, "chunk is larger than any chunk can be"));
        }
        let raw_end = u64::from(raw_before) + u64::from(raw_bytes);
        let end = before.checked_add(stored_bytes);
        let (Some(end), Ok(raw_end_u32), true) = (end, u32::try_from(raw_end), raw_end <= MAX_RAW_BYTES) else {
            return Err(too_many_bytes(raw_end, offset));
        };
        self.chunks.push(ChunkMeta {
            hash,
            raw_bytes,
            raw_end: raw_end_u32,
            end,
        });
        Ok(())
    }

    pub(crate) fn as_slice(&self) -> &[ChunkMeta] {
        &self.chunks
    }

    pub(crate) fn finish(self, hash: Hash) -> Result<XorbMeta> {
        if self.chunks.is_empty() {
            return Err(Error::Malformed {
                format: "xorb",
                offset: 0,
                code: "xorb_empty",
                reason: "xorb has no chunks",
            });
        }
        Ok(XorbMeta {
            hash,
            chunks: self.chunks,
        })
    }
}

const fn bad_length(offset: u64, reason: &'static str) -> Error {
    Error::Malformed {
        format: "xorb",
        offset,
        code: "chunk_length",
        reason,
    }
}

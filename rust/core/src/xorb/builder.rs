//! Build a xorb from chunks.

use crate::codec::{Encoder, Scheme};
use crate::error::Result;
use crate::hash::Hash;
use crate::merkle::MerkleHasher;
use crate::xorb::meta::ChunkList;
use crate::xorb::{MAX_CHUNKS, MAX_RAW_BYTES, XorbMeta, too_many_bytes, too_many_chunks};

/// Collects encoded chunks up to the limits of a xorb.
///
/// Memory: the chunk data, and one buffer of the size of a chunk.
#[derive(Default)]
pub struct XorbBuilder {
    data: Vec<u8>,
    chunks: ChunkList,
    merkle: MerkleHasher,
    encoder: Encoder,
}

impl XorbBuilder {
    /// Make an empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Return the number of chunks so far.
    pub fn len(&self) -> usize {
        self.chunks.as_slice().len()
    }

    /// Say whether there are no chunks yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Return the number of raw bytes so far.
    pub fn raw_bytes(&self) -> u32 {
        self.chunks.as_slice().last().map_or(0, |chunk| chunk.raw_end)
    }

    /// Return the number of bytes of chunk data so far.
    pub fn chunk_data_bytes(&self) -> usize {
        self.data.len()
    }

    /// Say whether a chunk of `raw_bytes` may still be added.
    pub fn fits(&self, raw_bytes: usize) -> bool {
        self.len() < MAX_CHUNKS && u64::from(self.raw_bytes()).saturating_add(raw_bytes as u64) <= MAX_RAW_BYTES
    }

    /// Encode and add one chunk whose hash is known; returns its index.
    ///
    /// The hash is trusted. A chunk that is empty, too large, or does not fit ([`Self::fits`]) is
    /// an error, and nothing changes.
    pub fn push(&mut self, chunk: &[u8], hash: Hash) -> Result<usize> {
        let scheme = self.encoder.choose(chunk);
        self.push_as(chunk, hash, scheme)
    }

    /// Add one chunk with a given scheme, or with none if that is not smaller.
    ///
    /// As [`Self::push`] in all else.
    pub fn push_as(&mut self, chunk: &[u8], hash: Hash, scheme: Scheme) -> Result<usize> {
        let index = self.len();
        let offset = self.data.len() as u64;
        if index >= MAX_CHUNKS {
            return Err(too_many_chunks(MAX_CHUNKS as u64 + 1, offset));
        }
        if !self.fits(chunk.len()) {
            return Err(too_many_bytes(
                u64::from(self.raw_bytes()).saturating_add(chunk.len() as u64),
                offset,
            ));
        }
        let header = self.encoder.encode_chunk_as(chunk, scheme, &mut self.data)?;
        self.chunks.push(hash, header.raw_bytes, header.stored_bytes())?;
        self.merkle.push(hash, u64::from(header.raw_bytes));
        Ok(index)
    }

    /// Return the chunk data, without footer, and its description. An empty xorb is an error.
    pub fn finish(self) -> Result<(Vec<u8>, XorbMeta)> {
        let hash = self.merkle.root();
        Ok((self.data, self.chunks.finish(hash)?))
    }
}

//! Packs chunks into one xorb, straight into a temporary file.
//!
//! Core's `XorbBuilder` makes the same bytes in memory; a server that packs large files for many
//! clients cannot hold 64 MiB for each.

use std::sync::Arc;

use xetway_core::Hash;
use xetway_core::codec::Encoder;
use xetway_core::merkle::MerkleHasher;
use xetway_core::xorb::{MAX_CHUNKS, MAX_RAW_BYTES, XorbMeta};

use crate::error::Result;
use crate::part::Part;
use crate::store::Shared;
use crate::writer::{Finished, XorbWriter};

/// A xorb that is being packed.
pub(crate) struct Packer {
    part: Part,
    chunks: Vec<(Hash, u32, u32)>,
    raw_bytes: u64,
    merkle: MerkleHasher,
}

/// Encodes chunks; outlives the xorbs it is used for.
#[derive(Default)]
pub(crate) struct ChunkEncoder {
    encoder: Encoder,
    encoded: Vec<u8>,
}

impl Packer {
    pub(crate) fn new(store: &Shared) -> Result<Self> {
        Ok(Self {
            part: store.part()?,
            chunks: Vec::new(),
            raw_bytes: 0,
            merkle: MerkleHasher::new(),
        })
    }

    /// Say whether a chunk of `raw_bytes` may still be added.
    pub(crate) fn fits(&self, raw_bytes: usize) -> bool {
        self.chunks.len() < MAX_CHUNKS && self.raw_bytes.saturating_add(raw_bytes as u64) <= MAX_RAW_BYTES
    }

    /// Add a chunk whose hash is known.
    pub(crate) fn push(&mut self, encoder: &mut ChunkEncoder, chunk: &[u8], hash: Hash) -> Result<()> {
        encoder.encoded.clear();
        let header = encoder.encoder.encode_chunk(chunk, &mut encoder.encoded)?;
        self.part.write(&encoder.encoded)?;
        self.chunks.push((hash, header.raw_bytes, header.stored_bytes()));
        self.raw_bytes = self.raw_bytes.saturating_add(u64::from(header.raw_bytes));
        self.merkle.push(hash, u64::from(header.raw_bytes));
        Ok(())
    }

    /// End the xorb: it is durable and waits to be published under the hash returned.
    pub(crate) fn finish(self, store: &Arc<Shared>) -> Result<(Hash, XorbWriter, Finished)> {
        let meta = XorbMeta::new(self.merkle.root(), self.chunks)?;
        let (writer, finished) = XorbWriter::packed(Arc::clone(store), self.part, &meta)?;
        Ok((meta.hash(), writer, finished))
    }
}

//! Packs encoded chunks into xorbs, straight into temporary files.
//!
//! Core's `XorbBuilder` makes the same bytes in memory; a server that packs large files for many
//! clients cannot hold 64 MiB for each.

use std::io::IoSlice;
use std::sync::Arc;

use xetway_core::Hash;
use xetway_core::merkle::MerkleHasher;
use xetway_core::xorb::{ChunkHeader, XorbMeta};

use crate::encoding::{Group, Piece};
use crate::error::{Error, Result};
use crate::part::{FlushingPart, Part};
use crate::store::Shared;
use crate::writer::{Finished, XorbWriter, complete};

/// A finished xorb that waits to be published.
pub(crate) type Packed = (Hash, XorbWriter, Finished);

/// A xorb that is being packed.
struct Xorb {
    part: Part,
    chunks: Vec<(Hash, u32, u32)>,
    merkle: MerkleHasher,
}

/// Writes the xorbs of one file.
pub(crate) struct Packer {
    store: Arc<Shared>,
    xorb: Option<Xorb>,
    /// The xorb before, on its way to the disk.
    flushing: Option<(Hash, Finished, FlushingPart)>,
    done: Vec<Packed>,
}

impl Packer {
    pub(crate) const fn new(store: Arc<Shared>) -> Self {
        Self {
            store,
            xorb: None,
            flushing: None,
            done: Vec::new(),
        }
    }

    /// Write the new chunks of `block`.
    pub(crate) fn write(&mut self, block: &[u8], groups: &[Group]) -> Result<()> {
        let mut slices = Vec::new();
        for group in groups {
            let mut rest = group.bytes.as_slice();
            for piece in &group.pieces {
                if piece.is_first {
                    self.append(&mut slices)?;
                    self.begin()?;
                }
                let (own, following) = rest.split_at_checked(own_bytes(piece)).unwrap_or((rest, &[]));
                rest = following;
                slices.push(IoSlice::new(own));
                slices.extend(piece.raw.clone().and_then(|raw| block.get(raw)).map(IoSlice::new));
                if let Some(xorb) = &mut self.xorb {
                    xorb.note(piece);
                }
            }
        }
        self.append(&mut slices)
    }

    fn append(&mut self, slices: &mut Vec<IoSlice<'_>>) -> Result<()> {
        let outcome = match &mut self.xorb {
            Some(xorb) => xorb.part.write_slices(slices),
            None if slices.is_empty() => Ok(()),
            None => Err(Error::State {
                object: "packer",
                problem: "has no xorb to write to",
            }),
        };
        slices.clear();
        outcome
    }

    fn begin(&mut self) -> Result<()> {
        self.end()?;
        self.xorb = Some(Xorb {
            part: self.store.part()?,
            chunks: Vec::new(),
            merkle: MerkleHasher::new(),
        });
        Ok(())
    }

    /// End the current xorb. It goes to the disk while the next is packed, and waits to be published.
    fn end(&mut self) -> Result<()> {
        self.wait()?;
        if let Some(Xorb { part, chunks, merkle }) = self.xorb.take() {
            let meta = XorbMeta::new(merkle.root(), chunks)?;
            let (part, finished) = complete(part, &meta)?;
            self.flushing = Some((meta.hash(), finished, part.finish_aside()?));
        }
        Ok(())
    }

    /// Wait for the xorb before.
    fn wait(&mut self) -> Result<()> {
        if let Some((xorb, finished, part)) = self.flushing.take() {
            let writer = XorbWriter::packed(Arc::clone(&self.store), xorb, part.wait()?);
            self.done.push((xorb, writer, finished));
        }
        Ok(())
    }

    /// End the file; returns all its xorbs, in order.
    pub(crate) fn finish(mut self) -> Result<Vec<Packed>> {
        self.end()?;
        self.wait()?;
        Ok(self.done)
    }
}

impl Xorb {
    fn note(&mut self, piece: &Piece) {
        let header = &piece.header;
        self.chunks.push((piece.hash, header.raw_bytes, header.stored_bytes()));
        self.merkle.push(piece.hash, u64::from(header.raw_bytes));
    }
}

/// What a group has of a chunk: all of it, or the header alone.
fn own_bytes(piece: &Piece) -> usize {
    match piece.raw {
        Some(_) => ChunkHeader::BYTES,
        None => piece.header.stored_bytes() as usize,
    }
}

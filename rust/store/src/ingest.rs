//! Content that is chunked, deduplicated against itself and packed on its way into the store.
//!
//! A pipeline over blocks. While the pool's threads compute a block's share of the SHA-256, find its
//! chunks, hash, place and encode them, the thread that brings the content writes the block before and,
//! where it reads a file, reads the next. The pool never waits for a disk or for another thread's
//! content, so any number of ingests may go on side by side.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use xetway_core::Hash;
use xetway_core::shard::Term;

use crate::cutter::{Chunk, Cutter};
use crate::encoding::{Buffers, Group, Hands, NewChunk, encode, hash};
use crate::error::{Error, Result};
use crate::packer::{Packed, Packer};
use crate::packing::{Packing, Placed};
use crate::store::Shared;
use xetway_pool::pool;

/// What is worked on at once: small enough for the processor's caches.
const BLOCK_BYTES: usize = 2 * 1024 * 1024;
/// Below this, other threads cost more than they save.
const THREAD_BYTES: usize = 512 * 1024;

/// A file that was taken in; its xorbs are durable and wait to be published.
#[derive(Debug)]
pub struct Ingested {
    /// File hash.
    pub file: Hash,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the content.
    pub sha256: [u8; 32],
    /// Where the content is.
    pub terms: Vec<Term>,
    /// The new xorbs, in order of first use.
    pub xorbs: Vec<Packed>,
}

/// Takes the content of one file in order.
///
/// Memory: about 30 MiB for what is remembered of 16 GiB or more (less before), 20 bytes for each term, and
/// during a call about 5 MiB for encoded chunks.
pub struct FileIngest(Option<Ingest>);

struct Ingest {
    sha256: Sha256,
    size: u64,
    front: Front,
    packer: Packer,
    buffers: Buffers,
}

/// What is known of the content so far.
#[derive(Default)]
struct Front {
    cutter: Cutter,
    packing: Packing,
}

const ENDED: Error = Error::State {
    object: "ingest",
    problem: "was finished, aborted or has failed",
};

impl FileIngest {
    pub(crate) fn new(store: Arc<Shared>) -> Self {
        Self(Some(Ingest::new(store)))
    }

    /// Take the next bytes. After an error the ingest is closed and its files gone.
    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        let mut ingest = self.0.take().ok_or(ENDED)?;
        ingest.write(data)?;
        self.0 = Some(ingest);
        Ok(())
    }

    /// End the file.
    pub fn finish(&mut self) -> Result<Ingested> {
        self.0.take().ok_or(ENDED)?.finish()
    }

    /// Drop what was written. Does nothing after [`Self::finish`] or a second time.
    pub fn abort(&mut self) {
        self.0 = None;
    }
}

/// Take in the file at `path`, reading it once. Memory: as [`FileIngest`], and three blocks of 2 MiB.
pub(crate) fn ingest_file(store: Arc<Shared>, path: &Path) -> Result<Ingested> {
    let mut file = File::open(path).map_err(Error::io("open the file"))?;
    let mut ingest = Ingest::new(store);
    let mut current = Vec::new();
    let mut spare = Vec::new();
    read_block(&mut file, &mut current)?;
    let mut before: Option<(Vec<u8>, Vec<Group>)> = None;
    while !current.is_empty() {
        let groups = ingest.step(&current, |packer| {
            if let Some((block, groups)) = &before {
                packer.write(block, groups)?;
            }
            read_block(&mut file, &mut spare)
        })?;
        let next = std::mem::take(&mut spare);
        let done = before.replace((std::mem::replace(&mut current, next), groups));
        if let Some((block, groups)) = done {
            ingest.buffers.put(groups);
            spare = block;
        }
    }
    if let Some((block, groups)) = before {
        ingest.packer.write(&block, &groups)?;
    }
    ingest.finish()
}

/// Fill `block` from a file; at its end it stays shorter.
fn read_block(file: &mut File, block: &mut Vec<u8>) -> Result<()> {
    block.resize(BLOCK_BYTES, 0);
    let mut filled = 0;
    while let Some(free) = block.get_mut(filled..).filter(|free| !free.is_empty()) {
        match file.read(free) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read the file")(error)),
        }
    }
    block.truncate(filled);
    Ok(())
}

impl Ingest {
    fn new(store: Arc<Shared>) -> Self {
        Self {
            sha256: Sha256::new(),
            size: 0,
            front: Front::default(),
            packer: Packer::new(store),
            buffers: Buffers::default(),
        }
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        let mut before: Option<(&[u8], Vec<Group>)> = None;
        for block in data.chunks(BLOCK_BYTES) {
            let groups = self.step(block, |packer| match &before {
                Some((block, groups)) => packer.write(block, groups),
                None => Ok(()),
            })?;
            if let Some((_, groups)) = before.replace((block, groups)) {
                self.buffers.put(groups);
            }
        }
        if let Some((block, groups)) = before {
            self.packer.write(block, &groups)?;
        }
        // Who sends slowly, or stops, holds no buffers.
        self.buffers.clear();
        Ok(())
    }

    /// Take a block, doing `meanwhile` on this thread; returns what is to be written of it.
    fn step(&mut self, block: &[u8], meanwhile: impl FnOnce(&mut Packer) -> Result<()>) -> Result<Vec<Group>> {
        self.size = self.size.saturating_add(block.len() as u64);
        let Self {
            sha256,
            front,
            packer,
            buffers,
            ..
        } = self;
        let buffers = &*buffers;
        let Some(pool) = (block.len() >= THREAD_BYTES).then(pool).flatten() else {
            meanwhile(packer)?;
            sha256.update(block);
            return front.take(block, Hands::One, buffers);
        };
        let mut groups = Ok(Vec::new());
        pool.in_place_scope(|scope| {
            scope.spawn(|_| sha256.update(block));
            scope.spawn(|_| groups = front.take(block, Hands::Pool, buffers));
            meanwhile(packer)
        })?;
        groups
    }

    fn finish(self) -> Result<Ingested> {
        let Self {
            sha256,
            size,
            front: Front { cutter, mut packing },
            mut packer,
            buffers,
        } = self;
        if let Some(last) = cutter.finish() {
            let groups = place(&mut packing, &[last], Hands::One, &buffers)?;
            packer.write(&[], &groups)?;
        }
        let xorbs = packer.finish()?;
        let hashes: Vec<Hash> = xorbs.iter().map(|(xorb, ..)| *xorb).collect();
        let (file, terms) = packing.finish(&hashes).ok_or(ENDED)?;
        Ok(Ingested {
            file,
            size,
            sha256: sha256.finalize().into(),
            terms,
            xorbs,
        })
    }
}

impl Front {
    fn take(&mut self, block: &[u8], hands: Hands, buffers: &Buffers) -> Result<Vec<Group>> {
        place(&mut self.packing, &self.cutter.cut(block), hands, buffers)
    }
}

/// Hash and place chunks, and encode those that are new.
fn place(packing: &mut Packing, chunks: &[Chunk<'_>], hands: Hands, buffers: &Buffers) -> Result<Vec<Group>> {
    let hashes = hash(chunks, hands);
    let mut new = Vec::with_capacity(chunks.len());
    for (chunk, hash) in chunks.iter().zip(hashes) {
        let raw_bytes = u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX);
        let placed = packing.place(hash, raw_bytes);
        if placed != Placed::Known {
            new.push(NewChunk {
                chunk: *chunk,
                hash,
                is_first: placed == Placed::First,
            });
        }
    }
    encode(&new, hands, buffers)
}

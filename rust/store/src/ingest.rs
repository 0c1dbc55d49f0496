//! Content that is chunked, deduplicated against itself and packed on its way into the store.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use xetway_core::Hash;
use xetway_core::hash::chunk_hash;
use xetway_core::merkle::MerkleHasher;
use xetway_core::shard::Term;

use crate::content::ChunkSplitter;
use crate::error::{Error, Result};
use crate::packer::{ChunkEncoder, Packer};
use crate::store::Shared;
use crate::writer::{Finished, XorbWriter};

/// Chunks remembered for deduplication: the last 16 GiB or so, in about 30 MiB.
const REMEMBERED_CHUNKS: usize = 256 * 1024;
/// A repeated chunk starts a new term only while terms hold this many chunks on average...
const CHUNKS_PER_TERM: u64 = 8;
/// ...or while there are few. Storing a chunk again costs less than a plan with a term for every chunk.
const FREE_TERMS: u64 = 16;
/// Below this, a second thread costs more than it saves.
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
    pub xorbs: Vec<(Hash, XorbWriter, Finished)>,
}

/// A term whose xorb has no hash yet: chunks [start, end) of the xorb numbered `xorb`.
struct OpenTerm {
    xorb: usize,
    start: u32,
    end: u32,
    raw_bytes: u32,
}

/// Takes the content of one file in order. Memory: about 32 MiB at most, and 20 bytes for each term.
pub struct FileIngest(Option<Ingest>);

struct Ingest {
    splitter: ChunkSplitter,
    sha256: Sha256,
    size: u64,
    packing: Packing,
}

struct Packing {
    store: Arc<Shared>,
    encoder: ChunkEncoder,
    merkle: MerkleHasher,
    packer: Option<Packer>,
    xorbs: Vec<(Hash, XorbWriter, Finished)>,
    stored: Stored,
    terms: Vec<OpenTerm>,
    chunks: u64,
}

const ENDED: Error = Error::State {
    object: "ingest",
    problem: "was finished, aborted or has failed",
};

impl FileIngest {
    pub(crate) fn new(store: Arc<Shared>) -> Self {
        let packing = Packing {
            store,
            encoder: ChunkEncoder::default(),
            merkle: MerkleHasher::new(),
            packer: None,
            xorbs: Vec::new(),
            stored: Stored::default(),
            terms: Vec::new(),
            chunks: 0,
        };
        Self(Some(Ingest {
            splitter: ChunkSplitter::default(),
            sha256: Sha256::new(),
            size: 0,
            packing,
        }))
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

impl Ingest {
    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.size = self.size.saturating_add(data.len() as u64);
        let Self {
            splitter,
            sha256,
            packing,
            ..
        } = self;
        if data.len() < THREAD_BYTES {
            sha256.update(data);
            return splitter.push(data, |chunk| packing.add(chunk));
        }
        std::thread::scope(|scope| {
            scope.spawn(|| sha256.update(data));
            splitter.push(data, |chunk| packing.add(chunk))
        })
    }

    fn finish(self) -> Result<Ingested> {
        let Self {
            splitter,
            sha256,
            size,
            mut packing,
        } = self;
        splitter.finish(|chunk| packing.add(chunk))?;
        packing.close_xorb()?;
        let terms = packing.resolved_terms()?;
        let file = packing.merkle.file_hash();
        Ok(Ingested {
            file,
            size,
            sha256: sha256.finalize().into(),
            terms,
            xorbs: packing.xorbs,
        })
    }
}

impl Packing {
    fn add(&mut self, chunk: &[u8]) -> Result<()> {
        let hash = chunk_hash(chunk);
        let raw_bytes = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        self.merkle.push(hash, u64::from(raw_bytes));
        let (xorb, index) = match self.known(&hash) {
            Some(place) => place,
            None => self.store_chunk(chunk, hash)?,
        };
        self.chunks += 1;
        match self.terms.last_mut() {
            Some(term) if term.xorb == xorb && term.end == index => {
                term.end += 1;
                term.raw_bytes = term.raw_bytes.saturating_add(raw_bytes);
            }
            _ => self.terms.push(OpenTerm {
                xorb,
                start: index,
                end: index + 1,
                raw_bytes,
            }),
        }
        Ok(())
    }

    /// Where a chunk with this hash is stored already, if using that is worth it.
    fn known(&self, hash: &Hash) -> Option<(usize, u32)> {
        if let Some(term) = self.terms.last()
            && self.stored.hash_at(term.xorb, term.end) == Some(hash)
        {
            return Some((term.xorb, term.end));
        }
        let terms = self.terms.len() as u64 + 1;
        if terms > FREE_TERMS && self.chunks < (terms - FREE_TERMS).saturating_mul(CHUNKS_PER_TERM) {
            return None;
        }
        self.stored.find(hash)
    }

    fn store_chunk(&mut self, chunk: &[u8], hash: Hash) -> Result<(usize, u32)> {
        if self.packer.as_ref().is_some_and(|packer| !packer.fits(chunk.len())) {
            self.close_xorb()?;
        }
        let packer = match &mut self.packer {
            Some(packer) => packer,
            none => {
                self.stored.begin_xorb();
                none.insert(Packer::new(&self.store)?)
            }
        };
        packer.push(&mut self.encoder, chunk, hash)?;
        Ok(self.stored.push(hash))
    }

    fn close_xorb(&mut self) -> Result<()> {
        if let Some(packer) = self.packer.take() {
            self.xorbs.push(packer.finish(&self.store)?);
        }
        Ok(())
    }

    fn resolved_terms(&self) -> Result<Vec<Term>> {
        let resolve = |term: &OpenTerm| {
            let (xorb, ..) = self.xorbs.get(term.xorb).ok_or(ENDED)?;
            Ok(Term {
                xorb: *xorb,
                flags: 0,
                unpacked_bytes: term.raw_bytes,
                start: term.start,
                end: term.end,
            })
        };
        self.terms.iter().map(resolve).collect()
    }
}

/// The chunks stored last, found by hash or by place. Every stored chunk has a number, counted from 0.
#[derive(Default)]
struct Stored {
    hashes: VecDeque<Hash>,
    numbers: HashMap<Hash, u64>,
    next: u64,
    /// Number of the first chunk of each xorb.
    xorbs: Vec<u64>,
}

impl Stored {
    fn begin_xorb(&mut self) {
        self.xorbs.push(self.next);
    }

    /// Remember a chunk of the current xorb; returns its place.
    fn push(&mut self, hash: Hash) -> (usize, u32) {
        if self.hashes.len() >= REMEMBERED_CHUNKS
            && let Some(oldest) = self.hashes.pop_front()
        {
            let number = self.next - self.hashes.len() as u64 - 1;
            if self.numbers.get(&oldest) == Some(&number) {
                self.numbers.remove(&oldest);
            }
        }
        let number = self.next;
        self.next += 1;
        self.hashes.push_back(hash);
        self.numbers.insert(hash, number);
        self.place(number)
    }

    fn find(&self, hash: &Hash) -> Option<(usize, u32)> {
        self.numbers.get(hash).map(|number| self.place(*number))
    }

    fn hash_at(&self, xorb: usize, index: u32) -> Option<&Hash> {
        let number = self.xorbs.get(xorb)?.checked_add(u64::from(index))?;
        if self.xorbs.get(xorb + 1).is_some_and(|next| number >= *next) {
            return None;
        }
        let oldest = self.next - self.hashes.len() as u64;
        self.hashes.get(usize::try_from(number.checked_sub(oldest)?).ok()?)
    }

    fn place(&self, number: u64) -> (usize, u32) {
        let xorb = self.xorbs.partition_point(|first| *first <= number).saturating_sub(1);
        let first = self.xorbs.get(xorb).copied().unwrap_or_default();
        (xorb, u32::try_from(number - first).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> Hash {
        let mut raw = [0; 32];
        raw[..8].copy_from_slice(&number.to_le_bytes());
        Hash::from_bytes(raw)
    }

    #[test]
    fn only_the_chunks_stored_last_are_remembered() {
        let remembered = REMEMBERED_CHUNKS as u64;
        let mut stored = Stored::default();
        for number in 0..remembered + 10_000 {
            if number % 1000 == 0 {
                stored.begin_xorb();
            }
            // Chunk 5 is stored again and again.
            let name = if number % 1000 == 999 { 5 } else { number };
            let expected = (
                usize::try_from(number / 1000).unwrap(),
                u32::try_from(number % 1000).unwrap(),
            );
            assert_eq!(stored.push(hash(name)), expected);
        }
        assert_eq!(stored.hashes.len(), REMEMBERED_CHUNKS);
        assert!(stored.numbers.len() <= REMEMBERED_CHUNKS);
        assert_eq!(stored.find(&hash(9_998)), None);
        assert_eq!(stored.find(&hash(10_000)), Some((10, 0)));
        let last = usize::try_from((remembered + 10_000) / 1000).unwrap();
        assert_eq!(stored.find(&hash(5)), Some((last - 1, 999)));
        assert_eq!(stored.hash_at(9, 998), None);
        assert_eq!(stored.hash_at(10, 998), Some(&hash(10_998)));
        assert_eq!(stored.hash_at(10, 999), Some(&hash(5)));
        // One past the end of a xorb is not the first of the next.
        assert_eq!(stored.hash_at(10, 1000), None);
        assert_eq!(stored.hash_at(last, 999), None);
    }
}

//! Chunks that go into terms and, unless they are known, into xorbs.

use xetway_core::Hash;
use xetway_core::hash::verification_hash;
use xetway_core::shard::{FileInfo, Term};
use xetway_core::xorb::{XorbBuilder, XorbMeta};

use super::blocks::{Hashed, Sums};
use super::known::{Place, Session, Told, Xorb};
use crate::error::{Error, Result};

/// A repeated chunk starts a new term only while terms hold this many chunks on average...
const CHUNKS_PER_TERM: u64 = 8;
/// ...or while there are few. Sending a chunk again costs less than a file of a thousand fragments.
const FREE_TERMS: u64 = 16;

/// A xorb that is full: its bytes and its description.
pub(super) type Packed = (Vec<u8>, XorbMeta);

/// Consecutive chunks of one xorb, whose hash may not be known yet.
#[derive(Debug)]
struct OpenTerm {
    xorb: Xorb,
    start: u32,
    end: u32,
    raw_bytes: u32,
    verification: Hash,
}

/// The terms of a file.
#[derive(Debug, Default)]
pub(super) struct Terms {
    done: Vec<OpenTerm>,
    chunks: u64,
    /// Chunk hashes of the last term, which may go on.
    last: Vec<Hash>,
}

/// What a session packs. Memory: one xorb, and what is remembered of the chunks.
#[derive(Default)]
pub(super) struct Packing {
    builder: XorbBuilder,
    /// Number of the xorb being built.
    number: usize,
    session: Session,
    pub(super) told: Told,
    terms: Terms,
    pub(super) new_bytes: u64,
    pub(super) known_bytes: u64,
}

impl Packing {
    /// Pack the chunks of a block; returns the xorbs that became full. Runs on a compute thread.
    pub(super) fn add(&mut self, hashed: &Hashed) -> Result<Vec<Packed>> {
        let mut packed = Vec::new();
        for (range, hash) in &hashed.chunks {
            let chunk = hashed.block.get(range.clone()).unwrap_or_default();
            let raw_bytes = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            let place = if let Some(place) = self.known(hash) {
                self.known_bytes += u64::from(raw_bytes);
                place
            } else {
                if !self.builder.fits(chunk.len()) {
                    packed.extend(self.close()?);
                }
                self.new_bytes += u64::from(raw_bytes);
                self.put(chunk, *hash)?
            };
            self.terms.push(place, *hash, raw_bytes);
        }
        Ok(packed)
    }

    /// Add a chunk to the xorb being built, which has room for it.
    fn put(&mut self, chunk: &[u8], hash: Hash) -> Result<Place> {
        let index = u32::try_from(self.builder.push(chunk, hash)?).unwrap_or(u32::MAX);
        self.session.insert(hash, self.number, index);
        Ok(Place {
            xorb: Xorb::New(self.number),
            index,
        })
    }

    /// Where a chunk is already, if it is anywhere.
    pub(super) fn find(&self, hash: &Hash) -> Option<Place> {
        self.session.find(hash).or_else(|| self.told.find(hash))
    }

    /// Where a chunk is already, if using that is worth it.
    fn known(&self, hash: &Hash) -> Option<Place> {
        let place = self.find(hash)?;
        let terms = self.terms.done.len() as u64 + 1;
        let is_fragmented = terms > FREE_TERMS && self.terms.chunks < (terms - FREE_TERMS) * CHUNKS_PER_TERM;
        (!is_fragmented || self.terms.continues(place)).then_some(place)
    }

    /// End the xorb being built, if it has any chunk.
    pub(super) fn close(&mut self) -> Result<Option<Packed>> {
        if self.builder.is_empty() {
            return Ok(None);
        }
        let packed = std::mem::take(&mut self.builder).finish()?;
        self.number += 1;
        Ok(Some(packed))
    }

    /// End the file and return its terms.
    pub(super) fn end_file(&mut self) -> Terms {
        self.terms.verify_last();
        std::mem::take(&mut self.terms)
    }
}

impl Terms {
    fn continues(&self, place: Place) -> bool {
        let last = self.done.last();
        last.is_some_and(|term| term.xorb == place.xorb && term.end == place.index)
    }

    fn push(&mut self, place: Place, hash: Hash, raw_bytes: u32) {
        self.chunks += 1;
        if !self.continues(place) {
            self.verify_last();
            self.done.push(OpenTerm {
                xorb: place.xorb,
                start: place.index,
                end: place.index,
                raw_bytes: 0,
                verification: Hash::ZERO,
            });
        }
        self.last.push(hash);
        if let Some(term) = self.done.last_mut() {
            term.end = term.end.saturating_add(1);
            term.raw_bytes = term.raw_bytes.saturating_add(raw_bytes);
        }
    }

    fn verify_last(&mut self) {
        if let Some(term) = self.done.last_mut() {
            term.verification = verification_hash(&self.last);
        }
        self.last.clear();
    }

    /// Describe the file, now that all `xorbs` of the session have a hash.
    pub(super) fn describe(self, sums: &Sums, xorbs: &[XorbMeta]) -> Result<FileInfo> {
        let mut terms = Vec::with_capacity(self.done.len());
        let mut verification = Vec::with_capacity(self.done.len());
        for term in self.done {
            let xorb = match term.xorb {
                Xorb::Stored(xorb) => xorb,
                // Every number belongs to a xorb that was closed.
                Xorb::New(number) => xorbs.get(number).ok_or(Error::Cancelled)?.hash(),
            };
            verification.push(term.verification);
            terms.push(Term {
                xorb,
                flags: 0,
                unpacked_bytes: term.raw_bytes,
                start: term.start,
                end: term.end,
            });
        }
        Ok(FileInfo {
            hash: sums.file,
            flags: 0,
            terms,
            verification: Some(verification),
            // As the deployed client has it for the empty file.
            sha256: Some(if sums.size == 0 { [0; 32] } else { sums.sha256 }),
        })
    }
}

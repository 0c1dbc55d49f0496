//! Where each chunk of a file goes: to a place where it is already, or into a xorb.
//!
//! Decided from hashes and lengths alone, so that it goes on while earlier chunks are encoded and written.

use xetway_core::Hash;
use xetway_core::merkle::MerkleHasher;
use xetway_core::shard::Term;
use xetway_core::xorb::{MAX_CHUNKS, MAX_RAW_BYTES};

use crate::stored::Stored;

/// A repeated chunk starts a new term only while terms hold this many chunks on average...
const CHUNKS_PER_TERM: u64 = 8;
/// ...or while there are few. Storing a chunk again costs less than a plan with a term for every chunk.
const FREE_TERMS: u64 = 16;

/// What to do with a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// It is stored already.
    Known,
    /// It is the next of the current xorb.
    Next,
    /// It is the first of another xorb.
    First,
}

/// A term whose xorb has no hash yet: chunks [start, end) of the xorb numbered `xorb`.
struct OpenTerm {
    xorb: usize,
    start: u32,
    end: u32,
    raw_bytes: u32,
}

/// What the xorb that is being filled has.
#[derive(Default)]
struct Filled {
    chunks: usize,
    raw_bytes: u64,
}

impl Filled {
    fn add(&mut self, raw_bytes: u32) -> bool {
        let total = self.raw_bytes.saturating_add(u64::from(raw_bytes));
        let fits = self.chunks < MAX_CHUNKS && total <= MAX_RAW_BYTES;
        if fits {
            (self.chunks, self.raw_bytes) = (self.chunks + 1, total);
        }
        fits
    }
}

/// Places the chunks of one file, in order.
#[derive(Default)]
pub(crate) struct Packing {
    merkle: MerkleHasher,
    stored: Stored,
    terms: Vec<OpenTerm>,
    chunks: u64,
    /// Nothing before the first chunk.
    xorb: Option<Filled>,
}

impl Packing {
    /// Place the next chunk.
    pub(crate) fn place(&mut self, hash: Hash, raw_bytes: u32) -> Placed {
        self.merkle.push(hash, u64::from(raw_bytes));
        let (placed, (xorb, index)) = match self.known(&hash) {
            Some(place) => (Placed::Known, place),
            None => (self.make_room(raw_bytes), self.stored.push(hash)),
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
        placed
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

    fn make_room(&mut self, raw_bytes: u32) -> Placed {
        if self.xorb.as_mut().is_some_and(|xorb| xorb.add(raw_bytes)) {
            return Placed::Next;
        }
        self.stored.begin_xorb();
        self.xorb.insert(Filled::default()).add(raw_bytes);
        Placed::First
    }

    /// End the file: return its hash, and its terms, given the hashes of the xorbs in order.
    pub(crate) fn finish(self, xorbs: &[Hash]) -> Option<(Hash, Vec<Term>)> {
        let resolve = |term: &OpenTerm| {
            Some(Term {
                xorb: *xorbs.get(term.xorb)?,
                flags: 0,
                unpacked_bytes: term.raw_bytes,
                start: term.start,
                end: term.end,
            })
        };
        let terms = self.terms.iter().map(resolve).collect::<Option<Vec<_>>>()?;
        Some((self.merkle.file_hash(), terms))
    }
}

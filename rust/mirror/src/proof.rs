//! Whether a file is what its name says: the merkle hash over the chunks of its terms, as they arrived.
//!
//! Chunks are proven with their file, by its hash, or with their xorb, by its root; never by cutting
//! content into chunks again. Between looking at hashes and proving them nothing is forgotten, in any
//! file: chunks that came anew would be proven unseen.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use xetway_cache::{CachedXorb, ChunkInfo, FilePlan};
use xetway_core::Hash;
use xetway_core::merkle::MerkleHasher;

use crate::digests::{Digests, digest_of, remember};
use crate::error::{Error, Result};
use crate::files::FileState;
use crate::mirror::{Shared, blocking};
use crate::plan::Claim;
use crate::stats::add;

/// How often a plan may change while it is being proven.
const MAX_STALE: u32 = 8;

/// What a check of a file found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All its chunks are known and give its hash.
    Proven,
    /// Some of its chunks were never seen.
    Incomplete,
}

/// What became of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// The file is proven, and so is all that was shown of it.
    Proven,
    /// The file is proven, but something else was shown of it.
    Changed,
    /// The plan changed meanwhile.
    Stale,
}

enum Finding {
    Right(Settled),
    Wrong { actual: String, is_lie: bool },
    Missing { term: usize, xorb: Hash, chunk: u32 },
}

impl Shared {
    /// Check a file if all its chunks are known. One check of a file at a time.
    ///
    /// A file that is wrong is forgotten. If anybody saw unproven bytes of it, they are refused from
    /// now on: [`Error::ContentChanged`]; else [`Error::UpstreamIntegrity`].
    pub(crate) async fn check(self: &Arc<Self>, file: &Arc<FileState>) -> Result<Verdict> {
        if file.is_proven() {
            return Ok(Verdict::Proven);
        }
        let _proving = file.proving.lock().await;
        let (shared, file) = (Arc::clone(self), Arc::clone(file));
        blocking(move || shared.judge(&file)).await?
    }

    fn judge(&self, file: &FileState) -> Result<Verdict> {
        for _ in 0..MAX_STALE {
            let Some(plan) = file.plan() else {
                return Ok(Verdict::Incomplete);
            };
            if plan.proven {
                return Ok(Verdict::Proven);
            }
            match self.examine(file, &plan)? {
                Finding::Right(Settled::Stale) => {}
                Finding::Right(settled) => {
                    add(&self.counters.proven_files, 1);
                    let mut proven = FilePlan::clone(&plan);
                    proven.proven = true;
                    // What can't be written down is proven anew after the next start.
                    let _ = self.cache.put_plan(&file.hash, &proven);
                    if settled == Settled::Changed {
                        add(&self.counters.integrity_failures, 1);
                        return Err(Error::changed(&file.hash));
                    }
                    return Ok(Verdict::Proven);
                }
                Finding::Missing { term, xorb, chunk } => {
                    file.set_complete_terms(term);
                    if file.has_shown_chunk(&xorb, chunk) {
                        // It was shown, and nobody can tell any more whether it was right.
                        file.change()?;
                        return Err(Error::changed(&file.hash));
                    }
                    return Ok(Verdict::Incomplete);
                }
                Finding::Wrong { actual, is_lie } => return Err(self.condemn(file, &plan, actual, is_lie)?),
            }
        }
        Ok(Verdict::Incomplete)
    }

    /// Look at all chunks of a plan; if they are right, prove them.
    fn examine(&self, file: &FileState, plan: &Arc<FilePlan>) -> Result<Finding> {
        let mut xorbs = Open::new(self);
        // Missing terms are looked for first: most checks end here, at the first of them.
        for (at, term) in plan.terms.iter().enumerate().skip(file.complete_terms()) {
            if let Err(chunk) = chunks_of(&*xorbs.get(&term.xorb)?, term.start, term.end) {
                return Ok(missing(at, &term.xorb, chunk));
            }
        }
        let _judging = self.judging.read().unwrap_or_else(PoisonError::into_inner);
        let claims = file.claims();
        let mut hasher = MerkleHasher::new();
        let mut digests = Digests::new();
        for (at, term) in plan.terms.iter().enumerate() {
            let chunks = match chunks_of(&*xorbs.get(&term.xorb)?, term.start, term.end) {
                Ok(chunks) => chunks,
                Err(chunk) => return Ok(missing(at, &term.xorb, chunk)),
            };
            if let Some(wrong) = wrong_lengths(at, &chunks, term.unpacked_bytes, &claims) {
                return Ok(wrong);
            }
            for chunk in &chunks {
                hasher.push(chunk.hash, u64::from(chunk.raw_bytes));
                remember(&mut digests, &term.xorb, chunk);
            }
        }
        let actual = hasher.file_hash();
        if actual != file.hash {
            let actual = actual.to_hex();
            return Ok(Finding::Wrong { actual, is_lie: false });
        }
        for (at, term) in plan.terms.iter().enumerate() {
            let cached = xorbs.get(&term.xorb)?;
            let chunks = match chunks_of(&cached, term.start, term.end) {
                Ok(chunks) => chunks,
                Err(chunk) => return Ok(missing(at, &term.xorb, chunk)),
            };
            let seen = digests.get(&term.xorb).map(Vec::as_slice).unwrap_or_default();
            let is_seen = |chunk: &ChunkInfo| seen.get(chunk.index as usize) == Some(&digest_of(&chunk.hash));
            if !chunks.iter().all(is_seen) {
                return Ok(Finding::Right(Settled::Stale));
            }
            cached.prove(term.start..term.end)?;
        }
        file.settle(plan, &digests, &claims).map(Finding::Right)
    }

    /// A file is wrong: forget what is not proven of its chunks, and its plan. Returns what to tell.
    fn condemn(&self, file: &FileState, plan: &FilePlan, actual: String, is_lie: bool) -> Result<Error> {
        add(&self.counters.integrity_failures, 1);
        let _judging = self.judging.write().unwrap_or_else(PoisonError::into_inner);
        let was_shown = file.spoil(is_lie)?;
        for term in &plan.terms {
            self.cache.xorb(&term.xorb)?.forget(term.start..term.end)?;
        }
        let xorbs: HashSet<Hash> = plan.terms.iter().map(|term| term.xorb).collect();
        for xorb in &xorbs {
            self.files.using(xorb).iter().for_each(|other| other.look_again());
        }
        if was_shown {
            return Ok(Error::changed(&file.hash));
        }
        Ok(Error::UpstreamIntegrity {
            what: format!("file {}", file.hash),
            expected: file.hash.to_hex(),
            actual,
        })
    }

    /// A chunk came again and differs, and neither is proven: forget all that is not proven of its xorb.
    ///
    /// Files of which such chunks were shown count as changed. Blocking.
    pub(crate) fn resolve_conflict(&self, cached: &CachedXorb) -> Result<()> {
        add(&self.counters.integrity_failures, 1);
        let _judging = self.judging.write().unwrap_or_else(PoisonError::into_inner);
        let xorb = cached.hash();
        for file in self.files.using(&xorb) {
            if file.has_shown(&xorb) {
                file.change()?;
            }
            file.look_again();
        }
        cached.forget(0..u32::MAX)?;
        Ok(())
    }

    /// Forget chunks that can't be right. Blocking.
    pub(crate) fn forget(&self, cached: &CachedXorb, chunks: std::ops::Range<u32>) -> Result<()> {
        let _judging = self.judging.write().unwrap_or_else(PoisonError::into_inner);
        let xorb = cached.hash();
        self.files.using(&xorb).iter().for_each(|other| other.look_again());
        cached.forget(chunks)?;
        Ok(())
    }
}

/// The xorbs of one examination: open until its end, so that what is known of them stays.
struct Open<'a> {
    shared: &'a Shared,
    xorbs: HashMap<Hash, Arc<CachedXorb>>,
}

impl<'a> Open<'a> {
    fn new(shared: &'a Shared) -> Self {
        let xorbs = HashMap::new();
        Self { shared, xorbs }
    }

    fn get(&mut self, xorb: &Hash) -> Result<Arc<CachedXorb>> {
        if let Some(cached) = self.xorbs.get(xorb) {
            return Ok(Arc::clone(cached));
        }
        let cached = self.shared.cache.xorb(xorb)?;
        self.xorbs.insert(*xorb, Arc::clone(&cached));
        Ok(cached)
    }
}

fn missing(term: usize, xorb: &Hash, chunk: u32) -> Finding {
    let xorb = *xorb;
    Finding::Missing { term, xorb, chunk }
}

/// Return what is known of all chunks of a term, or the first that is not.
fn chunks_of(cached: &CachedXorb, start: u32, end: u32) -> Result<Vec<ChunkInfo>, u32> {
    let chunks = cached.chunks(start..end);
    if chunks.len() as u64 == u64::from(end.saturating_sub(start)) {
        return Ok(chunks);
    }
    let in_order = (start..)
        .zip(&chunks)
        .take_while(|(index, chunk)| chunk.index == *index)
        .count();
    Err(start.saturating_add(u32::try_from(in_order).unwrap_or(u32::MAX)))
}

/// Compare the lengths of a term's chunks with what was said of them.
fn wrong_lengths(term: usize, chunks: &[ChunkInfo], unpacked_bytes: u32, claims: &HashSet<Claim>) -> Option<Finding> {
    let raw_bytes = |chunks: &[ChunkInfo]| chunks.iter().map(|chunk| u64::from(chunk.raw_bytes)).sum::<u64>();
    let actual = raw_bytes(chunks);
    if actual != u64::from(unpacked_bytes) {
        let actual = format!("a term of {actual} bytes instead of {unpacked_bytes}");
        return Some(Finding::Wrong { actual, is_lie: true });
    }
    for claim in claims.iter().filter(|claim| claim.term == term) {
        let before = chunks.partition_point(|chunk| chunk.index < claim.chunk);
        let actual = raw_bytes(chunks.get(..before).unwrap_or_default());
        if actual != claim.raw_before {
            let actual = format!("a chunk at byte {actual} of its term instead of {}", claim.raw_before);
            return Some(Finding::Wrong { actual, is_lie: true });
        }
    }
    None
}

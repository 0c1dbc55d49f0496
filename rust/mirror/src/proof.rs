//! Whether a file is what its name says: the merkle hash over the chunks of its terms, as they arrived.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use xetway_cache::{Cache, CachedXorb, ChunkInfo, FilePlan};
use xetway_core::Hash;
use xetway_core::merkle::MerkleHasher;

use crate::error::{Error, Result};
use crate::files::FileState;
use crate::mirror::{Shared, blocking};
use crate::stats::add;

/// What a check of a file found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All its chunks are known and give its hash.
    Proven,
    /// Some of its chunks were never seen.
    Incomplete,
}

enum Finding {
    Right,
    Wrong { actual: String },
    Missing { term: usize },
}

impl Shared {
    /// Check a file if all its chunks are known.
    ///
    /// A file that is wrong is forgotten, with everyone who saw unproven bytes of it refused from now
    /// on: [`Error::UpstreamIntegrity`].
    pub(crate) async fn check(&self, file: &Arc<FileState>) -> Result<Verdict> {
        if file.is_proven() {
            return Ok(Verdict::Proven);
        }
        let _proving = file.proving.lock().await;
        let Some(plan) = file.plan() else {
            return Ok(Verdict::Incomplete);
        };
        if plan.proven {
            return Ok(Verdict::Proven);
        }
        let (cache, hash, from) = (self.cache.clone(), file.hash, file.complete_terms());
        let examined = Arc::clone(&plan);
        match blocking(move || examine(&cache, &hash, &examined, from)).await?? {
            Finding::Missing { term } => {
                file.set_complete_terms(term);
                Ok(Verdict::Incomplete)
            }
            Finding::Right => {
                let mut proven = FilePlan::clone(&plan);
                proven.proven = true;
                self.keep_plan(file, proven).await?;
                add(&self.counters.proven_files, 1);
                Ok(Verdict::Proven)
            }
            Finding::Wrong { actual } => {
                add(&self.counters.integrity_failures, 1);
                self.forget(&plan).await?;
                Err(Error::UpstreamIntegrity {
                    what: format!("file {}", file.hash),
                    expected: file.hash.to_hex(),
                    actual,
                })
            }
        }
    }

    /// Forget what is not proven of the xorbs of a plan, and begin a new generation of all files with terms in them.
    async fn forget(&self, plan: &FilePlan) -> Result<()> {
        let mut ranges: HashMap<Hash, Vec<std::ops::Range<u32>>> = HashMap::new();
        for term in &plan.terms {
            ranges.entry(term.xorb).or_default().push(term.start..term.end);
        }
        self.invalidate_users(ranges.keys());
        let cache = self.cache.clone();
        blocking(move || {
            for (xorb, chunks) in ranges {
                let cached = cache.xorb(&xorb)?;
                chunks.into_iter().try_for_each(|chunks| cached.forget(chunks))?;
            }
            Ok::<_, Error>(())
        })
        .await?
    }

    /// A chunk came twice and differs, and neither is proven: forget all that is not proven of its xorb.
    pub(crate) async fn found_conflict(&self, cached: &Arc<CachedXorb>) -> Result<()> {
        add(&self.counters.integrity_failures, 1);
        self.invalidate_users([&cached.hash()]);
        let cached = Arc::clone(cached);
        blocking(move || cached.forget(0..u32::MAX)).await??;
        Ok(())
    }

    /// Not only the file at hand: others may have shown the same chunks.
    fn invalidate_users<'a>(&self, xorbs: impl IntoIterator<Item = &'a Hash>) {
        let mut done = HashSet::new();
        for xorb in xorbs {
            for file in self.files.using(xorb) {
                if !file.is_proven() && done.insert(file.hash) {
                    file.invalidate();
                }
            }
        }
    }
}

/// Return what is known of all chunks of a term, or nothing if one is not.
fn chunks_of(cached: &CachedXorb, start: u32, end: u32) -> Option<Vec<ChunkInfo>> {
    let chunks = cached.chunks(start..end);
    (chunks.len() as u64 == u64::from(end.saturating_sub(start))).then_some(chunks)
}

fn examine(cache: &Cache, file: &Hash, plan: &FilePlan, from: usize) -> Result<Finding> {
    let mut xorbs: HashMap<Hash, Arc<CachedXorb>> = HashMap::new();
    let mut open = |xorb: &Hash| -> Result<Arc<CachedXorb>> {
        if let Some(cached) = xorbs.get(xorb) {
            return Ok(Arc::clone(cached));
        }
        let cached = cache.xorb(xorb)?;
        xorbs.insert(*xorb, Arc::clone(&cached));
        Ok(cached)
    };
    // Missing terms are looked for first: most checks end here, at the first of them.
    for (at, term) in plan.terms.iter().enumerate().skip(from) {
        if chunks_of(&*open(&term.xorb)?, term.start, term.end).is_none() {
            return Ok(Finding::Missing { term: at });
        }
    }
    let mut hasher = MerkleHasher::new();
    for (at, term) in plan.terms.iter().enumerate() {
        let Some(chunks) = chunks_of(&*open(&term.xorb)?, term.start, term.end) else {
            return Ok(Finding::Missing { term: at });
        };
        let raw_bytes: u64 = chunks.iter().map(|chunk| u64::from(chunk.raw_bytes)).sum();
        if raw_bytes != u64::from(term.unpacked_bytes) {
            let actual = format!("a term of {raw_bytes} bytes instead of {}", term.unpacked_bytes);
            return Ok(Finding::Wrong { actual });
        }
        for chunk in &chunks {
            hasher.push(chunk.hash, u64::from(chunk.raw_bytes));
        }
    }
    let actual = hasher.file_hash();
    if actual != *file {
        return Ok(Finding::Wrong {
            actual: actual.to_hex(),
        });
    }
    for term in &plan.terms {
        open(&term.xorb)?.prove(term.start..term.end)?;
    }
    Ok(Finding::Right)
}

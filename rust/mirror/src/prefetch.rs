//! Content brought to the cache and proven before anyone is given a byte of it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use tokio::task::JoinHandle;
use xetway_core::Hash;
use xetway_core::plan::{FetchRange, PlannedTerm};

use crate::error::{Error, Result};
use crate::files::FileState;
use crate::flights::XorbEntry;
use crate::ledger::NAMELESS;
use crate::mirror::{Shared, blocking};
use crate::proof::Verdict;
use crate::reader::Reading;

/// How often wrong content is fetched before the upstream is given up on.
const TRIES: u32 = 3;

/// Bring all of a file to the cache and prove it. `progress` is given content bytes held, and in all.
pub(crate) async fn hold_file(
    shared: &Arc<Shared>,
    file: &Arc<FileState>,
    may_fetch: bool,
    progress: &(dyn Fn(u64, u64) + Send + Sync),
) -> Result<()> {
    let _holding = file.holding.lock().await;
    for _ in 0..TRIES {
        prove(shared, file, may_fetch, progress).await?;
        let Some(plan) = file.plan() else { continue };
        let (counting, size) = (Arc::clone(shared), plan.size);
        let held = blocking(move || held_bytes(&counting, &plan.terms)).await??;
        if held >= size {
            return Ok(());
        }
    }
    // What was brought first was evicted for what came last.
    Err(Error::Cache(xetway_cache::Error::Full {
        wanted_bytes: file.plan().map_or(0, |plan| plan.size),
        evictable_bytes: 0,
    }))
}

/// Bring what is not known of a file, and prove it. Not all of it need be held then.
pub(crate) async fn prove_file(shared: &Arc<Shared>, file: &Arc<FileState>, may_fetch: bool) -> Result<()> {
    let _holding = file.holding.lock().await;
    if file.is_proven() {
        return Ok(());
    }
    prove(shared, file, may_fetch, &|_, _| ()).await
}

async fn prove(
    shared: &Arc<Shared>,
    file: &Arc<FileState>,
    may_fetch: bool,
    progress: &(dyn Fn(u64, u64) + Send + Sync),
) -> Result<()> {
    let mut wrong = 0;
    let mut evicted = 0;
    loop {
        if let Some(error) = file.given_up() {
            return Err(error);
        }
        match hold_once(shared, file, may_fetch, progress).await {
            Ok(Verdict::Proven) => return Ok(()),
            Ok(Verdict::Incomplete) => {
                evicted += 1;
                if evicted >= TRIES {
                    return Err(Error::NotCached {
                        what: format!(
                            "part of file {}, which was evicted before it was proven, and therefore",
                            file.hash
                        ),
                    });
                }
            }
            // It shows nothing to anyone itself: those who saw something are refused, and it goes on.
            Err(error @ (Error::UpstreamIntegrity { .. } | Error::ContentChanged { .. })) => {
                wrong += 1;
                if wrong >= TRIES {
                    let error = as_integrity(file, error);
                    file.give_up(&error);
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

fn as_integrity(file: &FileState, error: Error) -> Error {
    match error {
        Error::ContentChanged { what } => Error::UpstreamIntegrity {
            what,
            expected: file.hash.to_hex(),
            actual: "something else, each time it was fetched".to_owned(),
        },
        other => other,
    }
}

async fn hold_once(
    shared: &Arc<Shared>,
    file: &Arc<FileState>,
    may_fetch: bool,
    progress: &(dyn Fn(u64, u64) + Send + Sync),
) -> Result<Verdict> {
    let (planned, _) = shared.plan_range(file, None, may_fetch).await?.unwrap_or_default();
    let ranges: Vec<(Hash, FetchRange)> = planned
        .fetches
        .iter()
        .flat_map(|fetch| fetch.ranges.iter().map(|range| (fetch.xorb, *range)))
        .collect();
    let total: u64 = ranges.iter().map(|(_, range)| range.byte_end - range.byte_start).sum();
    let content = |held: u64| match total {
        0 => planned.size,
        _ => u64::try_from(u128::from(planned.size) * u128::from(held) / u128::from(total)).unwrap_or(planned.size),
    };
    let reading = Reading {
        shared: Arc::clone(shared),
        file: Arc::clone(file),
        viewer: NAMELESS,
        generation: planned.generation,
        may_fetch,
    };
    let mut held = 0;
    progress(0, planned.size);
    let mut waiting = Started::default();
    let mut ranges = ranges.into_iter();
    loop {
        while waiting.0.len() < shared.http.limiter().limit().clamp(2, 16) {
            let Some((xorb, range)) = ranges.next() else { break };
            let reading = reading.clone();
            waiting.0.push_back(tokio::spawn(async move {
                let entry = reading.shared.xorbs.get(&reading.shared, &xorb).await?;
                entry.hold_range(&reading, range.byte_start..range.byte_end).await?;
                Ok(range.byte_end - range.byte_start)
            }));
        }
        let Some(first) = waiting.0.front_mut() else { break };
        held += first
            .await
            .unwrap_or(Err(Error::Client(xetway_client::Error::Cancelled)))?;
        waiting.0.pop_front();
        progress(content(held), planned.size);
    }
    shared.check(file).await
}

/// Ranges on their way, in order; dropping it stops them.
#[derive(Default)]
struct Started(VecDeque<JoinHandle<Result<u64>>>);

impl Drop for Started {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Return the content bytes of a file that are held.
pub(crate) fn held_bytes(shared: &Shared, terms: &[PlannedTerm]) -> Result<u64> {
    let mut held = 0;
    for term in terms {
        let chunks = shared.cache.xorb(&term.xorb)?.chunks(term.start..term.end);
        held += chunks
            .iter()
            .filter(|chunk| chunk.held)
            .map(|chunk| u64::from(chunk.raw_bytes))
            .sum::<u64>();
    }
    Ok(held)
}

/// Fetch a small range that is not proven yet, and check the file, before any of the range is shown.
///
/// Wrong content that nobody has seen is fetched again, unnoticed.
pub(crate) async fn settle_small(reading: &Reading, entry: &Arc<XorbEntry>, bytes: Range<u64>) -> Result<()> {
    entry.hold_range(reading, bytes).await?;
    match reading.shared.check(&reading.file).await {
        // Nobody saw it: the file is suspect now, and will be whole and right before any of it is shown.
        Ok(_) | Err(Error::UpstreamIntegrity { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

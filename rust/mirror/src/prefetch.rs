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
use crate::mirror::Shared;
use crate::proof::Verdict;

/// Bring all of a file to the cache and prove it. `progress` is given content bytes held, and in all.
pub(crate) async fn hold_file(
    shared: &Arc<Shared>,
    file: &Arc<FileState>,
    progress: &(dyn Fn(u64, u64) + Send + Sync),
) -> Result<()> {
    const TRIES: u32 = 3;
    let mut tried = 0;
    loop {
        tried += 1;
        let shown = file.is_shown();
        match hold_once(shared, file, progress).await {
            Err(Error::UpstreamIntegrity { .. }) if tried < TRIES && !shown => {}
            outcome => return outcome,
        }
    }
}

async fn hold_once(
    shared: &Arc<Shared>,
    file: &Arc<FileState>,
    progress: &(dyn Fn(u64, u64) + Send + Sync),
) -> Result<()> {
    let planned = shared.plan_range(file, None).await?.unwrap_or_default();
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
    let mut held = 0;
    progress(0, planned.size);
    let mut waiting = Started::default();
    let mut ranges = ranges.into_iter();
    loop {
        while waiting.0.len() < shared.http.limiter().limit().clamp(2, 16) {
            let Some((xorb, range)) = ranges.next() else { break };
            let (shared, file) = (Arc::clone(shared), Arc::clone(file));
            waiting.0.push_back(tokio::spawn(async move {
                let entry = shared.xorbs.get(&shared, &xorb).await?;
                shared
                    .hold_range(&entry, &file, range.byte_start..range.byte_end)
                    .await?;
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
    match shared.check(file).await? {
        Verdict::Proven => Ok(()),
        Verdict::Incomplete => Err(Error::NotCached {
            what: format!(
                "part of file {}, which was evicted before it was proven, and therefore",
                file.hash
            ),
        }),
    }
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

impl Shared {
    /// Fetch and prove a small range that is not proven yet before any of it is shown.
    ///
    /// Wrong content that nobody has seen is fetched again, unnoticed.
    pub(crate) async fn settle_small(
        self: &Arc<Self>,
        entry: &Arc<XorbEntry>,
        file: &Arc<FileState>,
        bytes: Range<u64>,
    ) -> Result<()> {
        const TRIES: u32 = 3;
        let mut tried = 0;
        loop {
            tried += 1;
            let shown = file.is_shown();
            self.hold_range(entry, file, bytes.clone()).await?;
            match self.check(file).await {
                Err(Error::UpstreamIntegrity { .. }) if tried < TRIES && !shown => {}
                outcome => return outcome.map(drop),
            }
        }
    }
}

//! Brings a plain file to the cache: one transfer, resumed where it stopped, checked at its end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use xetway_cache::Error as CacheError;

use crate::error::{Error, Result};
use crate::mirror::{PlainSource, Shared, blocking};
use crate::plain::{PlainBody, PlainEntry, Progress, TRIES};
use crate::stats::add;

/// Bytes that are written together.
const BATCH_BYTES: usize = 512 << 10;
/// Share of the budget of one transfer.
const BUDGET_BYTES: u64 = 2 << 20;

/// Return when nobody but the file's own state watches for some seconds.
pub(crate) async fn unwatched(sender: &watch::Sender<Progress>) {
    let mut idle = 0;
    while idle < 5 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        idle = if sender.receiver_count() <= 1 { idle + 1 } else { 0 };
    }
}

/// Bring a plain file to the cache and prove it.
pub(crate) async fn transfer(
    shared: &Arc<Shared>,
    entry: &Arc<PlainEntry>,
    source: &PlainSource,
    sender: &watch::Sender<Progress>,
) -> Result<()> {
    let mut tried = 0;
    loop {
        tried += 1;
        match fill(shared, entry, source, sender).await {
            Ok(()) => {
                let proven = Arc::clone(entry);
                return blocking(move || proven.settle()).await?;
            }
            // Damage was found: what is missing is fetched again.
            Err(Error::Cache(CacheError::State { .. })) if tried <= TRIES => {}
            Err(Error::Cache(error @ CacheError::Integrity { .. })) => {
                add(&shared.counters.integrity_failures, 1);
                let (failing, is_last) = (Arc::clone(entry), tried >= TRIES);
                let was_shown = blocking(move || failing.spoil(is_last)).await??;
                if was_shown || is_last {
                    return Err(entry.wrong(&error));
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Fetch what is missing and check the digest; wrong content is dropped.
async fn fill(
    shared: &Arc<Shared>,
    entry: &Arc<PlainEntry>,
    source: &PlainSource,
    sender: &watch::Sender<Progress>,
) -> Result<()> {
    let fetched = fetch(shared, entry, source, sender).await;
    let file = Arc::clone(&entry.file);
    blocking(move || {
        if matches!(fetched, Err(Error::Cache(CacheError::Integrity { .. }))) {
            file.restart()?;
        }
        fetched?;
        Ok(file.finish()?)
    })
    .await?
}

/// Fetch from where the file on disk ends to its end.
async fn fetch(
    shared: &Arc<Shared>,
    entry: &Arc<PlainEntry>,
    source: &PlainSource,
    sender: &watch::Sender<Progress>,
) -> Result<()> {
    let _permit = shared.http.budget().take(BUDGET_BYTES).await;
    let (mut at, size) = (entry.file.len(), entry.file.size());
    let mut body = PlainBody::new(shared, source, entry.key, size, at..size);
    let mut batch: Vec<Bytes> = Vec::new();
    let mut batch_bytes = 0;
    loop {
        let piece = body.next().await;
        if let Ok(Some(piece)) = &piece {
            batch_bytes += piece.len();
            batch.push(piece.clone());
        }
        let is_last = !matches!(piece, Ok(Some(_)));
        if batch_bytes >= BATCH_BYTES || is_last {
            write(entry, sender, &mut at, &mut batch).await?;
            batch_bytes = 0;
        }
        if is_last {
            return piece.map(|_| ());
        }
    }
}

async fn write(
    entry: &Arc<PlainEntry>,
    sender: &watch::Sender<Progress>,
    at: &mut u64,
    batch: &mut Vec<Bytes>,
) -> Result<()> {
    let (file, pieces, start) = (Arc::clone(&entry.file), std::mem::take(batch), *at);
    if pieces.is_empty() {
        return Ok(());
    }
    let written = blocking(move || {
        let mut at = start;
        for piece in pieces {
            file.append(at, &piece)?;
            at += piece.len() as u64;
        }
        Ok::<_, CacheError>(at)
    })
    .await?;
    *at = written?;
    sender.send_replace(Progress::Flying);
    Ok(())
}

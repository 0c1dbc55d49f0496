//! Brings a plain file to the cache: one transfer, resumed where it stopped, checked at its end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use xetway_cache::Error as CacheError;
use xetway_client::{Error as ClientError, TransportKind};

use crate::error::{Error, Result};
use crate::mirror::{PlainSource, Shared, blocking};
use crate::plain::{PlainEntry, Progress, TRIES};
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
                let failing = Arc::clone(entry);
                let was_shown = blocking(move || failing.spoil()).await??;
                if was_shown || tried >= TRIES {
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
    let size = entry.file.size();
    let begin = entry.file.len();
    let mut failures = 0;
    loop {
        let start = entry.file.len();
        if start >= size {
            return Ok(());
        }
        let error = match fetch_once(shared, entry, source, sender, start).await {
            Ok(()) => continue,
            Err(Error::Client(error)) => error,
            Err(other) => return Err(other),
        };
        failures = if entry.file.len() > start + (1 << 20) {
            1
        } else {
            failures + 1
        };
        let mut attempts = shared.http.options().attempts;
        if error.is_unreachable() && entry.file.len() == begin {
            attempts = shared.http.connect_attempts(attempts);
        }
        if matches!(error, ClientError::Integrity { .. }) {
            attempts = attempts.min(TRIES);
        }
        let waited = shared.http.back_off(failures, attempts, error).await;
        waited.map_err(|error| given_up(entry, error))?;
    }
}

/// Content of another length is not the file.
fn given_up(entry: &PlainEntry, error: ClientError) -> Error {
    match error {
        ClientError::Integrity { expected, actual, .. } => Error::UpstreamIntegrity {
            what: format!("file {}", entry.key),
            expected,
            actual,
        },
        other => other.into(),
    }
}

async fn fetch_once(
    shared: &Arc<Shared>,
    entry: &Arc<PlainEntry>,
    source: &PlainSource,
    sender: &watch::Sender<Progress>,
    start: u64,
) -> Result<()> {
    let size = entry.file.size();
    let range = (start > 0).then_some(start..size);
    let mut body = shared.http.open(source.url.expose(), &source.headers, range).await?;
    if body.total.is_some_and(|total| total != size) || (body.end != u64::MAX && body.end != size) {
        let other = ClientError::Integrity {
            what: "length of the file",
            expected: format!("{size} bytes"),
            actual: format!("{} bytes", body.total.unwrap_or(body.end)),
        };
        return Err(other.into());
    }
    let mut at = start;
    let mut batch: Vec<Bytes> = Vec::new();
    let mut batch_bytes = 0;
    loop {
        let piece = match body.next().await {
            Ok(piece) => piece,
            Err(error) => {
                write(shared, entry, sender, &mut at, &mut batch).await?;
                return Err(error.into());
            }
        };
        let is_end = piece.is_none();
        batch_bytes += piece.as_ref().map_or(0, Bytes::len);
        batch.extend(piece);
        if batch_bytes >= BATCH_BYTES || is_end {
            write(shared, entry, sender, &mut at, &mut batch).await?;
            batch_bytes = 0;
        }
        if is_end {
            break;
        }
    }
    if at < size {
        let message = format!("the file ended at byte {at} of {size}");
        return Err(ClientError::transport(TransportKind::Cut, String::new(), message).into());
    }
    Ok(())
}

async fn write(
    shared: &Arc<Shared>,
    entry: &Arc<PlainEntry>,
    sender: &watch::Sender<Progress>,
    at: &mut u64,
    batch: &mut Vec<Bytes>,
) -> Result<()> {
    let (file, pieces, start) = (Arc::clone(&entry.file), std::mem::take(batch), *at);
    let bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
    if bytes == 0 {
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
    add(&shared.counters.fetched_bytes, bytes);
    sender.send_replace(Progress::Flying);
    Ok(())
}

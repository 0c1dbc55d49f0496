//! Plain files: one transfer each, growing on disk, followed by however many readers; resumed where it stopped.
//!
//! The last bytes are held back until the digest agrees. A reader who wants bytes far beyond what is
//! there does not wait for all that lies between: those bytes come from the upstream, unproven.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;
use xetway_cache::{Error as CacheError, PlainFile, PlainKey};
use xetway_client::{Body, Error as ClientError, TransportKind};

use crate::error::{Error, Result};
use crate::mirror::{PIECE_BYTES, PlainSource, Shared, blocking};
use crate::stats::add;

/// The end of a file that nobody gets before its digest agrees.
const HELD_BACK_BYTES: u64 = 64 << 10;
/// Bytes that are written together.
const BATCH_BYTES: usize = 512 << 10;
/// Share of the budget of one transfer.
const BUDGET_BYTES: u64 = 2 << 20;
/// A reader this far ahead of what is there does not wait for it.
const FAR_AHEAD_BYTES: u64 = 16 << 20;
/// How often a whole file is fetched again when its digest is wrong and nobody saw it.
const TRIES: u32 = 3;
/// How long readers may not go on in a file of which wrong bytes were shown.
const REFUSED_FOR: Duration = Duration::from_secs(3_600);

#[derive(Clone, Debug)]
enum Progress {
    Flying(u64),
    Landed(Result<()>),
}

/// A plain file in use.
#[derive(Debug)]
pub(crate) struct PlainEntry {
    key: PlainKey,
    file: Arc<PlainFile>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    transfer: Option<watch::Receiver<Progress>>,
    /// Goes up when wrong bytes were shown.
    generation: u64,
    is_shown: bool,
    refused_until: Option<Instant>,
}

impl PlainEntry {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) -> Error {
        Error::ContentChanged {
            what: format!("file {}", self.key),
        }
    }

    fn wrong(&self, error: &CacheError) -> Error {
        let (expected, actual) = match error {
            CacheError::Integrity { expected, actual, .. } => (expected.clone(), actual.clone()),
            other => (self.key.to_string(), other.to_string()),
        };
        Error::UpstreamIntegrity {
            what: format!("file {}", self.key),
            expected,
            actual,
        }
    }

    /// Follow the transfer under way, or start one.
    fn follow(self: &Arc<Self>, shared: &Arc<Shared>, source: &PlainSource) -> watch::Receiver<Progress> {
        let mut state = self.state();
        if let Some(transfer) = &state.transfer {
            if matches!(*transfer.borrow(), Progress::Flying(_)) && transfer.has_changed().is_ok() {
                return transfer.clone();
            }
        }
        let (sender, receiver) = watch::channel(Progress::Flying(self.file.len()));
        state.transfer = Some(receiver.clone());
        drop(state);
        add(&shared.counters.fetches, 1);
        let (shared, entry, source) = (Arc::clone(shared), Arc::clone(self), source.clone());
        tokio::spawn(async move {
            let outcome = tokio::select! {
                outcome = transfer(&shared, &entry, &source, &sender) => outcome,
                () = unwatched(&sender) => Err(Error::Client(ClientError::Cancelled)),
            };
            entry.state().transfer = None;
            sender.send_replace(Progress::Landed(outcome));
        });
        receiver
    }

    fn note_shown(&self, generation: u64) -> Result<()> {
        let mut state = self.state();
        if state.generation != generation {
            return Err(self.changed());
        }
        state.is_shown = true;
        Ok(())
    }
}

/// Return when nobody but the file's own state watches for some seconds.
async fn unwatched(sender: &watch::Sender<Progress>) {
    let mut idle = 0;
    while idle < 5 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        idle = if sender.receiver_count() <= 1 { idle + 1 } else { 0 };
    }
}

async fn transfer(
    shared: &Arc<Shared>,
    entry: &Arc<PlainEntry>,
    source: &PlainSource,
    sender: &watch::Sender<Progress>,
) -> Result<()> {
    let mut tried = 0;
    loop {
        tried += 1;
        fetch(shared, entry, source, sender).await?;
        let file = Arc::clone(&entry.file);
        match blocking(move || file.finish()).await? {
            Ok(()) => return Ok(()),
            // Damage was found: what is missing is fetched again.
            Err(CacheError::State { .. }) if tried <= TRIES => {}
            Err(error @ CacheError::Integrity { .. }) => {
                add(&shared.counters.integrity_failures, 1);
                let mut state = entry.state();
                if state.is_shown {
                    state.is_shown = false;
                    state.generation += 1;
                    state.refused_until = Some(Instant::now() + REFUSED_FOR);
                    return Err(entry.wrong(&error));
                }
                if tried >= TRIES {
                    return Err(entry.wrong(&error));
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
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
    let attempts = shared.http.options().attempts;
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
        shared.http.back_off(failures, attempts, error).await?;
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
        return Err(Error::UpstreamIntegrity {
            what: format!("file {}", entry.key),
            expected: format!("{size} bytes"),
            actual: format!("{} bytes", body.total.unwrap_or(body.end)),
        });
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
    match written {
        Ok(end) => *at = end,
        Err(error @ CacheError::Integrity { .. }) => return Err(entry.wrong(&error)),
        Err(error) => return Err(error.into()),
    }
    add(&shared.counters.fetched_bytes, bytes);
    sender.send_replace(Progress::Flying(entry.file.len()));
    Ok(())
}

/// Reads bytes of a plain file in order.
#[derive(Debug)]
pub(crate) struct PlainReader {
    shared: Arc<Shared>,
    entry: Arc<PlainEntry>,
    source: Option<PlainSource>,
    generation: u64,
    at: u64,
    end: u64,
    /// The bytes come straight from the upstream.
    direct: Option<Body>,
}

impl PlainReader {
    pub(crate) fn remaining(&self) -> u64 {
        self.end - self.at
    }

    pub(crate) fn is_proven(&self) -> bool {
        self.entry.file.is_proven()
    }

    /// Return the next bytes; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let piece = match &mut self.direct {
            Some(body) => body.next().await?.unwrap_or_default(),
            None => self.follow().await?,
        };
        if piece.is_empty() {
            let message = format!("the file ended at byte {} of {}", self.at, self.end);
            return Err(ClientError::transport(TransportKind::Cut, String::new(), message).into());
        }
        self.at += piece.len() as u64;
        add(&self.shared.counters.served_bytes, piece.len() as u64);
        Ok(Some(piece))
    }

    async fn follow(&mut self) -> Result<Bytes> {
        let file = Arc::clone(&self.entry.file);
        let mut waited = false;
        let mut idle = 0;
        loop {
            let proven = file.is_proven();
            let there = file.len();
            let limit = if proven {
                there
            } else {
                there.min(file.size().saturating_sub(HELD_BACK_BYTES))
            };
            if self.at < limit.min(self.end) {
                let (reading, at) = (Arc::clone(&file), self.at);
                let wanted = usize::try_from(limit.min(self.end) - at)
                    .unwrap_or(usize::MAX)
                    .min(PIECE_BYTES);
                let bytes = blocking(move || reading.read(at, wanted)).await??;
                if !bytes.is_empty() {
                    if !proven {
                        self.entry.note_shown(self.generation)?;
                    }
                    if !waited {
                        add(&self.shared.counters.cache_hit_bytes, bytes.len() as u64);
                    }
                    return Ok(Bytes::from(bytes));
                }
            }
            let Some(source) = &self.source else {
                return Err(not_cached(&self.entry.key));
            };
            waited = true;
            let mut progress = self.entry.follow(&self.shared, source);
            let state = progress.borrow_and_update().clone();
            match state {
                Progress::Landed(Err(error)) if !error.is_abandoned() => return Err(error),
                Progress::Landed(_) => {
                    idle += 1;
                    if idle > TRIES {
                        return Err(not_cached(&self.entry.key));
                    }
                }
                Progress::Flying(position) if position > limit && position < file.size() && self.at < position => {}
                Progress::Flying(_) => {
                    let _ = progress.changed().await;
                    let state = progress.borrow().clone();
                    if let Progress::Landed(Err(error)) = state {
                        if !error.is_abandoned() {
                            return Err(error);
                        }
                    }
                }
            }
        }
    }
}

fn not_cached(key: &PlainKey) -> Error {
    Error::NotCached {
        what: format!("file {key}"),
    }
}

/// All plain files in use.
#[derive(Debug, Default)]
pub(crate) struct Plains(Mutex<HashMap<PlainKey, Weak<PlainEntry>>>);

impl Plains {
    fn table(&self) -> MutexGuard<'_, HashMap<PlainKey, Weak<PlainEntry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn get(&self, shared: &Arc<Shared>, key: PlainKey, size: u64) -> Result<Arc<PlainEntry>> {
        let cache = shared.cache.clone();
        let file = blocking(move || cache.plain(&key, size)).await??;
        let mut table = self.table();
        if let Some(entry) = table.get(&key).and_then(Weak::upgrade) {
            return Ok(entry);
        }
        let entry = Arc::new(PlainEntry {
            key,
            file,
            state: Mutex::default(),
        });
        table.insert(key, Arc::downgrade(&entry));
        table.retain(|_, entry| entry.strong_count() > 0);
        Ok(entry)
    }
}

impl Shared {
    /// Read `range` of a plain file.
    pub(crate) async fn read_plain(
        self: &Arc<Self>,
        key: PlainKey,
        size: u64,
        range: Range<u64>,
        source: Option<PlainSource>,
    ) -> Result<PlainReader> {
        let entry = self.plains.get(self, key, size).await?;
        let (generation, is_refused) = {
            let state = entry.state();
            let is_refused = state.refused_until.is_some_and(|until| Instant::now() < until);
            (state.generation, is_refused)
        };
        if range.start > 0 && is_refused && !entry.file.is_proven() {
            return Err(entry.changed());
        }
        let is_far = !entry.file.is_proven() && range.start > entry.file.len().saturating_add(FAR_AHEAD_BYTES);
        let direct = match &source {
            Some(source) if is_far && range.start < range.end => {
                let opened = self
                    .http
                    .open(source.url.expose(), &source.headers, Some(range.clone()));
                Some(opened.await?)
            }
            _ => None,
        };
        let reader = PlainReader {
            shared: Arc::clone(self),
            entry,
            source,
            generation,
            at: range.start,
            end: range.end,
            direct,
        };
        if reader.source.is_none() && !reader.is_proven() && reader.entry.file.len() < size {
            return Err(not_cached(&key));
        }
        Ok(reader)
    }

    /// Bring all of a plain file to the cache.
    pub(crate) async fn hold_plain(
        self: &Arc<Self>,
        key: PlainKey,
        size: u64,
        source: Option<PlainSource>,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<()> {
        let entry = self.plains.get(self, key, size).await?;
        let mut tries = 0;
        while !entry.file.is_proven() {
            progress(entry.file.len(), size);
            let Some(source) = &source else {
                return Err(not_cached(&key));
            };
            let mut following = entry.follow(self, source);
            let _ = tokio::time::timeout(Duration::from_millis(250), following.changed()).await;
            let state = following.borrow().clone();
            if let Progress::Landed(outcome) = state {
                tries += 1;
                match outcome {
                    Err(error) if !error.is_abandoned() => return Err(error),
                    _ if tries > TRIES && !entry.file.is_proven() => return Err(not_cached(&key)),
                    _ => {}
                }
            }
        }
        progress(size, size);
        Ok(())
    }
}

//! Plain files: one transfer each, growing on disk, followed by however many readers; resumed where it stopped.
//!
//! The last bytes are held back until the digest agrees. A reader who wants bytes far beyond what is
//! there does not wait for all that lies between: those bytes come from the upstream, unproven.

mod body;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use xetway_cache::{Error as CacheError, PlainFile, PlainKey};
use xetway_client::Error as ClientError;
use xetway_core::Hash;
use xetway_core::hash::data_hash;

use crate::error::{Error, Result};
use crate::growing::{transfer, unwatched};
use crate::ledger::{Ledger, PLAIN, now_s};
use crate::mirror::{PlainSource, Shared, blocking};
use crate::stats::add;

pub(crate) use body::PlainBody;

/// The end of a file that nobody gets before its digest agrees.
const HELD_BACK_BYTES: u64 = 64 << 10;
/// A reader this far ahead of what is there does not wait for it.
const FAR_AHEAD_BYTES: u64 = 16 << 20;
/// How often a whole file is fetched again when its digest is wrong and nobody saw it.
pub(crate) const TRIES: u32 = 3;
/// How long readers may not go on in a file of which wrong bytes were shown.
const REFUSED_S: u64 = 3_600;

/// What a transfer tells; how far it is, the file says.
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    /// It is under way; told again whenever there are more bytes.
    Flying,
    /// It ended.
    Landed(Result<()>),
}

/// A plain file in use.
#[derive(Debug)]
pub(crate) struct PlainEntry {
    pub(crate) key: PlainKey,
    pub(crate) file: Arc<PlainFile>,
    /// What the file is called where it is remembered who saw unproven bytes of it.
    alias: Hash,
    ledger: Ledger,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    transfer: Option<watch::Receiver<Progress>>,
    /// Goes up when content was found wrong, shown or not: what was read before must be read again.
    epoch: u64,
    /// Goes up when wrong bytes were shown.
    generation: u64,
    is_shown: bool,
    /// When shown bytes were last found wrong (seconds since 1970).
    spoilt_s: Option<u64>,
}

impl PlainEntry {
    fn new(key: PlainKey, file: Arc<PlainFile>, ledger: Ledger) -> Self {
        let alias = data_hash(key.to_string().as_bytes());
        let remembered = ledger.file(&alias);
        Self {
            key,
            file,
            alias,
            ledger,
            state: Mutex::new(State {
                generation: remembered.generation,
                is_shown: remembered.shown.contains_key(&PLAIN),
                spoilt_s: remembered.poisoned.get(&PLAIN).copied(),
                ..State::default()
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) -> Error {
        Error::ContentChanged {
            what: format!("file {}", self.key),
        }
    }

    pub(crate) fn wrong(&self, error: &CacheError) -> Error {
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

    /// Follow the transfer under way, or start one; not for a reader of an earlier `generation`.
    fn follow(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        source: &PlainSource,
        generation: Option<u64>,
    ) -> Result<watch::Receiver<Progress>> {
        let mut state = self.state();
        if generation.is_some_and(|generation| generation != state.generation) {
            return Err(self.changed());
        }
        if let Some(transfer) = &state.transfer
            && matches!(*transfer.borrow(), Progress::Flying)
            && transfer.has_changed().is_ok()
        {
            return Ok(transfer.clone());
        }
        let (sender, receiver) = watch::channel(Progress::Flying);
        state.transfer = Some(receiver.clone());
        drop(state);
        add(&shared.counters.fetches, 1);
        let (shared, entry, source) = (Arc::clone(shared), Arc::clone(self), source.clone());
        tokio::spawn(async move {
            let outcome = tokio::select! {
                outcome = transfer(&shared, &entry, &source, &sender) => outcome,
                () = unwatched(&sender) => Err(Error::Client(ClientError::Cancelled)),
            };
            sender.send_replace(Progress::Landed(outcome));
        });
        Ok(receiver)
    }

    /// Note that unproven bytes, read in `epoch`, are about to be shown; false if they must be read again.
    async fn note_shown(self: &Arc<Self>, generation: u64, epoch: u64) -> Result<bool> {
        let first = {
            let mut state = self.state();
            if state.generation != generation {
                return Err(self.changed());
            }
            if state.epoch != epoch {
                return Ok(false);
            }
            !std::mem::replace(&mut state.is_shown, true)
        };
        if first {
            let entry = Arc::clone(self);
            blocking(move || entry.ledger.shown(entry.alias, PLAIN)).await??;
            if self.state().generation != generation {
                return Err(self.changed());
            }
        }
        Ok(true)
    }

    /// Take note that the content was found wrong; returns whether any of it was shown. Blocking.
    ///
    /// If it was, or this was the last try (`is_last`), nobody joins the transfer any more: it fails.
    pub(crate) fn spoil(&self, is_last: bool) -> Result<bool> {
        let generation = {
            let mut state = self.state();
            state.epoch += 1;
            let was_shown = std::mem::take(&mut state.is_shown);
            if was_shown || is_last {
                state.transfer = None;
            }
            if !was_shown {
                return Ok(false);
            }
            state.spoilt_s = Some(now_s());
            state.generation += 1;
            state.generation
        };
        self.ledger.changed(self.alias, generation)?;
        Ok(true)
    }

    /// Take note that the content is proven, and so is what was shown. Blocking.
    pub(crate) fn settle(&self) -> Result<()> {
        self.state().is_shown = false;
        self.ledger.settled(self.alias)
    }

    /// Whether wrong bytes were shown lately: who goes on now would add to them.
    fn is_refused(&self) -> bool {
        self.state()
            .spoilt_s
            .is_some_and(|found_s| found_s + REFUSED_S > now_s())
    }
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
    direct: Option<PlainBody>,
}

impl PlainReader {
    pub(crate) fn remaining(&self) -> u64 {
        self.end - self.at
    }

    pub(crate) fn is_proven(&self) -> bool {
        self.entry.file.is_proven()
    }

    /// Return the next bytes; `None` after the last.
    pub(crate) async fn next(&mut self, max_bytes: usize) -> Result<Option<Bytes>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let piece = match &mut self.direct {
            Some(body) => body.next().await?,
            None => Some(self.follow(max_bytes).await?),
        };
        let piece_bytes = piece.as_ref().map_or(0, Bytes::len) as u64;
        self.at += piece_bytes;
        add(&self.shared.counters.served_bytes, piece_bytes);
        Ok(piece)
    }

    async fn follow(&mut self, max_bytes: usize) -> Result<Bytes> {
        let file = Arc::clone(&self.entry.file);
        let mut waited = false;
        let mut idle = 0;
        loop {
            let proven = file.is_proven();
            let limit = shown_end(&file, proven);
            if self.at < limit.min(self.end) {
                let epoch = self.entry.state().epoch;
                let (reading, at) = (Arc::clone(&file), self.at);
                let piece_bytes = usize::try_from(limit.min(self.end) - at)
                    .unwrap_or(usize::MAX)
                    .min(max_bytes);
                let bytes = blocking(move || reading.read(at, piece_bytes)).await??;
                if !bytes.is_empty() {
                    if !proven && !self.entry.note_shown(self.generation, epoch).await? {
                        continue;
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
            let mut progress = self.entry.follow(&self.shared, source, Some(self.generation))?;
            let state = progress.borrow_and_update().clone();
            match state {
                Progress::Landed(Err(error)) if !error.is_abandoned() => return Err(error),
                Progress::Landed(_) => {
                    idle += 1;
                    if idle > TRIES {
                        return Err(not_cached(&self.entry.key));
                    }
                }
                // It grew before this was told, and tells when it grows on: nothing is missed by waiting.
                Progress::Flying if shown_end(&file, file.is_proven()) > limit => {}
                Progress::Flying => {
                    let _ = progress.changed().await;
                    let state = progress.borrow().clone();
                    if let Progress::Landed(Err(error)) = state
                        && !error.is_abandoned()
                    {
                        return Err(error);
                    }
                }
            }
        }
    }
}

/// Where the bytes end that may be shown.
fn shown_end(file: &PlainFile, proven: bool) -> u64 {
    if proven {
        file.len()
    } else {
        file.len().min(file.size().saturating_sub(HELD_BACK_BYTES))
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
        let entry = Arc::new(PlainEntry::new(key, file, shared.ledger.clone()));
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
        let generation = entry.state().generation;
        if range.start > 0 && entry.is_refused() {
            return Err(entry.changed());
        }
        // Never the end of a file: who gets that may believe that all is right.
        let is_far = !entry.file.is_proven()
            && range.end < size
            && range.start > entry.file.len().saturating_add(FAR_AHEAD_BYTES);
        let direct = source
            .as_ref()
            .filter(|_| is_far)
            .map(|source| PlainBody::new(self, source, key, size, range.clone()));
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
            let mut following = entry.follow(self, source, None)?;
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

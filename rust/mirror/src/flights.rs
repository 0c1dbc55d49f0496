//! Fetches under way: each byte of a xorb is fetched by one of them, however many wait for it.
//!
//! A flight reads one range from the upstream into the cache, chunk by chunk, and tells how far it is.
//! Chunks are shown to nobody before they were decoded, hashed and written. It goes on without
//! passengers for some seconds, or to its end if that is near; then it is given up. What it brought stays.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use xetway_cache::{CachedXorb, ChunkInfo};
use xetway_client::{Error as ClientError, Fetch};
use xetway_core::Hash;

use crate::error::{Error, Result};
use crate::files::FileState;
use crate::landing::transfer;
use crate::mirror::{Shared, blocking};
use crate::reader::Reading;
use crate::stats::add;

/// How long a flight goes on when nobody waits for it: a client that lost its connection comes back.
const GRACE: Duration = Duration::from_secs(5);
/// A flight with no more than this to bring goes on to its end.
const NEARLY_DONE_BYTES: u64 = 8 << 20;

/// How far a flight is.
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    /// Everything before this position is in the cache.
    Flying(u64),
    /// It ended.
    Landed(Result<()>),
}

/// One range on its way into the cache.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// The file whose addresses it uses.
    file: Hash,
    progress: watch::Sender<Progress>,
    passengers: watch::Sender<usize>,
}

impl Flight {
    pub(crate) fn report(&self, position: u64) {
        self.progress.send_replace(Progress::Flying(position));
    }

    /// Whether byte `at` is still to come.
    fn brings(&self, at: u64) -> bool {
        match &*self.progress.borrow() {
            Progress::Flying(position) => (*position..self.end).contains(&at),
            Progress::Landed(_) => false,
        }
    }

    fn left_bytes(&self) -> u64 {
        match &*self.progress.borrow() {
            Progress::Flying(position) => self.end.saturating_sub(*position),
            Progress::Landed(_) => 0,
        }
    }

    /// Return when nobody has waited for a while, and much is to come, or nothing comes.
    async fn abandoned(&self) {
        let mut passengers = self.passengers.subscribe();
        let mut left_before = u64::MAX;
        loop {
            // The sender is in `self`: waiting does not fail.
            let _ = passengers.wait_for(|count| *count == 0).await;
            let back = tokio::time::timeout(GRACE, passengers.wait_for(|count| *count > 0)).await;
            if back.is_err() {
                let left = self.left_bytes();
                if left > NEARLY_DONE_BYTES || left == left_before {
                    return;
                }
                left_before = left;
            }
        }
    }
}

/// A place on a flight: it goes on while anyone has one.
#[derive(Debug)]
pub(crate) struct Ticket {
    flight: Arc<Flight>,
    /// Keeps what was brought from being evicted before it is read.
    _entry: Arc<XorbEntry>,
}

impl Ticket {
    fn new(entry: &Arc<XorbEntry>, flight: &Arc<Flight>) -> Self {
        flight.passengers.send_modify(|count| *count += 1);
        Self {
            flight: Arc::clone(flight),
            _entry: Arc::clone(entry),
        }
    }

    /// Whether byte `at` is still to come on this flight.
    pub(crate) fn brings(&self, at: u64) -> bool {
        self.flight.brings(at)
    }

    pub(crate) fn end(&self) -> u64 {
        self.flight.end
    }

    /// Wait until the flight has passed `at`, or ended.
    ///
    /// `Ok` does not promise that the bytes are still there. A flight that was abandoned, or failed on
    /// the way of another file, is no error: who waits for `file` may have better luck.
    pub(crate) async fn passed(&self, file: &FileState, at: u64) -> Result<()> {
        let mut progress = self.flight.progress.subscribe();
        loop {
            match &*progress.borrow_and_update() {
                Progress::Flying(position) if *position > at => return Ok(()),
                Progress::Flying(_) => {}
                Progress::Landed(Err(error)) if error.is_abandoned() || self.flight.file != file.hash => return Ok(()),
                Progress::Landed(outcome) => return outcome.clone(),
            }
            if progress.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(*self.flight.progress.borrow(), Progress::Landed(_))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.flight
            .passengers
            .send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// A xorb that someone reads or fetches.
#[derive(Debug)]
pub(crate) struct XorbEntry {
    pub(crate) cached: Arc<CachedXorb>,
    flights: Mutex<Vec<Arc<Flight>>>,
}

impl XorbEntry {
    fn flights(&self) -> MutexGuard<'_, Vec<Arc<Flight>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Take a place on the flight that brings byte `at`, or start one that goes to `end` at most.
    ///
    /// `None` if it is held by now.
    pub(crate) async fn board(self: &Arc<Self>, reading: &Reading, at: u64, end: u64) -> Result<Option<Ticket>> {
        if let Some(ticket) = self.join(at) {
            return Ok(Some(ticket));
        }
        let (shared, file) = (&reading.shared, &reading.file);
        if !reading.may_fetch {
            return Err(Error::NotCached {
                what: format!("a range of file {}", file.hash),
            });
        }
        let fetch = shared.fetch_for(file, &self.cached.hash(), at, end).await?;
        let (flight, route) = {
            let mut flights = self.flights();
            if let Some(flight) = flights.iter().find(|flight| flight.brings(at)) {
                return Ok(Some(Ticket::new(self, flight)));
            }
            if self.cached.held_end(at).is_some() {
                return Ok(None);
            }
            let (bytes, route) = self.route(file, &fetch, at, end, &flights);
            let flight = Arc::new(Flight {
                start: bytes.start,
                end: bytes.end,
                file: file.hash,
                progress: watch::Sender::new(Progress::Flying(bytes.start)),
                passengers: watch::Sender::new(0),
            });
            flights.push(Arc::clone(&flight));
            (flight, route)
        };
        let ticket = Ticket::new(self, &flight);
        add(&shared.counters.fetches, 1);
        tokio::spawn(fly(
            Arc::clone(shared),
            Arc::clone(self),
            Arc::clone(file),
            flight,
            route,
        ));
        Ok(Some(ticket))
    }

    fn join(self: &Arc<Self>, at: u64) -> Option<Ticket> {
        let flights = self.flights();
        let flight = flights.iter().find(|flight| flight.brings(at))?;
        Some(Ticket::new(self, flight))
    }

    /// Choose the bytes of a flight that brings `at`, all of it whole chunks, nothing that is held or on its way.
    fn route(
        &self,
        file: &FileState,
        fetch: &Fetch,
        at: u64,
        end: u64,
        flights: &[Arc<Flight>],
    ) -> (Range<u64>, Route) {
        let known = self.cached.chunks(fetch.chunks.clone());
        let (first_chunk, start) = departure(fetch, &known, at);
        let mut last = fetch.bytes.end;
        let is_boundary =
            |at: u64| known.iter().any(|chunk| chunk.end == at) || file.addresses.is_edge(&self.cached.hash(), at);
        if end > at && end < last && is_boundary(end) {
            last = end;
        }
        let held = known.iter().filter(|chunk| chunk.held).map(|chunk| chunk.start);
        let others = flights
            .iter()
            .filter(|flight| flight.left_bytes() > 0)
            .map(|flight| flight.start);
        let last = held.chain(others).filter(|start| *start > at).fold(last, u64::min);
        let route = Route {
            first_chunk,
            last_chunk: (last == fetch.bytes.end).then_some(fetch.chunks.end),
        };
        (start..last, route)
    }
}

/// Return the chunk to begin with, and where it starts: the nearest known one at or before `at`.
fn departure(fetch: &Fetch, known: &[ChunkInfo], at: u64) -> (u32, u64) {
    let before = known.partition_point(|chunk| chunk.start <= at);
    match before.checked_sub(1).and_then(|last| known.get(last)) {
        Some(chunk) if chunk.end > at => (chunk.index, chunk.start),
        Some(chunk) => (chunk.index.saturating_add(1), chunk.end),
        None => (fetch.chunks.start, fetch.bytes.start),
    }
}

/// Which chunks a flight brings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    /// The chunk at its start.
    pub(crate) first_chunk: u32,
    /// One past the last chunk, if the flight goes to the end of what the upstream named.
    pub(crate) last_chunk: Option<u32>,
}

async fn fly(shared: Arc<Shared>, entry: Arc<XorbEntry>, file: Arc<FileState>, flight: Arc<Flight>, route: Route) {
    let _landing = Landing {
        entry: &entry,
        flight: &flight,
    };
    let outcome = tokio::select! {
        outcome = transfer(&shared, &entry, &file, &flight, route) => outcome,
        () = flight.abandoned() => Err(Error::Client(ClientError::Cancelled)),
    };
    if outcome.as_ref().is_err_and(Error::is_abandoned) {
        add(&shared.counters.abandoned_fetches, 1);
    }
    entry.flights().retain(|other| !Arc::ptr_eq(other, &flight));
    flight.progress.send_replace(Progress::Landed(outcome));
}

/// Ends a flight for its passengers, even when its task is dropped or panics.
struct Landing<'a> {
    entry: &'a XorbEntry,
    flight: &'a Arc<Flight>,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.entry.flights().retain(|other| !Arc::ptr_eq(other, self.flight));
        self.flight.progress.send_if_modified(|progress| {
            let is_lost = matches!(progress, Progress::Flying(_));
            if is_lost {
                *progress = Progress::Landed(Err(Error::Client(ClientError::Cancelled)));
            }
            is_lost
        });
    }
}

/// All xorbs in use.
#[derive(Debug, Default)]
pub(crate) struct Xorbs(Mutex<HashMap<Hash, Weak<XorbEntry>>>);

impl Xorbs {
    /// Return a xorb, the same for all who use it.
    pub(crate) async fn get(&self, shared: &Arc<Shared>, xorb: &Hash) -> Result<Arc<XorbEntry>> {
        if let Some(entry) = self.table().get(xorb).and_then(Weak::upgrade) {
            return Ok(entry);
        }
        let (cache, hash) = (shared.cache.clone(), *xorb);
        let cached = blocking(move || cache.xorb(&hash)).await??;
        let mut table = self.table();
        if let Some(entry) = table.get(xorb).and_then(Weak::upgrade) {
            return Ok(entry);
        }
        let entry = Arc::new(XorbEntry {
            cached,
            flights: Mutex::default(),
        });
        table.insert(*xorb, Arc::downgrade(&entry));
        if table.len().is_multiple_of(256) {
            table.retain(|_, entry| entry.strong_count() > 0);
        }
        Ok(entry)
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Hash, Weak<XorbEntry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Fetches under way: each byte of a xorb is fetched by one of them, however many wait for it.
//!
//! A flight reads one range from the upstream into the cache, chunk by chunk, and tells how far it is.
//! Chunks are shown to nobody before they were decoded, hashed and written. It goes on without
//! passengers for some seconds, then it is given up; what it brought stays.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use xetway_cache::CachedXorb;
use xetway_client::{Error as ClientError, Fetch};
use xetway_core::Hash;

use crate::error::{Error, Result};
use crate::files::FileState;
use crate::landing::transfer;
use crate::mirror::{Shared, blocking};
use crate::stats::add;

/// How long a flight goes on when nobody waits for it: a client that lost its connection comes back.
const GRACE: Duration = Duration::from_secs(5);

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
    progress: watch::Sender<Progress>,
    passengers: AtomicUsize,
    left: Notify,
}

impl Flight {
    pub(crate) fn report(&self, position: u64) {
        self.progress.send_replace(Progress::Flying(position));
    }

    /// Return when nobody has waited for a while.
    async fn abandoned(&self) {
        loop {
            self.left.notified().await;
            tokio::time::sleep(GRACE).await;
            if self.passengers.load(Ordering::Acquire) == 0 {
                return;
            }
        }
    }
}

/// A place on a flight.
#[derive(Debug)]
pub(crate) struct Ticket(Arc<Flight>);

impl Ticket {
    fn new(flight: &Arc<Flight>) -> Self {
        flight.passengers.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(flight))
    }

    /// Wait until the flight has passed `at`, or ended.
    ///
    /// `Ok` does not promise that the bytes are still there; an abandoned flight is no error.
    pub(crate) async fn passed(&self, at: u64) -> Result<()> {
        let mut progress = self.0.progress.subscribe();
        loop {
            match &*progress.borrow_and_update() {
                Progress::Flying(position) if *position > at => return Ok(()),
                Progress::Flying(_) => {}
                Progress::Landed(Err(Error::Client(ClientError::Cancelled))) => return Ok(()),
                Progress::Landed(outcome) => return outcome.clone(),
            }
            if progress.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(*self.0.progress.borrow(), Progress::Landed(_))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.0.passengers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.left.notify_one();
        }
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
    /// `at` is the start of a chunk, or of a range that the upstream named. `None` if it is held by now.
    pub(crate) async fn board(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        file: &Arc<FileState>,
        at: u64,
        end: u64,
    ) -> Result<Option<Ticket>> {
        if let Some(ticket) = self.join(at) {
            return Ok(Some(ticket));
        }
        let fetch = shared.fetch_for(file, &self.cached.hash(), at, end).await?;
        let mut flights = self.flights();
        if let Some(flight) = flights.iter().find(|flight| (flight.start..flight.end).contains(&at)) {
            return Ok(Some(Ticket::new(flight)));
        }
        if self.cached.held_end(at).is_some() {
            return Ok(None);
        }
        let (first_chunk, start) = self.departure(&fetch, at);
        let mut end = end.min(fetch.bytes.end);
        if end <= at {
            end = fetch.bytes.end;
        }
        let others = flights.iter().map(|flight| flight.start);
        let held = self.cached.chunks(first_chunk..fetch.chunks.end).into_iter();
        let held = held.filter(|chunk| chunk.held).map(|chunk| chunk.start);
        let end = others.chain(held).filter(|start| *start > at).fold(end, u64::min);
        let flight = Arc::new(Flight {
            start,
            end,
            progress: watch::Sender::new(Progress::Flying(start)),
            passengers: AtomicUsize::new(0),
            left: Notify::new(),
        });
        flights.push(Arc::clone(&flight));
        drop(flights);
        let ticket = Ticket::new(&flight);
        add(&shared.counters.fetches, 1);
        let route = Route {
            first_chunk,
            last_chunk: (end == fetch.bytes.end).then_some(fetch.chunks.end),
        };
        tokio::spawn(fly(
            Arc::clone(shared),
            Arc::clone(self),
            Arc::clone(file),
            flight,
            route,
        ));
        Ok(Some(ticket))
    }

    fn join(&self, at: u64) -> Option<Ticket> {
        let flights = self.flights();
        let flight = flights.iter().find(|flight| (flight.start..flight.end).contains(&at))?;
        Some(Ticket::new(flight))
    }

    /// Return the chunk to begin with and where it starts: at `at` if the chunk there is known.
    fn departure(&self, fetch: &Fetch, at: u64) -> (u32, u64) {
        if at > fetch.bytes.start {
            let known = self.cached.chunk_at(at).and_then(|index| self.cached.chunk(index));
            if let Some(chunk) = known.filter(|chunk| chunk.start == at) {
                return (chunk.index, at);
            }
            let before = self.cached.chunk_at(at.saturating_sub(1));
            let before = before.and_then(|index| self.cached.chunk(index));
            if let Some(chunk) = before.filter(|chunk| chunk.end == at) {
                return (chunk.index.saturating_add(1), at);
            }
        }
        (fetch.chunks.start, fetch.bytes.start)
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
        () = flight.abandoned() => {
            add(&shared.counters.abandoned_fetches, 1);
            Err(Error::Client(ClientError::Cancelled))
        }
    };
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
        if table.len() % 256 == 0 {
            table.retain(|_, entry| entry.strong_count() > 0);
        }
        Ok(entry)
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Hash, Weak<XorbEntry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

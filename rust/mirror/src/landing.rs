//! What a flight does: bytes from the upstream, framed, decoded, hashed, written to the cache.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use xetway_cache::{Error as CacheError, NewChunk};
use xetway_client::{Decoded, Error as ClientError, Frame, FrameParser, RangeBody, compute};

use crate::error::{Error, Result};
use crate::files::FileState;
use crate::flights::{Flight, Route, XorbEntry};
use crate::mirror::{Shared, blocking};
use crate::sources::FileSource;
use crate::stats::add;

/// Stored bytes, and raw bytes, that are decoded and written together.
const BATCH_BYTES: u64 = 1 << 20;
/// What a flight takes of the budget: a batch, its raw bytes, and the buffers that its frames lie in.
const FLIGHT_BUDGET_BYTES: u64 = 4 << 20;
/// A batch is passed on after this time, however small.
const BATCH_AGE: Duration = Duration::from_millis(100);
/// How long a flight waits for room, and how often it looks.
const ROOM_PATIENCE: Duration = Duration::from_secs(10);
const ROOM_INTERVAL: Duration = Duration::from_millis(100);

/// Bring the range of `flight` into the cache.
pub(crate) async fn transfer(
    shared: &Arc<Shared>,
    entry: &Arc<XorbEntry>,
    file: &Arc<FileState>,
    flight: &Flight,
    route: Route,
) -> Result<()> {
    let bytes = flight.end - flight.start;
    while_full(|| {
        let cache = shared.cache.clone();
        move || Ok(cache.make_room(bytes)?)
    })
    .await?;
    // Before the connection, and until the end: whoever holds a connection never waits for the budget.
    let _permit = shared.http.budget().take(FLIGHT_BUDGET_BYTES).await;
    let mut feed = Feed::new(shared, entry, file, flight);
    let mut landed = Landed {
        next_chunk: route.first_chunk,
        position: flight.start,
        conflict_at: None,
    };
    loop {
        let bad = match feed.next().await? {
            Feeding::Batch(frames) => land(shared, entry, frames, &mut landed).await?.err(),
            Feeding::Bad(error) => Some(error),
            Feeding::End => break,
        };
        match bad {
            None => flight.report(landed.position),
            Some(error) => {
                add(&shared.counters.retries, 1);
                let restarted = feed.restart(landed.position, error).await;
                restarted.map_err(|error| given_up(entry, &error))?;
            }
        }
    }
    let (shared, cached) = (Arc::clone(shared), Arc::clone(&entry.cached));
    blocking(move || {
        if route.last_chunk.is_some_and(|last| last != landed.next_chunk) {
            shared.forget(&cached, route.first_chunk..landed.next_chunk)?;
            return Err(Error::UpstreamIntegrity {
                what: format!("a range of xorb {}", cached.hash()),
                expected: format!("chunks up to {}", route.last_chunk.unwrap_or_default()),
                actual: format!("chunks up to {}", landed.next_chunk),
            });
        }
        cached.prove_if_whole()?;
        Ok(())
    })
    .await?
}

/// How far the cache has what the flight brings.
struct Landed {
    next_chunk: u32,
    position: u64,
    /// Where bytes differed from what was known, and were asked for again.
    conflict_at: Option<u64>,
}

enum Feeding {
    Batch(Vec<Frame>),
    Bad(ClientError),
    End,
}

/// Whole chunks from the network, in batches.
struct Feed {
    body: RangeBody,
    parser: FrameParser,
    /// Frames that came with a batch that was full.
    surplus: VecDeque<Frame>,
    bad: Option<ClientError>,
    ended: bool,
}

impl Feed {
    fn new(shared: &Arc<Shared>, entry: &XorbEntry, file: &Arc<FileState>, flight: &Flight) -> Self {
        let source = Arc::new(FileSource::new(Arc::clone(shared), Arc::clone(file)));
        let (http, xorb) = (shared.http.clone(), entry.cached.hash());
        Self {
            body: RangeBody::new(http, source, xorb, flight.start..flight.end),
            parser: FrameParser::new(flight.start),
            surplus: VecDeque::new(),
            bad: None,
            ended: false,
        }
    }

    async fn restart(&mut self, at: u64, because: ClientError) -> Result<(), ClientError> {
        self.parser = FrameParser::new(at);
        self.surplus.clear();
        (self.bad, self.ended) = (None, false);
        self.body.restart(at, because).await
    }

    /// Return what comes next. An error is one of the network, and final.
    async fn next(&mut self) -> Result<Feeding> {
        let mut frames = Vec::new();
        let (mut stored, mut raw) = (0_u64, 0_u64);
        let mut due: Option<Instant> = None;
        loop {
            while let Some(frame) = self.surplus.pop_front() {
                let frame_stored = frame.stored.len() as u64;
                let frame_raw = u64::from(frame.header.raw_bytes);
                if !frames.is_empty() && (stored + frame_stored > BATCH_BYTES || raw + frame_raw > BATCH_BYTES) {
                    self.surplus.push_front(frame);
                    return Ok(Feeding::Batch(frames));
                }
                (stored, raw) = (stored + frame_stored, raw + frame_raw);
                due.get_or_insert_with(|| Instant::now() + BATCH_AGE);
                frames.push(frame);
            }
            if self.bad.is_some() || self.ended {
                if !frames.is_empty() {
                    return Ok(Feeding::Batch(frames));
                }
                return Ok(self.bad.take().map_or(Feeding::End, Feeding::Bad));
            }
            let received = match due {
                // Nothing is lost when waiting is given up.
                Some(due) => match tokio::time::timeout_at(due, self.body.next()).await {
                    Ok(received) => received?,
                    Err(_) => return Ok(Feeding::Batch(frames)),
                },
                None => self.body.next().await?,
            };
            self.ended = received.is_none();
            let pushed = match received {
                Some(bytes) => self.parser.push(bytes),
                None => self.parser.finish().map(|()| Vec::new()),
            };
            match pushed {
                Ok(pushed) => self.surplus.extend(pushed),
                Err(error) => self.bad = Some(error),
            }
        }
    }
}

/// Decode, hash and write a batch. The inner error says that the bytes are bad and worth reading again.
async fn land(
    shared: &Arc<Shared>,
    entry: &Arc<XorbEntry>,
    frames: Vec<Frame>,
    landed: &mut Landed,
) -> Result<Result<(), ClientError>> {
    let count = u32::try_from(frames.len()).unwrap_or(u32::MAX);
    let bytes: u64 = frames.iter().map(|frame| frame.stored.len() as u64).sum();
    let decoded = match compute::decode(frames).await {
        Ok(decoded) => decoded,
        Err(error) => return Ok(Err(error)),
    };
    let (first, start) = (landed.next_chunk, landed.position);
    let is_second = landed.conflict_at == Some(start);
    let decoded = Arc::new(decoded);
    let written = while_full(|| {
        let (counting, cached, decoded) = (Arc::clone(shared), Arc::clone(&entry.cached), Arc::clone(&decoded));
        move || {
            let chunks: Vec<NewChunk<'_>> = decoded.iter().map(new_chunk).collect();
            match cached.append(first, start, &chunks) {
                // The same again: then what was known is as likely to be wrong.
                Err(CacheError::Conflict { .. }) if is_second => {
                    counting.resolve_conflict(&cached)?;
                    Ok(cached.append(first, start, &chunks))
                }
                Err(error @ CacheError::Full { .. }) => Err(error.into()),
                outcome => Ok(outcome),
            }
        }
    })
    .await?;
    let (expected, actual) = match written {
        Ok(()) => {
            landed.next_chunk = first.saturating_add(count);
            landed.position = start + bytes;
            landed.conflict_at = None;
            add(&shared.counters.fetched_bytes, bytes);
            return Ok(Ok(()));
        }
        Err(CacheError::Integrity { expected, actual, .. }) => (expected, actual),
        Err(CacheError::Conflict { known, actual, .. }) => {
            landed.conflict_at = Some(start);
            (known, actual)
        }
        Err(error) => return Err(error.into()),
    };
    add(&shared.counters.integrity_failures, 1);
    Ok(Err(ClientError::Integrity {
        what: "chunk of a xorb",
        expected,
        actual,
    }))
}

/// Do what takes room in the cache, on a thread that may wait; if there is none, wait a while for others to leave.
///
/// What is being read or proven cannot be evicted, and most of that does not take long.
async fn while_full<R: Send + 'static, W: FnOnce() -> Result<R> + Send + 'static>(work: impl Fn() -> W) -> Result<R> {
    let until = Instant::now() + ROOM_PATIENCE;
    loop {
        match blocking(work()).await? {
            Err(Error::Cache(CacheError::Full { .. })) if Instant::now() < until => {
                tokio::time::sleep(ROOM_INTERVAL).await;
            }
            outcome => return outcome,
        }
    }
}

fn new_chunk(chunk: &Decoded) -> NewChunk<'_> {
    NewChunk {
        hash: chunk.hash,
        raw_bytes: u32::try_from(chunk.raw.len()).unwrap_or(u32::MAX),
        stored: &chunk.stored,
    }
}

/// Bytes that stay bad however often they are read are the upstream's fault.
fn given_up(entry: &XorbEntry, error: &ClientError) -> Error {
    let (expected, actual) = match error {
        ClientError::Integrity { expected, actual, .. } => (expected.clone(), actual.clone()),
        ClientError::Format(problem) => ("chunks that decode".to_owned(), problem.to_string()),
        other => return Error::Client(other.clone()),
    };
    Error::UpstreamIntegrity {
        what: format!("xorb {}", entry.cached.hash()),
        expected,
        actual,
    }
}

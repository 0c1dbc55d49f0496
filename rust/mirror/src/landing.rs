//! What a flight does: bytes from the upstream, framed, decoded, hashed, written to the cache.

use std::sync::Arc;

use xetway_cache::{Error as CacheError, NewChunk};
use xetway_client::{Decoded, Error as ClientError, Frame, FrameParser, RangeBody, compute};

use crate::error::{Error, Result};
use crate::files::FileState;
use crate::flights::{Flight, Route, XorbEntry};
use crate::mirror::{Shared, blocking};
use crate::sources::FileSource;
use crate::stats::add;

/// Stored bytes that are decoded and written together.
const BATCH_BYTES: usize = 1 << 20;
/// What a batch may take of the budget: its frames, and their raw bytes.
const BATCH_BUDGET_BYTES: u64 = 4 << 20;

/// Bring the range of `flight` into the cache.
pub(crate) async fn transfer(
    shared: &Arc<Shared>,
    entry: &Arc<XorbEntry>,
    file: &Arc<FileState>,
    flight: &Flight,
    route: Route,
) -> Result<()> {
    let (cache, bytes) = (shared.cache.clone(), flight.end - flight.start);
    blocking(move || cache.make_room(bytes)).await??;
    // Before the connection, and until the end: whoever holds a connection never waits for the budget.
    let _permit = shared.http.budget().take(BATCH_BUDGET_BYTES).await;
    let source = Arc::new(FileSource::new(Arc::clone(shared), Arc::clone(file)));
    let mut body = RangeBody::new(
        shared.http.clone(),
        source,
        entry.cached.hash(),
        flight.start..flight.end,
    );
    let mut stored = Stored {
        next_chunk: route.first_chunk,
        position: flight.start,
    };
    let mut parser = FrameParser::new(flight.start);
    let mut batch = Batch::default();
    loop {
        let filled = fill(&mut body, &mut parser, &mut batch).await?;
        let outcome = match filled {
            Filled::Bad(error) => Err(error),
            Filled::More | Filled::End => store(shared, entry, &batch, &mut stored).await?,
        };
        match outcome {
            Ok(()) => {
                flight.report(stored.position);
                batch.clear();
                if matches!(filled_end(&parser, &body, flight), End::Reached) {
                    break;
                }
            }
            Err(error) => {
                add(&shared.counters.retries, 1);
                batch.clear();
                parser = FrameParser::new(stored.position);
                let given_up = body.restart(stored.position, error).await;
                given_up.map_err(|error| wrong_chunks(entry, &error))?;
            }
        }
    }
    if route.last_chunk.is_some_and(|last| last != stored.next_chunk) {
        let cached = Arc::clone(&entry.cached);
        let chunks = route.first_chunk..stored.next_chunk;
        blocking(move || cached.forget(chunks)).await??;
        return Err(Error::UpstreamIntegrity {
            what: format!("a range of xorb {}", entry.cached.hash()),
            expected: format!(
                "{} chunks",
                route.last_chunk.unwrap_or_default().saturating_sub(route.first_chunk)
            ),
            actual: format!("{} chunks", stored.next_chunk.saturating_sub(route.first_chunk)),
        });
    }
    let cached = Arc::clone(&entry.cached);
    blocking(move || cached.prove_if_whole()).await??;
    Ok(())
}

/// How far the cache has what the flight brings.
struct Stored {
    next_chunk: u32,
    position: u64,
}

#[derive(Default)]
struct Batch {
    frames: Vec<Frame>,
    bytes: usize,
}

impl Batch {
    fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }
}

enum Filled {
    More,
    End,
    Bad(ClientError),
}

enum End {
    Reached,
    Ahead,
}

fn filled_end(parser: &FrameParser, body: &RangeBody, flight: &Flight) -> End {
    if body.position() >= flight.end && parser.position() >= flight.end {
        End::Reached
    } else {
        End::Ahead
    }
}

/// Read frames until there are enough for a batch. An error is one of the network.
async fn fill(body: &mut RangeBody, parser: &mut FrameParser, batch: &mut Batch) -> Result<Filled> {
    while batch.bytes < BATCH_BYTES {
        let Some(bytes) = body.next().await? else {
            return Ok(parser.finish().map_or_else(Filled::Bad, |()| Filled::End));
        };
        match parser.push(bytes) {
            Ok(frames) => {
                batch.bytes += frames.iter().map(|frame| frame.stored.len()).sum::<usize>();
                batch.frames.extend(frames);
            }
            Err(error) => return Ok(Filled::Bad(error)),
        }
    }
    Ok(Filled::More)
}

/// Decode, hash and write a batch. The inner error says that the bytes are bad and worth reading again.
async fn store(
    shared: &Arc<Shared>,
    entry: &Arc<XorbEntry>,
    batch: &Batch,
    stored: &mut Stored,
) -> Result<Result<(), ClientError>> {
    if batch.frames.is_empty() {
        return Ok(Ok(()));
    }
    let decoded = match compute::decode(batch.frames.clone()).await {
        Ok(decoded) => decoded,
        Err(error) => return Ok(Err(error)),
    };
    let (cached, first, start) = (Arc::clone(&entry.cached), stored.next_chunk, stored.position);
    let written = blocking(move || {
        let chunks: Vec<NewChunk<'_>> = decoded.iter().map(new_chunk).collect();
        cached.append(first, start, &chunks)
    })
    .await?;
    match written {
        Ok(()) => {
            stored.next_chunk = first.saturating_add(u32::try_from(batch.frames.len()).unwrap_or(u32::MAX));
            stored.position = start + batch.bytes as u64;
            add(&shared.counters.fetched_bytes, batch.bytes as u64);
            Ok(Ok(()))
        }
        Err(CacheError::Integrity { expected, actual, .. }) => Ok(Err(ClientError::Integrity {
            what: "chunk of a xorb",
            expected,
            actual,
        })),
        Err(CacheError::Conflict { known, actual, .. }) => {
            shared.found_conflict(&entry.cached).await?;
            Err(Error::UpstreamIntegrity {
                what: format!("xorb {}", entry.cached.hash()),
                expected: known,
                actual,
            })
        }
        Err(error) => Err(error.into()),
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
fn wrong_chunks(entry: &XorbEntry, error: &ClientError) -> Error {
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

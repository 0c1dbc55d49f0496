//! A range of a xorb as batches of whole chunks, decoded while the next batch arrives.
//!
//! What cannot be framed or decoded, or does not fit its term, is read again from the last batch
//! that was good. Where decoded bytes go is up to the [`Sink`].

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use xetway_core::Hash;

use super::layout::Cursor;
use super::progress::Meter;
use crate::compute;
use crate::error::{Error, Result};
use crate::fetch::{RangeBody, SharedParts, UrlSource};
use crate::frames::{Frame, FrameParser};
use crate::http::Http;

/// Most raw bytes in a batch, and most stored ones: enough to make threads and writes worth it.
pub(crate) const BATCH_BYTES: u64 = 1 << 20;

/// What a range being read holds at most: a batch that arrives, one that is decoded, its raw bytes,
/// and the buffers that chunks lie in.
pub(crate) const READER_BYTES: u64 = 4 * BATCH_BYTES;

/// After this time a batch is passed on however small, so that a slow transfer loses little.
const BATCH_AGE: Duration = Duration::from_millis(500);

/// Whole chunks in a row.
pub(crate) struct Batch {
    pub(crate) at: Cursor,
    pub(crate) frames: Vec<Frame>,
}

impl Batch {
    pub(crate) fn raw_bytes(&self) -> Vec<u32> {
        self.frames.iter().map(|frame| frame.header.raw_bytes).collect()
    }

    fn end(&self) -> Cursor {
        self.frames.iter().fold(self.at, after)
    }
}

fn after(at: Cursor, frame: &Frame) -> Cursor {
    Cursor {
        chunk: at.chunk.saturating_add(1),
        byte: at.byte.saturating_add(u64::from(frame.header.stored_bytes())),
        raw: at.raw.saturating_add(u64::from(frame.header.raw_bytes)),
    }
}

/// Takes batches, in order.
pub(crate) trait Sink: Send {
    /// What the work on a batch gives.
    type Done: Send + 'static;

    /// Make the work on a batch; it runs on a compute thread. An error means that the bytes are bad.
    fn work(&mut self, batch: Batch) -> Result<impl FnOnce() -> Result<Self::Done> + Send + 'static>;

    /// Take what the work gave; `end` is where the batch ends.
    fn commit(&mut self, done: Self::Done, end: Cursor) -> Result<()>;
}

/// What to read.
pub(crate) struct Reading {
    pub(crate) http: Http,
    pub(crate) source: Arc<dyn UrlSource>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) xorb: Hash,
    /// Where to begin, and one past the last byte that may be read.
    pub(crate) from: Cursor,
    pub(crate) end_byte: u64,
    /// Chunks the sink wants; those before are passed over.
    pub(crate) wanted: Range<u32>,
    /// An answer that begins with these bytes.
    pub(crate) parts: Option<SharedParts>,
}

enum Step {
    Batch(Batch),
    End,
    Bad(Error),
}

struct Reader {
    body: RangeBody,
    parser: FrameParser,
    meter: Arc<Meter>,
    wanted: Range<u32>,
    end_byte: u64,
    at: Cursor,
    frames: Vec<Frame>,
    /// Frames that came with a batch that was full.
    surplus: std::vec::IntoIter<Frame>,
    stored: u64,
    raw: u64,
    since: Option<Instant>,
}

impl Reader {
    fn new(reading: Reading) -> Self {
        let from = reading.from;
        let bytes = from.byte..reading.end_byte;
        Self {
            body: RangeBody::new(reading.http, reading.source, reading.xorb, bytes).with_parts(reading.parts),
            parser: FrameParser::new(from.byte),
            meter: reading.meter,
            wanted: reading.wanted,
            end_byte: reading.end_byte,
            at: from,
            frames: Vec::new(),
            surplus: Vec::new().into_iter(),
            stored: 0,
            raw: 0,
            since: None,
        }
    }

    /// Read up to the end of the next batch. An error is final.
    async fn next(&mut self) -> Result<Step> {
        loop {
            if let Some(batch) = self.fill() {
                return Ok(Step::Batch(batch));
            }
            let reached = self.position();
            if reached.chunk >= self.wanted.end {
                return Ok(self.take().map_or(Step::End, Step::Batch));
            }
            let Some(bytes) = self.body.next().await? else {
                let missing = self.parser.finish().err().unwrap_or_else(|| self.too_few(reached));
                return Ok(Step::Bad(missing));
            };
            self.meter.received(bytes.len() as u64);
            match self.parser.push(bytes) {
                Ok(frames) => self.surplus = frames.into_iter(),
                Err(error) => return Ok(Step::Bad(error)),
            }
        }
    }

    /// Add frames that are there to the batch; returns it if it is full or old.
    fn fill(&mut self) -> Option<Batch> {
        while let Some(frame) = self.surplus.next() {
            let position = self.position();
            if position.chunk >= self.wanted.end {
                break;
            }
            if position.chunk < self.wanted.start {
                self.at = after(self.at, &frame);
                continue;
            }
            let full = self.stored.saturating_add(frame.stored.len() as u64) > BATCH_BYTES
                || self.raw.saturating_add(u64::from(frame.header.raw_bytes)) > BATCH_BYTES;
            let batch = if full { self.take() } else { None };
            self.stored += frame.stored.len() as u64;
            self.raw += u64::from(frame.header.raw_bytes);
            self.since.get_or_insert_with(Instant::now);
            self.frames.push(frame);
            if batch.is_some() {
                return batch;
            }
        }
        let is_old = self.since.is_some_and(|since| since.elapsed() >= BATCH_AGE);
        if is_old { self.take() } else { None }
    }

    /// The cursor after the frames that wait.
    fn position(&self) -> Cursor {
        Cursor {
            chunk: self
                .at
                .chunk
                .saturating_add(u32::try_from(self.frames.len()).unwrap_or(u32::MAX)),
            ..self.at
        }
    }

    fn take(&mut self) -> Option<Batch> {
        if self.frames.is_empty() {
            return None;
        }
        let batch = Batch {
            at: self.at,
            frames: std::mem::take(&mut self.frames),
        };
        self.at = batch.end();
        (self.stored, self.raw, self.since) = (0, 0, None);
        Some(batch)
    }

    fn too_few(&self, reached: Cursor) -> Error {
        xetway_core::Error::LengthMismatch {
            what: "range of a xorb (chunks)",
            expected: u64::from(self.wanted.end),
            actual: u64::from(reached.chunk),
            offset: self.end_byte,
            code: "length_mismatch",
        }
        .into()
    }

    async fn rewind(&mut self, to: Cursor, because: Error) -> Result<()> {
        self.body.restart(to.byte, because).await?;
        self.parser = FrameParser::new(to.byte);
        self.at = to;
        self.frames.clear();
        self.surplus = Vec::new().into_iter();
        (self.stored, self.raw, self.since) = (0, 0, None);
        Ok(())
    }
}

/// A batch that is being worked on. Dropping it does not stop the work.
struct Running<D> {
    end: Cursor,
    work: JoinHandle<Result<D>>,
}

/// Read all of `reading` into `sink`.
pub(crate) async fn read<S: Sink>(reading: Reading, sink: &mut S) -> Result<()> {
    let mut good = reading.from;
    let mut reader = Reader::new(reading);
    let mut running: Option<Running<S::Done>> = None;
    loop {
        let mut step = None;
        let mut settled = None;
        if let Some(Running { work, .. }) = &mut running {
            tokio::select! {
                biased;
                outcome = settle(work) => settled = Some(outcome),
                next = reader.next() => step = Some(next?),
            }
        } else {
            step = Some(reader.next().await?);
        }
        let mut bad = None;
        if let Some(Running { end, mut work }) = running.take() {
            // One batch is worked on at a time: its successor waits for it, and so does the network.
            let settled = match settled {
                Some(settled) => settled,
                None => settle(&mut work).await,
            };
            match settled {
                Ok(done) => {
                    sink.commit(done, end)?;
                    good = end;
                }
                Err(error) => bad = Some(error),
            }
        }
        let bad = match (bad, step) {
            (Some(error), _) | (None, Some(Step::Bad(error))) => error,
            (None, Some(Step::End)) => return Ok(()),
            (None, None) => continue,
            (None, Some(Step::Batch(batch))) => {
                let end = batch.end();
                match sink.work(batch) {
                    Ok(work) => {
                        let work = tokio::spawn(compute::run(work));
                        running = Some(Running { end, work });
                        continue;
                    }
                    Err(error) => error,
                }
            }
        };
        if !matches!(bad, Error::Format(_)) {
            return Err(bad);
        }
        reader.rewind(good, bad).await?;
    }
}

/// Wait for the outcome of a batch. Safe to drop while waiting.
async fn settle<D>(work: &mut JoinHandle<Result<D>>) -> Result<D> {
    match work.await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Cancelled),
    }
}

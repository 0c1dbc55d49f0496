//! Content in order, for readers that have nowhere to put it.
//!
//! Terms are fetched ahead as far as the budget reaches and given out in file order. A range that
//! several terms share is not kept for all of them: each fetches its own part, as far as it is known
//! where that starts.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use xetway_core::Hash;
use xetway_core::merkle::MerkleHasher;

use super::batches::{Batch, READER_BYTES, Reading, Sink, read};
use super::decode::{decode_into, raw_bytes};
use super::layout::{Cursor, Layout};
use super::progress::Meter;
use super::urls::PlanUrls;
use super::{DownloadOptions, FileDownload, wrong_file};
use crate::budget::{Budget, Permit};
use crate::cas::Cas;
use crate::error::{Error, Result};

/// Decoded bytes and the chunks they are.
struct Piece {
    bytes: Bytes,
    chunks: Vec<(Hash, u32)>,
}

/// Where chunks of a job start that are the first of a term: learnt while reading terms before them.
/// Locked while a term of the job is read, so that the next one can profit.
type Starts = Arc<tokio::sync::Mutex<BTreeMap<u32, Cursor>>>;

/// A term that is being fetched, or was.
struct Unit {
    pieces: UnboundedReceiver<Result<Piece>>,
    task: JoinHandle<()>,
    permit: Permit,
    bytes_left: u64,
}

impl Drop for Unit {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is known once the plan is there.
struct Opened {
    layout: Layout,
    source: Arc<PlanUrls>,
    starts: HashMap<usize, Starts>,
    meter: Arc<Meter>,
    /// Only for whole files.
    merkle: Option<MerkleHasher>,
    next_term: usize,
    units: VecDeque<Unit>,
    /// Content given out, counted from the start of the first term.
    position: u64,
}

/// The content of a file or a range of it, in order. Dropping it ends the transfer.
pub struct ContentStream {
    cas: Cas,
    what: FileDownload,
    options: DownloadOptions,
    budget: Budget,
    opened: Option<Opened>,
    failed: Option<Error>,
}

/// Read `what` in order. Nothing is sent before the first [`ContentStream::next`].
pub fn stream(cas: Cas, what: FileDownload, options: DownloadOptions) -> ContentStream {
    // Its own: one whose reader pauses must not hold up others.
    let budget = Budget::new(cas.http().options().max_in_flight_bytes);
    ContentStream {
        cas,
        what,
        options,
        budget,
        opened: None,
        failed: None,
    }
}

impl ContentStream {
    /// Ask for the plan, if that was not done yet: afterwards the size is known.
    pub async fn open(&mut self) -> Result<()> {
        if self.opened.is_some() {
            return Ok(());
        }
        let plan = self.what.plan(&self.cas).await?;
        let layout = self.what.layout(&plan)?;
        let range = self.what.range();
        let meter = Meter::new(self.options.progress.clone(), layout.total_bytes);
        self.opened = Some(Opened {
            merkle: range.is_none().then(MerkleHasher::new),
            source: Arc::new(PlanUrls::new(self.cas.clone(), self.what.file, range, plan)),
            starts: HashMap::new(),
            meter: Arc::new(meter),
            next_term: 0,
            units: VecDeque::new(),
            position: 0,
            layout,
        });
        Ok(())
    }

    /// Return the length of the content, if it is known yet.
    pub fn size(&self) -> Option<u64> {
        let opened = self.opened.as_ref().map(|opened| opened.layout.total_bytes);
        opened.or_else(|| self.what.content_bytes())
    }

    /// Return how many bytes are to come, if that is known yet.
    pub fn remaining(&self) -> Option<u64> {
        match &self.opened {
            Some(opened) => Some(
                opened
                    .end()
                    .saturating_sub(opened.position.max(opened.layout.skipped_bytes)),
            ),
            None => self.size(),
        }
    }

    /// Say whether the last piece comes only if the hash of the file agrees: it is read as a whole.
    pub fn is_verified(&self) -> bool {
        self.what.range().is_none()
    }

    /// Return the next bytes, at most 1 MiB; `None` after the last.
    ///
    /// An error is final. Safe to drop while waiting.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let outcome = self.advance().await;
        if let Err(error) = &outcome {
            self.failed = Some(error.clone());
            self.opened = None;
        }
        outcome
    }

    async fn advance(&mut self) -> Result<Option<Bytes>> {
        self.open().await?;
        let Some(opened) = &mut self.opened else {
            return Ok(None);
        };
        loop {
            opened.read_ahead(&self.cas, &self.budget).await?;
            let Some(unit) = opened.units.front_mut() else {
                opened.check(self.what.file)?;
                return Ok(None);
            };
            let Some(piece) = unit.pieces.recv().await else {
                // Nothing but an abort or a panic ends it early.
                if unit.bytes_left > 0 {
                    return Err(Error::Cancelled);
                }
                opened.units.pop_front();
                continue;
            };
            let piece = piece?;
            unit.bytes_left = unit.bytes_left.saturating_sub(piece.bytes.len() as u64);
            unit.permit.shrink_to(unit.bytes_left.saturating_add(READER_BYTES));
            if let Some(bytes) = opened.accept(&piece, self.what.file)? {
                return Ok(Some(bytes));
            }
        }
    }
}

impl Opened {
    /// Where the content ends, counted from the start of the first term.
    fn end(&self) -> u64 {
        self.layout.skipped_bytes.saturating_add(self.layout.total_bytes)
    }

    /// Start terms as far as the budget reaches; the first one in any case.
    async fn read_ahead(&mut self, cas: &Cas, budget: &Budget) -> Result<()> {
        while let Some(term) = self.layout.terms.get(self.next_term) {
            let bytes = term.raw_bytes.saturating_add(READER_BYTES);
            let permit = if self.units.is_empty() {
                budget.take(bytes).await
            } else if let Some(permit) = budget.try_take(bytes) {
                permit
            } else {
                break;
            };
            let job = self.layout.jobs.get(term.job).ok_or(Error::Cancelled)?;
            let starts = Arc::clone(self.starts.entry(term.job).or_default());
            let (sender, pieces) = unbounded_channel();
            let begin = Layout::begin(job);
            let reading = Reading {
                http: cas.http().clone(),
                source: Arc::clone(&self.source) as _,
                meter: Arc::clone(&self.meter),
                xorb: job.xorb,
                from: begin,
                end_byte: job.bytes.end,
                wanted: term.chunks.clone(),
                parts: None,
            };
            let task = tokio::spawn(fetch_term(reading, starts, term.raw_bytes, sender));
            self.units.push_back(Unit {
                pieces,
                task,
                permit,
                bytes_left: term.raw_bytes,
            });
            self.next_term += 1;
        }
        Ok(())
    }

    /// Take a piece; returns the part of it that is wanted. The last one passes only if all are right.
    fn accept(&mut self, piece: &Piece, file: Hash) -> Result<Option<Bytes>> {
        if let Some(merkle) = &mut self.merkle {
            for (hash, raw_bytes) in &piece.chunks {
                merkle.push(*hash, u64::from(*raw_bytes));
            }
        }
        let start = self.position;
        let end = start.saturating_add(piece.bytes.len() as u64);
        self.position = end;
        let wanted = within(start..end, self.layout.skipped_bytes..self.end());
        if end >= self.end() {
            self.check(file)?;
        }
        let Some(wanted) = wanted else { return Ok(None) };
        self.meter.done(wanted.len() as u64);
        Ok(Some(piece.bytes.slice(wanted)))
    }

    /// Compare the hash of the file, at the end of all of it.
    fn check(&mut self, file: Hash) -> Result<()> {
        let is_last = self.next_term == self.layout.terms.len() && self.position >= self.end();
        match self.merkle.take_if(|_| is_last).map(MerkleHasher::file_hash) {
            Some(actual) if actual != file => Err(wrong_file(file, Some(actual))),
            _ => Ok(()),
        }
    }
}

/// Return the part of `piece` inside `content`, counted from the start of the piece.
fn within(piece: Range<u64>, content: Range<u64>) -> Option<Range<usize>> {
    let start = piece.start.max(content.start);
    let end = piece.end.min(content.end);
    if start >= end {
        return None;
    }
    let inner = |position: u64| usize::try_from(position - piece.start).ok();
    Some(inner(start)?..inner(end)?)
}

/// Read one term and send its pieces. The reader's pace is no matter: the budget has room for all.
async fn fetch_term(mut reading: Reading, starts: Starts, raw_bytes: u64, sender: UnboundedSender<Result<Piece>>) {
    let mut starts = starts.lock().await;
    if let Some((_, start)) = starts.range(..=reading.wanted.start).next_back() {
        reading.from = *start;
    }
    let chunks = reading.wanted.clone();
    let mut sink = TermSink {
        chunks,
        raw_bytes,
        seen: 0,
        starts: &mut starts,
        sender: &sender,
    };
    if let Err(error) = read(reading, &mut sink).await {
        // Nobody listens any more if this fails.
        let _ = sender.send(Err(error));
    }
}

struct TermSink<'a> {
    chunks: Range<u32>,
    raw_bytes: u64,
    seen: u64,
    starts: &'a mut BTreeMap<u32, Cursor>,
    sender: &'a UnboundedSender<Result<Piece>>,
}

impl Sink for TermSink<'_> {
    type Done = Piece;

    fn work(&mut self, batch: Batch) -> Result<impl FnOnce() -> Result<Piece> + Send + 'static> {
        let bytes = raw_bytes(&batch.frames);
        let reached = self.seen.saturating_add(bytes as u64);
        let end = batch
            .at
            .chunk
            .saturating_add(u32::try_from(batch.frames.len()).unwrap_or(u32::MAX));
        if reached > self.raw_bytes || (end >= self.chunks.end && reached != self.raw_bytes) {
            return Err(xetway_core::Error::LengthMismatch {
                what: "term",
                expected: self.raw_bytes,
                actual: reached,
                offset: batch.at.byte,
                code: "length_mismatch",
            }
            .into());
        }
        Ok(move || {
            let mut buffer = vec![0; bytes];
            let hashes = decode_into(&batch.frames, &mut buffer)?;
            let lengths = batch.raw_bytes();
            Ok(Piece {
                bytes: Bytes::from(buffer),
                chunks: hashes.into_iter().zip(lengths).collect(),
            })
        })
    }

    fn commit(&mut self, piece: Piece, end: Cursor) -> Result<()> {
        self.seen = self.seen.saturating_add(piece.bytes.len() as u64);
        if end.chunk == self.chunks.end {
            self.starts.insert(end.chunk, end);
        }
        self.sender.send(Ok(piece)).map_err(|_| Error::Cancelled)
    }
}

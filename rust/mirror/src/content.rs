//! Content of a file for one reader: chunks decoded in the order of the terms, with the next ranges on their way.
//!
//! The last piece of a whole file is held back until the file's hash agrees.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use xetway_cache::ChunkInfo;
use xetway_client::{FrameParser, compute};
use xetway_core::Hash;
use xetway_core::plan::{FetchRange, PlannedTerm};

use crate::error::{Error, Result};
use crate::files::FileState;
use crate::flights::{Ticket, XorbEntry};
use crate::mirror::{PIECE_BYTES, Planned, Shared};
use crate::proof::Verdict;
use crate::reader::vanishes;
use crate::stats::add;

/// Ranges that are fetched before their bytes are needed.
const RANGES_AHEAD: usize = 3;
const MAX_VANISHED: u32 = 8;

/// Reads content in order.
#[derive(Debug)]
pub(crate) struct ContentReader {
    shared: Arc<Shared>,
    file: Arc<FileState>,
    generation: u64,
    terms: VecDeque<PlannedTerm>,
    ranges: VecDeque<(Hash, FetchRange)>,
    all_ranges: Vec<(Hash, FetchRange)>,
    ahead: VecDeque<Ticket>,
    /// The term being read: its xorb, and the next chunk.
    entry: Option<Arc<XorbEntry>>,
    chunk: u32,
    skip: u64,
    remaining: u64,
    is_whole: bool,
    reaches_end: bool,
}

impl ContentReader {
    pub(crate) fn new(shared: Arc<Shared>, file: Arc<FileState>, planned: Planned, range: &Range<u64>) -> Self {
        let all_ranges: Vec<(Hash, FetchRange)> = planned
            .fetches
            .iter()
            .flat_map(|fetch| fetch.ranges.iter().map(|range| (fetch.xorb, *range)))
            .collect();
        Self {
            shared,
            file,
            generation: planned.generation,
            terms: planned.terms.into(),
            ranges: all_ranges.iter().copied().collect(),
            all_ranges,
            ahead: VecDeque::new(),
            entry: None,
            chunk: 0,
            skip: planned.offset_into_first,
            remaining: range.end - range.start,
            is_whole: range.start == 0 && range.end == planned.size,
            reaches_end: range.end == planned.size,
        }
    }

    pub(crate) fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Return the next bytes; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.remaining > 0 {
            let (entry, end_chunk) = self.enter().await?;
            let (raw, chunks, proven) = self.decode(&entry, end_chunk).await?;
            self.chunk = self.chunk.saturating_add(chunks);
            if self.terms.front().is_some_and(|term| self.chunk >= term.end) {
                self.terms.pop_front();
                self.entry = None;
            }
            let skipped = self.skip.min(raw.len() as u64);
            self.skip -= skipped;
            let mut piece = Bytes::from(raw).slice(usize::try_from(skipped).unwrap_or(usize::MAX)..);
            piece.truncate(usize::try_from(self.remaining).unwrap_or(usize::MAX));
            if piece.is_empty() {
                continue;
            }
            let is_last = self.remaining == piece.len() as u64;
            if !proven {
                if is_last {
                    self.settle().await?;
                }
                self.file.note_shown(&None, self.generation)?;
            }
            self.remaining -= piece.len() as u64;
            add(&self.shared.counters.served_bytes, piece.len() as u64);
            return Ok(Some(piece));
        }
        Ok(None)
    }

    /// Check the file before the last piece of it is given out.
    async fn settle(&self) -> Result<()> {
        if !self.reaches_end {
            return Ok(());
        }
        let verdict = self.shared.check(&self.file).await?;
        if verdict == Verdict::Incomplete && self.is_whole {
            return Err(Error::NotCached {
                what: format!(
                    "part of file {}, which was evicted before it was proven, and therefore",
                    self.file.hash
                ),
            });
        }
        Ok(())
    }

    /// Return the xorb of the current term and the term's end.
    async fn enter(&mut self) -> Result<(Arc<XorbEntry>, u32)> {
        let Some(term) = self.terms.front().copied() else {
            return Err(Error::PlanLost { file: self.file.hash });
        };
        if let Some(entry) = &self.entry {
            return Ok((Arc::clone(entry), term.end));
        }
        let entry = self.shared.xorbs.get(&self.shared, &term.xorb).await?;
        self.chunk = term.start;
        self.entry = Some(Arc::clone(&entry));
        self.send_ahead().await?;
        Ok((entry, term.end))
    }

    /// Start flights for the ranges that come next.
    async fn send_ahead(&mut self) -> Result<()> {
        self.ahead.retain(|ticket| !ticket.is_over());
        while self.ahead.len() < RANGES_AHEAD {
            let Some((xorb, range)) = self.ranges.pop_front() else {
                return Ok(());
            };
            let entry = self.shared.xorbs.get(&self.shared, &xorb).await?;
            let at = entry.cached.held_end(range.byte_start).unwrap_or(range.byte_start);
            if at >= range.byte_end {
                continue;
            }
            // Without credentials there is nothing to send; reading tells what is missing.
            match entry.board(&self.shared, &self.file, at, range.byte_end).await {
                Ok(ticket) => self.ahead.extend(ticket),
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Decode the next chunks, about a piece of them: their bytes, how many, and whether all are proven.
    async fn decode(&mut self, entry: &Arc<XorbEntry>, end_chunk: u32) -> Result<(Vec<u8>, u32, bool)> {
        let mut vanished = 0;
        loop {
            if let Some(first) = entry.cached.chunk(self.chunk).filter(|chunk| chunk.held) {
                let (held, chunks) = (Arc::clone(entry), self.chunk..end_chunk);
                let decoded = compute::run(move || decode_held(&held, first, chunks)).await?;
                if let Some(decoded) = decoded {
                    return Ok(decoded);
                }
            }
            vanished += 1;
            if vanished > MAX_VANISHED {
                return Err(vanishes(entry));
            }
            let (at, end) = self.position(entry)?;
            self.shared.hold_chunk(entry, &self.file, self.chunk, at, end).await?;
        }
    }

    /// Where the next chunk starts, or where to begin to find out, and where its range ends.
    fn position(&self, entry: &XorbEntry) -> Result<(u64, u64)> {
        let xorb = entry.cached.hash();
        let range = self
            .all_ranges
            .iter()
            .find(|(of, range)| *of == xorb && (range.chunk_start..range.chunk_end).contains(&self.chunk))
            .map(|(_, range)| *range)
            .ok_or(Error::PlanLost { file: self.file.hash })?;
        let known = entry.cached.chunk(self.chunk).map(|chunk| chunk.start);
        let after = || {
            let before = self.chunk.checked_sub(1)?;
            entry.cached.chunk(before).map(|chunk| chunk.end)
        };
        let at = known.or_else(after).unwrap_or(range.byte_start);
        Ok((at.max(range.byte_start), range.byte_end))
    }
}

impl Shared {
    /// Wait until a chunk is in the cache, fetching from `at`, at or before it, to `end`.
    async fn hold_chunk(
        self: &Arc<Self>,
        entry: &Arc<XorbEntry>,
        file: &Arc<FileState>,
        chunk: u32,
        at: u64,
        end: u64,
    ) -> Result<()> {
        let mut at = at;
        while at < end {
            if entry.cached.chunk(chunk).is_some_and(|chunk| chunk.held) {
                return Ok(());
            }
            match entry.cached.held_end(at) {
                Some(held) => at = held,
                None => self.wait_for(entry, file, at, end).await?,
            }
        }
        Ok(())
    }
}

/// Read and decode held chunks from `first` on; `None` if they are gone by now.
fn decode_held(entry: &XorbEntry, first: ChunkInfo, chunks: Range<u32>) -> Result<Option<(Vec<u8>, u32, bool)>> {
    let known = entry.cached.chunks(chunks);
    let mut wanted = 0;
    let mut count = 0;
    for (place, chunk) in known.iter().enumerate() {
        let follows = u32::try_from(place).is_ok_and(|place| chunk.index == first.index.saturating_add(place));
        if !follows || !chunk.held || (count > 0 && wanted + chunk.raw_bytes as usize > PIECE_BYTES) {
            break;
        }
        wanted += chunk.raw_bytes as usize;
        count = place + 1;
    }
    let known = known.get(..count).unwrap_or_default();
    let Some(last) = known.last() else { return Ok(None) };
    let stored_bytes = usize::try_from(last.end - first.start).unwrap_or(usize::MAX);
    let Some(piece) = entry.cached.read(first.start, last.end, stored_bytes)? else {
        return Ok(None);
    };
    let mut parser = FrameParser::new(first.start);
    let frames = parser.push(Bytes::from(piece.bytes))?;
    let mut raw = Vec::with_capacity(wanted);
    let (mut decoded, mut proven) = (0, true);
    for (frame, chunk) in frames.into_iter().zip(known) {
        let content = compute::decode_frame(frame)?;
        if content.hash != chunk.hash {
            // The disk is not what it was, beyond what its checksums tell: fetch it again.
            entry.cached.drop_data(chunk.start..chunk.end)?;
            break;
        }
        raw.extend_from_slice(&content.raw);
        proven &= chunk.proven;
        decoded += 1;
    }
    Ok((decoded > 0).then_some((raw, decoded, proven)))
}

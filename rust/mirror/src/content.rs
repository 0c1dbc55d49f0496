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
use crate::flights::{Ticket, XorbEntry};
use crate::mirror::Planned;
use crate::proof::Verdict;
use crate::reader::{MAX_VANISHED, Reading, vanishes};
use crate::stats::add;

/// Ranges that are fetched before their bytes are needed.
const RANGES_AHEAD: usize = 3;
/// Chunks looked at for one piece.
const PIECE_CHUNKS: u32 = 64;

/// Reads content in order.
#[derive(Debug)]
pub(crate) struct ContentReader {
    reading: Reading,
    terms: VecDeque<PlannedTerm>,
    ranges: VecDeque<(Hash, FetchRange)>,
    all_ranges: Vec<(Hash, FetchRange)>,
    ahead: VecDeque<Ticket>,
    /// The term being read: its xorb, and the next chunk.
    entry: Option<Arc<XorbEntry>>,
    chunk: u32,
    /// Raw bytes of the term so far.
    term_bytes: u64,
    skip: u64,
    remaining: u64,
    is_whole: bool,
    /// Unproven bytes were given out.
    unsettled: bool,
    /// The last piece may be given out.
    released: bool,
}

/// Decoded chunks.
struct Decoded {
    raw: Vec<u8>,
    chunks: Vec<ChunkInfo>,
}

impl ContentReader {
    pub(crate) fn new(reading: Reading, planned: Planned, range: &Range<u64>) -> Self {
        let all_ranges: Vec<(Hash, FetchRange)> = planned
            .fetches
            .iter()
            .flat_map(|fetch| fetch.ranges.iter().map(|range| (fetch.xorb, *range)))
            .collect();
        Self {
            reading,
            terms: planned.terms.into(),
            ranges: all_ranges.iter().copied().collect(),
            all_ranges,
            ahead: VecDeque::new(),
            entry: None,
            chunk: 0,
            term_bytes: 0,
            skip: planned.offset_into_first,
            remaining: range.end - range.start,
            is_whole: range.start == 0 && range.end == planned.size,
            unsettled: false,
            released: false,
        }
    }

    pub(crate) fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Return the next bytes; `None` after the last.
    pub(crate) async fn next(&mut self, max_bytes: usize) -> Result<Option<Bytes>> {
        let mut is_second = false;
        while self.remaining > 0 {
            let (entry, term) = self.enter().await?;
            let Decoded { raw, chunks } = self.decode(&entry, term.end, max_bytes).await?;
            let skipped = self.skip.min(raw.len() as u64);
            let left = raw.len() as u64 - skipped;
            if left >= self.remaining && !self.released && !self.is_settled(&chunks) {
                self.settle().await?;
                self.released = true;
                // Decode again: what was read before may have been found wrong meanwhile.
                continue;
            }
            if left > 0 {
                let Some(proven) = self.reading.show(&entry, &chunks, &mut is_second).await? else {
                    continue;
                };
                self.unsettled |= !proven;
            }
            is_second = false;
            let count = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
            self.pass(&term, count, raw.len() as u64)?;
            self.skip -= skipped;
            let mut piece = Bytes::from(raw).slice(usize::try_from(skipped).unwrap_or(usize::MAX)..);
            piece.truncate(usize::try_from(self.remaining).unwrap_or(usize::MAX));
            if piece.is_empty() {
                continue;
            }
            self.remaining -= piece.len() as u64;
            let counters = &self.reading.shared.counters;
            add(&counters.served_bytes, piece.len() as u64);
            if self.ahead.is_empty() {
                add(&counters.cache_hit_bytes, piece.len() as u64);
            }
            return Ok(Some(piece));
        }
        Ok(None)
    }

    fn is_settled(&self, chunks: &[ChunkInfo]) -> bool {
        !self.unsettled && self.reading.file.is_proven() && chunks.iter().all(|chunk| chunk.proven)
    }

    /// Check the file before the last piece is given out.
    async fn settle(&self) -> Result<()> {
        let file = &self.reading.file;
        let verdict = self.reading.shared.check(file).await?;
        if verdict == Verdict::Incomplete && self.is_whole {
            return Err(Error::NotCached {
                what: format!(
                    "part of file {}, which was evicted before it was proven, and therefore",
                    file.hash
                ),
            });
        }
        Ok(())
    }

    /// Go past chunks that were given out. A term whose chunks are not as long as it says is wrong.
    fn pass(&mut self, term: &PlannedTerm, chunks: u32, raw_bytes: u64) -> Result<()> {
        self.chunk = self.chunk.saturating_add(chunks);
        self.term_bytes += raw_bytes;
        if self.chunk < term.end {
            return Ok(());
        }
        self.terms.pop_front();
        self.entry = None;
        if self.term_bytes == u64::from(term.unpacked_bytes) {
            return Ok(());
        }
        Err(Error::UpstreamIntegrity {
            what: format!("a term of file {}", self.reading.file.hash),
            expected: format!("{} bytes", term.unpacked_bytes),
            actual: format!("{} bytes", self.term_bytes),
        })
    }

    /// Return the current term and its xorb.
    async fn enter(&mut self) -> Result<(Arc<XorbEntry>, PlannedTerm)> {
        let file = self.reading.file.hash;
        let Some(term) = self.terms.front().copied() else {
            return Err(Error::PlanLost { file });
        };
        if let Some(entry) = &self.entry {
            return Ok((Arc::clone(entry), term));
        }
        let shared = &self.reading.shared;
        let entry = shared.xorbs.get(shared, &term.xorb).await?;
        self.send_ahead().await?;
        (self.chunk, self.term_bytes) = (term.start, 0);
        self.entry = Some(Arc::clone(&entry));
        Ok((entry, term))
    }

    /// Start flights for the ranges that come next.
    async fn send_ahead(&mut self) -> Result<()> {
        self.ahead.retain(|ticket| !ticket.is_over());
        if !self.reading.may_fetch {
            return Ok(());
        }
        while self.ahead.len() < RANGES_AHEAD {
            let Some((xorb, range)) = self.ranges.pop_front() else {
                return Ok(());
            };
            let shared = &self.reading.shared;
            let entry = shared.xorbs.get(shared, &xorb).await?;
            let at = entry.cached.held_end(range.byte_start).unwrap_or(range.byte_start);
            if at >= range.byte_end {
                continue;
            }
            // Reading tells what went wrong, if it still does then.
            match entry.board(&self.reading, at, range.byte_end).await {
                Ok(ticket) => self.ahead.extend(ticket),
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Decode the next chunks: `max_bytes` of them, but at least one.
    async fn decode(&mut self, entry: &Arc<XorbEntry>, end_chunk: u32, max_bytes: usize) -> Result<Decoded> {
        let mut vanished = 0;
        loop {
            if let Some(first) = entry.cached.chunk(self.chunk).filter(|chunk| chunk.held) {
                let (held, chunks) = (Arc::clone(entry), self.chunk..end_chunk);
                let decoded = compute::run(move || decode_held(&held, first, chunks, max_bytes)).await?;
                if let Some(decoded) = decoded {
                    return Ok(decoded);
                }
            }
            vanished += 1;
            if vanished > MAX_VANISHED {
                return Err(vanishes(entry));
            }
            let (at, end) = self.position(entry)?;
            entry.hold_chunk(&self.reading, self.chunk, at, end).await?;
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
            .ok_or(Error::PlanLost {
                file: self.reading.file.hash,
            })?;
        let known = entry.cached.chunk(self.chunk).map(|chunk| chunk.start);
        let after = || {
            let before = self.chunk.checked_sub(1)?;
            entry.cached.chunk(before).map(|chunk| chunk.end)
        };
        let at = known.or_else(after).unwrap_or(range.byte_start);
        Ok((at.max(range.byte_start), range.byte_end))
    }
}

impl XorbEntry {
    /// Wait until a chunk is in the cache, fetching from `at`, at or before it, to `end`.
    async fn hold_chunk(self: &Arc<Self>, reading: &Reading, chunk: u32, at: u64, end: u64) -> Result<()> {
        let mut at = at;
        while at < end {
            if self.cached.chunk(chunk).is_some_and(|chunk| chunk.held) {
                return Ok(());
            }
            match self.cached.held_end(at) {
                Some(held) => at = held,
                None => self.wait_for(reading, at, end).await?,
            }
        }
        Ok(())
    }
}

/// Read and decode held chunks from `first` on; `None` if they are gone by now.
fn decode_held(entry: &XorbEntry, first: ChunkInfo, chunks: Range<u32>, max_bytes: usize) -> Result<Option<Decoded>> {
    let known = entry
        .cached
        .chunks(chunks.start..chunks.end.min(chunks.start.saturating_add(PIECE_CHUNKS)));
    let mut wanted = 0;
    let mut count = 0;
    for (place, chunk) in known.iter().enumerate() {
        let follows = u32::try_from(place).is_ok_and(|place| chunk.index == first.index.saturating_add(place));
        if !follows || !chunk.held || (count > 0 && wanted + chunk.raw_bytes as usize > max_bytes) {
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
    let mut chunks = Vec::with_capacity(count);
    for (frame, chunk) in frames.into_iter().zip(known) {
        let content = compute::decode_frame(frame)?;
        if content.hash != chunk.hash {
            // The disk is not what it was, beyond what its checksums tell: fetch it again.
            entry.cached.drop_data(chunk.start..chunk.end)?;
            break;
        }
        raw.extend_from_slice(&content.raw);
        chunks.push(*chunk);
    }
    Ok((!chunks.is_empty()).then_some(Decoded { raw, chunks }))
}

//! Stored bytes of a xorb for one reader: from the cache, following the flight that brings them.
//!
//! The last chunk of a range is held back until all of the range is there; and if with it all chunks
//! of the file are known, until the file's hash agrees.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use xetway_cache::{CachedXorb, ChunkInfo};
use xetway_core::xorb::{ChunkHeader, MAX_COMPRESSED_CHUNK_BYTES};

use crate::error::{Error, Result};
use crate::files::FileState;
use crate::flights::{Ticket, XorbEntry};
use crate::ledger::Viewer;
use crate::mirror::{Shared, blocking};
use crate::prefetch::prove_file;
use crate::stats::add;

/// How often a byte may vanish between being fetched and being read before it is an error.
pub(crate) const MAX_VANISHED: u32 = 8;
/// Chunks looked at for one piece.
const PIECE_CHUNKS: u32 = 64;
/// What is left of a range is read at once if it may be a single chunk.
const LONGEST_CHUNK_BYTES: u64 = MAX_COMPRESSED_CHUNK_BYTES as u64 + ChunkHeader::BYTES as u64;

/// Whether bytes may be shown, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// They are proven.
    Proven,
    /// They are not; this is noted, now for the `first` time for this viewer.
    Unproven {
        /// Whether the viewer was not noted before.
        first: bool,
    },
    /// The file was proven since they were read: read again.
    Again,
    /// Not before the whole file is proven.
    Suspect,
    /// They differ from what was shown before.
    Differs,
    /// They were proven once, and are not known any more as what they were.
    Lost,
}

/// Whose eyes bytes are for.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) shared: Arc<Shared>,
    pub(crate) file: Arc<FileState>,
    pub(crate) viewer: Viewer,
    pub(crate) generation: u64,
    /// Whether what is not held may be fetched.
    pub(crate) may_fetch: bool,
}

impl Reading {
    /// Decide about chunks in hand: `Some(proven)` if they may be shown, `None` if they must be read again.
    pub(crate) async fn show(
        &self,
        entry: &XorbEntry,
        chunks: &[ChunkInfo],
        is_second: &mut bool,
    ) -> Result<Option<bool>> {
        let (viewer, generation) = (self.viewer, self.generation);
        let xorb = entry.cached.hash();
        match self.file.show(viewer, generation, &xorb, chunks, *is_second)? {
            Show::Proven => return Ok(Some(true)),
            Show::Unproven { first: false } => return Ok(Some(false)),
            Show::Unproven { first: true } => {
                let file = Arc::clone(&self.file);
                blocking(move || file.write_down(viewer, generation)).await??;
                return Ok(Some(false));
            }
            Show::Again => *is_second = true,
            Show::Suspect => Box::pin(prove_file(&self.shared, &self.file, self.may_fetch)).await?,
            Show::Differs => {
                let file = Arc::clone(&self.file);
                blocking(move || file.change()).await??;
                return Err(Error::changed(&self.file.hash));
            }
            Show::Lost => {
                let file = Arc::clone(&self.file);
                blocking(move || file.lose()).await??;
                return Err(Error::changed(&self.file.hash));
            }
        }
        Ok(None)
    }
}

/// Reads a range of a xorb in order.
#[derive(Debug)]
pub(crate) struct XorbReader {
    reading: Reading,
    entry: Arc<XorbEntry>,
    ticket: Option<Ticket>,
    at: u64,
    end: u64,
    /// Unproven bytes were given out.
    unsettled: bool,
    /// The last chunk may be given out.
    released: bool,
}

impl XorbReader {
    pub(crate) fn new(reading: Reading, entry: Arc<XorbEntry>, bytes: Range<u64>) -> Self {
        Self {
            reading,
            entry,
            ticket: None,
            at: bytes.start,
            end: bytes.end,
            unsettled: false,
            released: false,
        }
    }

    pub(crate) fn remaining(&self) -> u64 {
        self.end - self.at
    }

    /// Return the next bytes; `None` after the last.
    pub(crate) async fn next(&mut self, max_bytes: usize) -> Result<Option<Bytes>> {
        let (mut vanished, mut is_second) = (0, false);
        while self.at < self.end {
            let (cached, at, end) = (Arc::clone(&self.entry.cached), self.at, self.end);
            let Some(mut piece) = blocking(move || read_piece(&cached, at, end, max_bytes)).await?? else {
                vanished += 1;
                if vanished > MAX_VANISHED {
                    return Err(vanishes(&self.entry));
                }
                self.wait().await?;
                continue;
            };
            let is_end = at + piece.bytes.len() as u64 >= end;
            if is_end && !self.released && !self.is_settled(&piece) && piece.hold_last_chunk(at) {
                self.reading.shared.check(&self.reading.file).await?;
                self.released = true;
                // Read again: what was read before may have been found wrong meanwhile.
                continue;
            }
            let Some(proven) = self.reading.show(&self.entry, &piece.chunks, &mut is_second).await? else {
                continue;
            };
            self.unsettled |= !proven;
            let bytes = piece.bytes.len() as u64;
            self.at += bytes;
            let counters = &self.reading.shared.counters;
            add(&counters.served_bytes, bytes);
            if self.ticket.is_none() {
                add(&counters.cache_hit_bytes, bytes);
            }
            self.ticket = self.ticket.take().filter(|ticket| ticket.end() > self.at);
            return Ok(Some(Bytes::from(piece.bytes)));
        }
        Ok(None)
    }

    fn is_settled(&self, piece: &Piece) -> bool {
        !self.unsettled && self.reading.file.is_proven() && piece.chunks.iter().all(|chunk| chunk.proven)
    }

    /// Wait for the next byte; a place on its flight is kept until the reader is past its end.
    async fn wait(&mut self) -> Result<()> {
        let boarded = self.ticket.take().filter(|ticket| ticket.brings(self.at));
        self.ticket = match boarded {
            Some(ticket) => Some(ticket),
            None => self.entry.board(&self.reading, self.at, self.end).await?,
        };
        match &self.ticket {
            Some(ticket) => ticket.passed(&self.reading.file, self.at).await,
            None => Ok(()),
        }
    }
}

/// Bytes read from the cache and the chunks they belong to.
struct Piece {
    bytes: Vec<u8>,
    chunks: Vec<ChunkInfo>,
}

impl Piece {
    /// Cut the last chunk off; true if nothing else is there, and it was left.
    fn hold_last_chunk(&mut self, at: u64) -> bool {
        let last_start = self.chunks.last().map_or(at, |chunk| chunk.start);
        let before = last_start.saturating_sub(at);
        if before == 0 {
            return true;
        }
        self.bytes.truncate(usize::try_from(before).unwrap_or(usize::MAX));
        self.chunks.pop();
        false
    }
}

/// Read about a piece from `at`, with what is known of its chunks, which was the same before and after.
fn read_piece(cached: &CachedXorb, at: u64, end: u64, max_bytes: usize) -> Result<Option<Piece>> {
    for _ in 0..MAX_VANISHED {
        let Some(first) = cached.chunk_at(at) else { break };
        let mut before = cached.chunks(first..first.saturating_add(PIECE_CHUNKS));
        let in_a_row = (first..)
            .zip(&before)
            .take_while(|(index, chunk)| chunk.index == *index && chunk.held)
            .count();
        before.truncate(in_a_row);
        let (Some(begin), Some(last)) = (before.first(), before.last()) else {
            break;
        };
        let left = end - at;
        let wanted = if left <= LONGEST_CHUNK_BYTES {
            left
        } else {
            begin.end - at
        };
        let max_bytes = max_bytes.max(usize::try_from(wanted).unwrap_or(usize::MAX));
        let Some(piece) = cached.read(at, end.min(last.end), max_bytes)? else {
            break;
        };
        let piece_end = at + piece.bytes.len() as u64;
        before.retain(|chunk| chunk.start < piece_end);
        let count = u32::try_from(before.len()).unwrap_or(PIECE_CHUNKS);
        let after = cached.chunks(first..first.saturating_add(count));
        let place = |chunk: &ChunkInfo| (chunk.index, chunk.hash, chunk.raw_bytes, chunk.start, chunk.end);
        if before.iter().map(place).eq(after.iter().map(place)) {
            return Ok(Some(Piece {
                bytes: piece.bytes,
                chunks: after,
            }));
        }
    }
    Ok(None)
}

pub(crate) fn vanishes(entry: &XorbEntry) -> Error {
    Error::NotCached {
        what: format!(
            "a range of xorb {}, which vanished from the disk each time it was fetched, and therefore",
            entry.cached.hash()
        ),
    }
}

impl XorbEntry {
    /// Wait until byte `at` was brought to the cache; starts a flight to `end` if none is under way.
    pub(crate) async fn wait_for(self: &Arc<Self>, reading: &Reading, at: u64, end: u64) -> Result<()> {
        match self.board(reading, at, end).await? {
            Some(ticket) => ticket.passed(&reading.file, at).await,
            None => Ok(()),
        }
    }

    /// Bring all of `bytes` to the cache, without reading them.
    pub(crate) async fn hold_range(self: &Arc<Self>, reading: &Reading, bytes: Range<u64>) -> Result<()> {
        let (mut at, mut tries) = (bytes.start, 0);
        while at < bytes.end {
            if let Some(end) = self.cached.held_end(at) {
                (at, tries) = (end, 0);
                continue;
            }
            tries += 1;
            if tries > MAX_VANISHED {
                return Err(vanishes(self));
            }
            self.wait_for(reading, at, bytes.end).await?;
        }
        Ok(())
    }

    /// Say whether every byte of a range is held.
    pub(crate) fn is_held(&self, bytes: &Range<u64>) -> bool {
        bytes.start >= bytes.end || self.cached.held_end(bytes.start).is_some_and(|end| end >= bytes.end)
    }

    /// Say whether every chunk of a range is known and proven.
    pub(crate) fn is_range_proven(&self, bytes: &Range<u64>) -> bool {
        let mut at = bytes.start;
        while at < bytes.end {
            let chunk = self.cached.chunk_at(at).and_then(|index| self.cached.chunk(index));
            match chunk.filter(|chunk| chunk.proven) {
                Some(chunk) => at = chunk.end,
                None => return false,
            }
        }
        true
    }
}

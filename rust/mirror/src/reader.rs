//! Stored bytes of a xorb for one reader: from the cache, following the flight that brings them.
//!
//! The last chunk of a range is held back until all of the range is there; and if with it all chunks
//! of the file are known, until the file's hash agrees.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::files::{FileState, Reader};
use crate::flights::XorbEntry;
use crate::mirror::{PIECE_BYTES, Shared, blocking};
use crate::stats::add;

/// How often a byte may vanish between being fetched and being read before it is an error.
const MAX_VANISHED: u32 = 8;

/// Reads a range of a xorb in order.
#[derive(Debug)]
pub(crate) struct XorbReader {
    shared: Arc<Shared>,
    entry: Arc<XorbEntry>,
    file: Arc<FileState>,
    reader: Reader,
    generation: u64,
    at: u64,
    end: u64,
    released: bool,
}

impl XorbReader {
    pub(crate) fn new(
        shared: Arc<Shared>,
        entry: Arc<XorbEntry>,
        file: Arc<FileState>,
        reader: Reader,
        generation: u64,
        bytes: Range<u64>,
    ) -> Self {
        Self {
            shared,
            entry,
            file,
            reader,
            generation,
            at: bytes.start,
            end: bytes.end,
            released: false,
        }
    }

    pub(crate) fn remaining(&self) -> u64 {
        self.end - self.at
    }

    /// Return the next bytes; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let mut waited = false;
        let mut vanished = 0;
        loop {
            let (cached, at, end) = (Arc::clone(&self.entry.cached), self.at, self.end);
            let Some(mut piece) = blocking(move || cached.read(at, end, PIECE_BYTES)).await?? else {
                waited = true;
                vanished += 1;
                if vanished > MAX_VANISHED {
                    return Err(vanishes(&self.entry));
                }
                self.shared.wait_for(&self.entry, &self.file, at, end).await?;
                continue;
            };
            if !piece.proven {
                let reaches_end = at + piece.bytes.len() as u64 >= self.end;
                if reaches_end && !self.released {
                    let before_last = piece.last_chunk_start.saturating_sub(at);
                    if before_last > 0 {
                        piece.bytes.truncate(usize::try_from(before_last).unwrap_or(usize::MAX));
                    } else {
                        self.shared.check(&self.file).await?;
                        self.released = true;
                        // Read again: what was read before may have been found wrong meanwhile.
                        continue;
                    }
                }
                self.file.note_shown(&self.reader, self.generation)?;
            }
            let bytes = piece.bytes.len() as u64;
            self.at += bytes;
            add(&self.shared.counters.served_bytes, bytes);
            if !waited {
                add(&self.shared.counters.cache_hit_bytes, bytes);
            }
            return Ok(Some(Bytes::from(piece.bytes)));
        }
    }
}

pub(crate) fn vanishes(entry: &XorbEntry) -> Error {
    Error::NotCached {
        what: format!(
            "a range of xorb {}, which vanished from the disk each time it was fetched, and therefore",
            entry.cached.hash()
        ),
    }
}

impl Shared {
    /// Wait until byte `at` was brought to the cache; starts a flight to `end` if none is under way.
    pub(crate) async fn wait_for(
        self: &Arc<Self>,
        entry: &Arc<XorbEntry>,
        file: &Arc<FileState>,
        at: u64,
        end: u64,
    ) -> Result<()> {
        match entry.board(self, file, at, end).await? {
            Some(ticket) => ticket.passed(at).await,
            None => Ok(()),
        }
    }

    /// Bring all of `bytes` to the cache, without reading them.
    pub(crate) async fn hold_range(
        self: &Arc<Self>,
        entry: &Arc<XorbEntry>,
        file: &Arc<FileState>,
        bytes: Range<u64>,
    ) -> Result<()> {
        let (mut at, mut tries) = (bytes.start, 0);
        while at < bytes.end {
            if let Some(end) = entry.cached.held_end(at) {
                (at, tries) = (end, 0);
                continue;
            }
            tries += 1;
            if tries > MAX_VANISHED {
                return Err(vanishes(entry));
            }
            self.wait_for(entry, file, at, bytes.end).await?;
        }
        Ok(())
    }

    /// Say whether every chunk of a range is known and proven.
    pub(crate) fn is_range_proven(entry: &XorbEntry, bytes: &Range<u64>) -> bool {
        let mut at = bytes.start;
        while at < bytes.end {
            let chunk = entry.cached.chunk_at(at).and_then(|index| entry.cached.chunk(index));
            match chunk.filter(|chunk| chunk.proven) {
                Some(chunk) => at = chunk.end,
                None => return false,
            }
        }
        true
    }
}

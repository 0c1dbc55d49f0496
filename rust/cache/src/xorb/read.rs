//! Reading stored bytes, each chunk checked.

use std::fs::File;

use crate::disk;
use crate::error::{Error, Result};
use crate::kinds::Piece;
use crate::records::{Placed, check_of};
use crate::table::Held;
use crate::xorb::CachedXorb;

/// A held chunk, as the table had it at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) placed: Placed,
    pub(crate) held: Held,
    pub(crate) proven: bool,
}

impl CachedXorb {
    /// Read bytes from exactly `at`, up to `end`, `max_bytes` or the end of the held run.
    ///
    /// Ends at the end of a chunk where `max_bytes` allows. Whole chunks are read and checked against
    /// what was stored; one that is damaged is dropped, and what comes before it is returned. `None` if
    /// `at` is not held, or not any more, or not before `end`. Waits for no writer. Blocks for the disk.
    pub fn read(&self, at: u64, end: u64, max_bytes: usize) -> Result<Option<Piece>> {
        let limit = end.min(at.saturating_add(max_bytes as u64));
        let spans = self.spans(at, limit);
        let Some(base) = spans.first().map(|span| u64::from(span.placed.start)) else {
            return Ok(None);
        };
        let (mut bytes, good) = self.read_good(&spans)?;
        let Some(last) = good.last() else {
            return Ok(None);
        };
        bytes.truncate(usize::try_from(limit.saturating_sub(base)).unwrap_or(usize::MAX));
        let skipped = usize::try_from(at.saturating_sub(base)).unwrap_or(usize::MAX);
        bytes.drain(..skipped.min(bytes.len()));
        self.touch();
        Ok(Some(Piece {
            start: at,
            bytes,
            proven: good.iter().all(|span| span.proven),
            last_chunk_start: u64::from(last.placed.start),
        }))
    }

    /// The held chunks to read for `at..limit`: the first, and those after it that fit as a whole.
    fn spans(&self, at: u64, limit: u64) -> Vec<Span> {
        if at >= limit {
            return Vec::new();
        }
        let table = self.table();
        let mut spans = Vec::new();
        for (placed, held, proven) in table.held_from(at) {
            let fits = u64::from(placed.end) <= limit;
            if !spans.is_empty() && !fits {
                break;
            }
            spans.push(Span {
                placed: *placed,
                held,
                proven,
            });
            if !fits {
                break;
            }
        }
        spans
    }

    /// Read chunks that follow one another; returns the bytes of those before the first damaged one.
    pub(crate) fn read_good<'a>(&self, spans: &'a [Span]) -> Result<(Vec<u8>, &'a [Span])> {
        let (Some(first), Some(last)) = (spans.first(), spans.last()) else {
            return Ok((Vec::new(), &[]));
        };
        let file = disk::if_there(File::open(self.data_path())).map_err(Error::io("open cached chunks"))?;
        let Some(file) = file else {
            self.data_is_gone()?;
            return Ok((Vec::new(), &[]));
        };
        let base = first.placed.start;
        let mut bytes = vec![0; (last.placed.end - base) as usize];
        let filled = disk::read_up_to(&file, &mut bytes, u64::from(base));
        bytes.truncate(filled);
        let mut good = 0;
        let mut good_bytes = 0;
        for span in spans {
            let end = (span.placed.end - base) as usize;
            let right = bytes
                .get(good_bytes..end)
                .is_some_and(|stored| check_of(&span.placed.hash, stored) == span.held.check);
            if !right {
                // What can't be written down now is found damaged again after the next start.
                let _ = self.drop_damaged(span.placed.index, span.held.epoch);
                break;
            }
            (good, good_bytes) = (good + 1, end);
        }
        bytes.truncate(good_bytes);
        Ok((bytes, spans.get(..good).unwrap_or_default()))
    }
}

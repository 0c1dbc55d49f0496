//! A run of a xorb's chunks in memory, as they are stored: one positioned read for many chunks.

use crate::error::{Error, Result};
use crate::xorb_file::XorbFile;

/// What one read of the file brings in at most, unless a single chunk is longer.
const WINDOW_BYTES: u64 = 128 * 1024;

const LOST: Error = Error::State {
    object: "read window",
    problem: "does not hold its chunk",
};

/// Stored chunks [first, end) of the xorb it was last filled from.
#[derive(Debug, Default)]
pub(crate) struct Window {
    first: u32,
    end: u32,
    start_byte: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Forget what is held: another xorb is read from now on.
    pub(crate) fn clear(&mut self) {
        (self.first, self.end) = (0, 0);
    }

    /// Return one chunk as stored; reads it, and those after it below `limit`, if it isn't held.
    pub(crate) fn chunk(&mut self, file: &XorbFile, index: u32, limit: u32) -> Result<&[u8]> {
        if !(self.first..self.end).contains(&index) {
            self.fill(file, index, limit)?;
        }
        let (chunk, start) = file.chunk(index)?;
        let (start, end) = (
            start.checked_sub(self.start_byte),
            u64::from(chunk.end).checked_sub(self.start_byte),
        );
        let held = start
            .zip(end)
            .and_then(|(start, end)| usize::try_from(start).ok().zip(usize::try_from(end).ok()));
        held.and_then(|(start, end)| self.bytes.get(start..end)).ok_or(LOST)
    }

    fn fill(&mut self, file: &XorbFile, index: u32, limit: u32) -> Result<()> {
        self.clear();
        let (chunk, start) = file.chunk(index)?;
        let mut end_byte = u64::from(chunk.end);
        let mut end = index.saturating_add(1);
        while end < limit {
            let next = u64::from(file.chunk(end)?.0.end);
            if next.saturating_sub(start) > WINDOW_BYTES {
                break;
            }
            end_byte = next;
            end += 1;
        }
        let bytes = end_byte
            .checked_sub(start)
            .and_then(|bytes| usize::try_from(bytes).ok())
            .ok_or(LOST)?;
        self.bytes.resize(bytes, 0);
        file.read(&mut self.bytes, start)?;
        (self.first, self.end, self.start_byte) = (index, end, start);
        Ok(())
    }
}

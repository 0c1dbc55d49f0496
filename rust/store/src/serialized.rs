//! Stored chunk data, as clients fetch it, every chunk proven before a byte of it is handed out.

use crate::error::{Error, Result};
use crate::reader::{PieceReader, check_range};
use crate::scratch::{Run, Scratch};
use crate::xorb_file::XorbFile;

/// Reads a byte range of a xorb's chunk data, headers included. Holds one open file and no buffer.
pub struct SerializedReader {
    file: XorbFile,
    /// The chunk that holds the next byte.
    chunk: u32,
    /// One past the last chunk of the range: nothing is read beyond it.
    limit: u32,
    position: u64,
    end: u64,
}

impl SerializedReader {
    /// Read stored bytes [start, end) of the chunk data.
    pub(crate) fn open(file: XorbFile, start: u64, end: u64) -> Result<Self> {
        check_range(start, end, u64::from(file.meta().chunk_data_bytes()))?;
        let chunks = file.meta().chunks();
        let before = chunks.partition_point(|chunk| u64::from(chunk.end) <= start);
        let limit = chunks.partition_point(|chunk| u64::from(chunk.end) < end) + 1;
        let limit = u32::try_from(limit.min(chunks.len())).unwrap_or(u32::MAX);
        Ok(Self {
            file,
            chunk: u32::try_from(before).unwrap_or(u32::MAX),
            limit,
            position: start,
            end,
        })
    }
}

impl PieceReader for SerializedReader {
    fn remaining(&self) -> u64 {
        self.end - self.position
    }

    fn next<'a>(&mut self, max_bytes: usize, scratch: &'a mut Scratch) -> Result<&'a [u8]> {
        if self.position == self.end {
            return Ok(&[]);
        }
        let Scratch { stored, raw, decoder } = scratch;
        let length = |start: u64, end: u64, _| end.saturating_sub(start);
        let run = Run::choose(&self.file, self.chunk, self.limit, max_bytes, length)?;
        let stored = run.read(&self.file, stored)?;
        for chunk in run.chunks(&self.file, stored) {
            let (index, bytes) = chunk?;
            self.file.prove(decoder, index, bytes, raw)?;
        }
        let from = self.position - run.start_byte;
        let to = run.end_byte.min(self.end) - run.start_byte;
        (self.chunk, self.position) = (run.end, run.start_byte + to);
        let range = usize::try_from(from).unwrap_or(usize::MAX)..usize::try_from(to).unwrap_or(usize::MAX);
        stored.get(range).ok_or(Error::State {
            object: "reader",
            problem: "lost its place",
        })
    }
}

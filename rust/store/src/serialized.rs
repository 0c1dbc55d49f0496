//! Stored chunk data, as clients fetch it, every chunk proven before a byte of it is handed out.

use xetway_core::codec::Decoder;

use crate::error::{Error, Result};
use crate::reader::{PieceReader, check_range, next_piece_bytes};
use crate::window::Window;
use crate::xorb_file::XorbFile;

const BROKEN: Error = Error::State {
    object: "reader",
    problem: "failed before and cannot go on",
};
const TOO_LONG: Error = Error::State {
    object: "reader",
    problem: "was asked for more than remains",
};

/// Reads a byte range of a xorb's chunk data, headers included.
///
/// Memory: one window of stored chunks, one decoded chunk, one decoder; about 400 KiB.
pub struct SerializedReader {
    file: XorbFile,
    window: Window,
    decoder: Decoder,
    raw: Vec<u8>,
    /// The chunk that holds the next byte, and whether it is proven.
    chunk: u32,
    proven: bool,
    /// One past the last chunk of the range: nothing is read ahead beyond it.
    limit: u32,
    position: u64,
    end: u64,
    piece_bytes: usize,
    broken: bool,
}

impl SerializedReader {
    /// Read stored bytes [start, end) of the chunk data.
    pub(crate) fn open(file: XorbFile, start: u64, end: u64, piece_bytes: usize) -> Result<Self> {
        check_range(start, end, u64::from(file.meta().chunk_data_bytes()))?;
        let chunks = file.meta().chunks();
        let before = chunks.partition_point(|chunk| u64::from(chunk.end) <= start);
        let limit = chunks.partition_point(|chunk| u64::from(chunk.end) < end) + 1;
        let limit = u32::try_from(limit.min(chunks.len())).unwrap_or(u32::MAX);
        Ok(Self {
            file,
            window: Window::default(),
            decoder: Decoder::new(),
            raw: Vec::new(),
            chunk: u32::try_from(before).unwrap_or(u32::MAX),
            proven: false,
            limit,
            position: start,
            end,
            piece_bytes: piece_bytes.max(1),
            broken: false,
        })
    }

    fn fill(&mut self, mut rest: &mut [u8]) -> Result<()> {
        while !rest.is_empty() {
            let (chunk, start) = self.file.chunk(self.chunk)?;
            let (raw_bytes, end) = (chunk.raw_bytes as usize, u64::from(chunk.end));
            let stored = self.window.chunk(&self.file, self.chunk, self.limit)?;
            if !self.proven {
                self.raw.resize(raw_bytes, 0);
                self.file.decode(&mut self.decoder, self.chunk, stored, &mut self.raw)?;
                self.proven = true;
            }
            let from = usize::try_from(self.position - start).unwrap_or(usize::MAX);
            let unread = stored.get(from..).unwrap_or_default();
            let count = unread.len().min(rest.len());
            let (Some(front), Some(unread)) = (rest.split_off_mut(..count), unread.get(..count)) else {
                return Err(TOO_LONG);
            };
            front.copy_from_slice(unread);
            self.position += count as u64;
            if self.position == end {
                self.chunk += 1;
                self.proven = false;
            }
        }
        Ok(())
    }
}

impl PieceReader for SerializedReader {
    fn remaining(&self) -> u64 {
        self.end - self.position
    }

    fn piece_bytes(&self) -> usize {
        next_piece_bytes(self.remaining(), self.piece_bytes)
    }

    fn read_into(&mut self, destination: &mut [u8]) -> Result<()> {
        if self.broken {
            return Err(BROKEN);
        }
        if destination.len() as u64 > self.remaining() {
            return Err(TOO_LONG);
        }
        self.broken = true;
        self.fill(destination)?;
        self.broken = false;
        Ok(())
    }
}

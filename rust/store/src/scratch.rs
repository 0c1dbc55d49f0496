//! What readers work in, apart from what they are: one per thread serves any number of them.

use xetway_core::buffer::front;
use xetway_core::codec::Decoder;
use xetway_core::xorb::ChunkHeader;

use crate::error::Result;
use crate::xorb_file::XorbFile;

/// Buffers for a run of chunks, as they are stored and as they are, and a decoder.
///
/// They grow to the longest run that was asked for, and stay that long.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) stored: Vec<u8>,
    pub(crate) raw: Vec<u8>,
    pub(crate) decoder: Decoder,
}

/// Chunks [first, end) of a xorb, and where the first starts in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) first: u32,
    pub(crate) end: u32,
    pub(crate) start_byte: u64,
    pub(crate) end_byte: u64,
}

impl Run {
    /// Choose chunks from `first` on, below `limit`: as many as `max_bytes` holds by `length`, but at least one.
    pub(crate) fn choose(
        file: &XorbFile,
        first: u32,
        limit: u32,
        max_bytes: usize,
        length: impl Fn(u64, u64, u32) -> u64,
    ) -> Result<Self> {
        let (chunk, start_byte) = file.chunk(first)?;
        let mut run = Self {
            first,
            end: first.saturating_add(1),
            start_byte,
            end_byte: u64::from(chunk.end),
        };
        let mut bytes = length(start_byte, run.end_byte, chunk.raw_bytes);
        while run.end < limit {
            let (chunk, start) = file.chunk(run.end)?;
            bytes = bytes.saturating_add(length(start, u64::from(chunk.end), chunk.raw_bytes));
            if bytes > max_bytes as u64 {
                break;
            }
            (run.end, run.end_byte) = (run.end.saturating_add(1), u64::from(chunk.end));
        }
        Ok(run)
    }

    /// Read the run, as stored, to the front of `buffer`.
    pub(crate) fn read<'a>(&self, file: &XorbFile, buffer: &'a mut Vec<u8>) -> Result<&'a [u8]> {
        let bytes = usize::try_from(self.end_byte.saturating_sub(self.start_byte)).unwrap_or(usize::MAX);
        let stored = front(buffer, bytes);
        file.read(stored, self.start_byte)?;
        Ok(stored)
    }

    /// The chunks of the run: index, and where each lies in what [`Self::read`] returned.
    pub(crate) fn chunks<'a>(
        &'a self,
        file: &'a XorbFile,
        stored: &'a [u8],
    ) -> impl Iterator<Item = Result<(u32, &'a [u8])>> {
        (self.first..self.end).map(move |index| {
            let (chunk, start) = file.chunk(index)?;
            let at = |byte: u64| usize::try_from(byte.saturating_sub(self.start_byte)).unwrap_or(usize::MAX);
            let bytes = stored.get(at(start)..at(u64::from(chunk.end))).unwrap_or_default();
            Ok((index, bytes))
        })
    }
}

/// What a chunk takes in memory: its content, or its payload should someone have made that larger.
pub(crate) fn larger(start: u64, end: u64, raw_bytes: u32) -> u64 {
    let stored = end.saturating_sub(start);
    stored.saturating_sub(ChunkHeader::BYTES as u64).max(raw_bytes.into())
}

//! File content rebuilt from its terms, every chunk proven before a byte of it is handed out.

use std::sync::Arc;

use xetway_core::Error as FormatError;
use xetway_core::codec::Decoder;
use xetway_core::plan::check_term;
use xetway_core::shard::Term;

use crate::error::{Error, Result};
use crate::store::Shared;
use crate::window::Window;
use crate::xorb_file::XorbFile;

/// Something that is read in order, in pieces whose size is known beforehand.
pub trait PieceReader: Send {
    /// Bytes that are still to come.
    fn remaining(&self) -> u64;

    /// Length of the next piece; 0 at the end.
    fn piece_bytes(&self) -> usize;

    /// Fill `destination`, which must not be longer than what remains, with the next bytes.
    ///
    /// After an error the content of `destination` is not to be used, and the reader only fails.
    fn read_into(&mut self, destination: &mut [u8]) -> Result<()>;
}

/// Length of a piece: the chosen one, or what is left.
pub(crate) fn next_piece_bytes(remaining: u64, piece_bytes: usize) -> usize {
    usize::try_from(remaining).map_or(piece_bytes, |remaining| remaining.min(piece_bytes))
}

/// Check a half-open range against a length.
pub(crate) fn check_range(start: u64, end: u64, size: u64) -> Result<()> {
    if start > end || end > size {
        return Err(Error::Format(FormatError::RangeOutside { start, end, size }));
    }
    Ok(())
}

const BROKEN: Error = Error::State {
    object: "reader",
    problem: "failed before and cannot go on",
};
const TOO_LONG: Error = Error::State {
    object: "reader",
    problem: "was asked for more than remains",
};

/// Reads decoded content.
///
/// Memory: one window of stored chunks, one decoded chunk, one decoder; about 400 KiB. One file is
/// open at a time.
pub struct ContentReader {
    store: Arc<Shared>,
    terms: Vec<Term>,
    /// The term being read, and its next chunk.
    term: usize,
    chunk: u32,
    file: Option<XorbFile>,
    window: Window,
    decoder: Decoder,
    /// The chunk that the last piece ended in, and where in it.
    carry: Vec<u8>,
    carry_at: usize,
    /// Content bytes to drop before the first that was asked for.
    skip: u64,
    remaining: u64,
    piece_bytes: usize,
    broken: bool,
}

impl ContentReader {
    /// Read content bytes [start, end) of the file that `terms` describe.
    ///
    /// Opens the first xorb, so that a missing one is known before anything was promised.
    pub(crate) fn open(store: Arc<Shared>, terms: Vec<Term>, start: u64, end: u64, piece_bytes: usize) -> Result<Self> {
        let size = terms
            .iter()
            .map(|term| u64::from(term.unpacked_bytes))
            .fold(0, u64::saturating_add);
        check_range(start, end, size)?;
        let mut skip = start;
        let mut term = 0;
        while let Some(length) = terms
            .get(term)
            .map(|term| u64::from(term.unpacked_bytes))
            .filter(|len| *len <= skip)
        {
            skip -= length;
            term += 1;
        }
        let mut reader = Self {
            store,
            terms,
            term,
            chunk: 0,
            file: None,
            window: Window::default(),
            decoder: Decoder::new(),
            carry: Vec::new(),
            carry_at: 0,
            skip,
            remaining: end - start,
            piece_bytes: piece_bytes.max(1),
            broken: false,
        };
        if reader.remaining > 0 {
            reader.enter_term()?;
            reader.skip_chunks()?;
        }
        Ok(reader)
    }

    /// Open the xorb of the current term and check the term against it.
    fn enter_term(&mut self) -> Result<()> {
        let Some(term) = self.terms.get(self.term) else {
            return Err(TOO_LONG);
        };
        let xorb = term.xorb;
        let file = match self.file.take() {
            Some(file) if file.xorb() == xorb => file,
            _ => {
                self.window.clear();
                self.store.open(xorb)?
            }
        };
        check_term(term, file.meta()).map_err(Error::corrupt(xorb, None))?;
        self.chunk = term.start;
        self.file = Some(file);
        Ok(())
    }

    /// Pass over the chunks of the first term that lie wholly before the start.
    fn skip_chunks(&mut self) -> Result<()> {
        let Some(file) = &self.file else { return Err(BROKEN) };
        loop {
            let raw_bytes = u64::from(file.chunk(self.chunk)?.0.raw_bytes);
            if raw_bytes > self.skip {
                return Ok(());
            }
            self.skip -= raw_bytes;
            self.chunk += 1;
        }
    }

    fn fill(&mut self, mut rest: &mut [u8]) -> Result<()> {
        while !rest.is_empty() {
            if self.carry_at < self.carry.len() {
                let held = self.carry.get(self.carry_at..).unwrap_or_default();
                let count = held.len().min(rest.len());
                if let (Some(front), Some(held)) = (rest.split_off_mut(..count), held.get(..count)) {
                    front.copy_from_slice(held);
                }
                self.carry_at += count;
                continue;
            }
            let written = self.next_chunk(rest)?;
            rest.split_off_mut(..written).ok_or(TOO_LONG)?;
        }
        Ok(())
    }

    /// Decode one chunk: to the front of `rest` if it fits whole, else into the carry.
    ///
    /// Returns how many bytes of `rest` were written.
    fn next_chunk(&mut self, rest: &mut [u8]) -> Result<usize> {
        while self.terms.get(self.term).is_some_and(|term| self.chunk >= term.end) {
            self.term += 1;
            self.enter_term()?;
        }
        let (Some(term), Some(file)) = (self.terms.get(self.term), &self.file) else {
            return Err(BROKEN);
        };
        let raw_bytes = file.chunk(self.chunk)?.0.raw_bytes as usize;
        let stored = self.window.chunk(file, self.chunk, term.end)?;
        let index = self.chunk;
        self.chunk += 1;
        if let Some(front) = rest.get_mut(..raw_bytes).filter(|_| self.skip == 0) {
            file.decode(&mut self.decoder, index, stored, front)?;
            return Ok(raw_bytes);
        }
        self.carry.resize(raw_bytes, 0);
        file.decode(&mut self.decoder, index, stored, &mut self.carry)?;
        self.carry_at = usize::try_from(self.skip).unwrap_or(raw_bytes);
        self.skip = 0;
        Ok(0)
    }
}

impl PieceReader for ContentReader {
    fn remaining(&self) -> u64 {
        self.remaining
    }

    fn piece_bytes(&self) -> usize {
        next_piece_bytes(self.remaining, self.piece_bytes)
    }

    fn read_into(&mut self, destination: &mut [u8]) -> Result<()> {
        if self.broken {
            return Err(BROKEN);
        }
        let Some(remaining) = self.remaining.checked_sub(destination.len() as u64) else {
            return Err(TOO_LONG);
        };
        self.broken = true;
        self.fill(destination)?;
        self.broken = false;
        self.remaining = remaining;
        if remaining == 0 {
            self.file = None;
        }
        Ok(())
    }
}

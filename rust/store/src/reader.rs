//! File content rebuilt from its terms, every chunk proven before a byte of it is handed out.

use std::sync::Arc;

use xetway_core::Error as FormatError;
use xetway_core::buffer::front;
use xetway_core::plan::check_term;
use xetway_core::shard::Term;

use crate::error::{Error, Result};
use crate::scratch::{Run, Scratch, larger};
use crate::store::Shared;
use crate::xorb_file::XorbFile;

/// Something that is read in order, in pieces of whole chunks.
pub trait PieceReader: Send {
    /// Bytes that are still to come.
    fn remaining(&self) -> u64;

    /// Return the next bytes, which lie in `scratch`: chunks of `max_bytes` in all, but at least one; none at the end.
    ///
    /// A damaged chunk is an error instead of the piece that it is in, each time this is called.
    fn next<'a>(&mut self, max_bytes: usize, scratch: &'a mut Scratch) -> Result<&'a [u8]>;
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
    problem: "has more to read than its terms have",
};

/// Reads decoded content. Holds one open file and no buffer.
pub struct ContentReader {
    store: Arc<Shared>,
    terms: Vec<Term>,
    /// The term being read, and its next chunk.
    term: usize,
    chunk: u32,
    file: Option<XorbFile>,
    /// Content bytes to drop before the first that was asked for.
    skip: u64,
    remaining: u64,
}

impl ContentReader {
    /// Read content bytes [start, end) of the file that `terms` describe.
    ///
    /// Opens the first xorb, so that a missing one is known before anything was promised.
    pub(crate) fn open(store: Arc<Shared>, terms: Vec<Term>, start: u64, end: u64) -> Result<Self> {
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
            skip,
            remaining: end - start,
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
            return Err(BROKEN);
        };
        let xorb = term.xorb;
        let file = match self.file.take() {
            Some(file) if file.xorb() == xorb => file,
            _ => self.store.open(xorb)?,
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

    /// Decode the next run of chunks into `scratch`; returns how many bytes it has.
    fn decode_run(&mut self, max_bytes: usize, scratch: &mut Scratch) -> Result<usize> {
        while self.file.is_none() || self.terms.get(self.term).is_some_and(|term| self.chunk >= term.end) {
            self.term += usize::from(self.file.is_some());
            self.enter_term()?;
        }
        let (Some(term), Some(file)) = (self.terms.get(self.term), &self.file) else {
            return Err(BROKEN);
        };
        let Scratch { stored, raw, decoder } = scratch;
        let run = Run::choose(file, self.chunk, term.end, max_bytes, larger)?;
        let stored = run.read(file, stored)?;
        let mut done = 0;
        for chunk in run.chunks(file, stored) {
            let (index, bytes) = chunk?;
            let end = done + file.chunk(index)?.0.raw_bytes as usize;
            let destination = front(raw, end).get_mut(done..).unwrap_or_default();
            file.decode(decoder, index, bytes, destination)?;
            done = end;
        }
        self.chunk = run.end;
        Ok(done)
    }
}

impl PieceReader for ContentReader {
    fn remaining(&self) -> u64 {
        self.remaining
    }

    fn next<'a>(&mut self, max_bytes: usize, scratch: &'a mut Scratch) -> Result<&'a [u8]> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let bytes = self.decode_run(max_bytes, scratch)?;
        let piece = scratch.raw.get(..bytes).unwrap_or_default();
        let piece = piece
            .get(usize::try_from(self.skip).unwrap_or(usize::MAX)..)
            .ok_or(BROKEN)?;
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let piece = piece.get(..wanted).unwrap_or(piece);
        self.skip = 0;
        self.remaining -= piece.len() as u64;
        if self.remaining == 0 {
            self.file = None;
        }
        Ok(piece)
    }
}

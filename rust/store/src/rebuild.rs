//! A stored file written to a path, on all cores, every chunk proven first.
//!
//! Each thread takes the next run of chunks, reads it, proves it and writes it to its place. What the file
//! is written to has another name until all of it is there.

use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use xetway_core::Hash;
use xetway_core::plan::check_term;
use xetway_core::shard::Term;

use crate::error::{Error, Result};
use crate::scratch::{Run, Scratch, larger};
use crate::store::{Shared, XorbStore};
use crate::target::{Pen, Target};
use crate::xorb_file::XorbFile;

/// What a thread takes at a time.
const RUN_BYTES: usize = 1024 * 1024;
/// More threads than this wait for each other's writes to the one file.
const MAX_THREADS: usize = 16;

impl XorbStore {
    /// Rebuild the file that `terms` describe at `path`, durably, replacing what is there; returns its size.
    ///
    /// Its chunks must have the hash `file`, and each is decoded and hashed whatever was proven before. After an
    /// error nothing has changed. Memory: about 1.5 MiB for each core, 24 MiB at most.
    pub fn rebuild(&self, file: &Hash, terms: &[Term], path: &Path) -> Result<u64> {
        let size = self.check_file(file, terms, None)?;
        let target = Target::make(path, size)?;
        let work = Work {
            target: &target,
            runs: Mutex::new(Runs::new(&self.0, terms)),
        };
        let runs = usize::try_from(size).unwrap_or(usize::MAX).div_ceil(RUN_BYTES);
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        thread::scope(|scope| {
            for _ in 1..cores.min(MAX_THREADS).min(runs) {
                // One thread is enough, if there can be no more.
                let _ = thread::Builder::new().spawn_scoped(scope, || work.run());
            }
            work.run();
        });
        let runs = work.runs.into_inner().unwrap_or_else(PoisonError::into_inner);
        runs.failed.map_or(Ok(()), |(_, error)| Err(error))?;
        target.publish()?;
        Ok(size)
    }
}

/// What the threads share.
struct Work<'a> {
    target: &'a Target,
    runs: Mutex<Runs<'a>>,
}

/// Chunks in a row, and where in the file they go.
struct Piece {
    xorb: Arc<XorbFile>,
    run: Run,
    offset: u64,
}

/// Hands out the file, from its start.
struct Runs<'a> {
    store: &'a Shared,
    terms: std::slice::Iter<'a, Term>,
    /// The xorb of the current term, its next chunk and its end.
    current: Option<(Arc<XorbFile>, u32, u32)>,
    offset: u64,
    /// The first piece that failed: all before it are handed out, and done in the end.
    failed: Option<(u64, Error)>,
}

impl<'a> Work<'a> {
    fn runs(&self) -> MutexGuard<'_, Runs<'a>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rebuild pieces until there are no more.
    fn run(&self) {
        let mut scratch = Scratch::default();
        let mut pen = None;
        loop {
            let piece = self.runs().next();
            let Some(piece) = piece else { return };
            if let Err(error) = self.write(&piece, &mut pen, &mut scratch) {
                self.runs().fail(piece.offset, error);
            }
        }
    }

    fn write(&self, piece: &Piece, pen: &mut Option<Pen>, scratch: &mut Scratch) -> Result<()> {
        let pen = match pen {
            Some(pen) => pen,
            none => none.insert(self.target.pen()?),
        };
        let Scratch { stored, raw, decoder } = scratch;
        let stored = piece.run.read(&piece.xorb, stored)?;
        let mut offset = piece.offset;
        for chunk in piece.run.chunks(&piece.xorb, stored) {
            let (index, bytes) = chunk?;
            let content = piece.xorb.content(decoder, index, bytes, raw)?;
            pen.write_at(content, offset)?;
            offset = offset.saturating_add(content.len() as u64);
        }
        Ok(())
    }
}

impl<'a> Runs<'a> {
    fn new(store: &'a Shared, terms: &'a [Term]) -> Self {
        Self {
            store,
            terms: terms.iter(),
            current: None,
            offset: 0,
            failed: None,
        }
    }

    /// Return the next piece; none at the end, or after a failure.
    fn next(&mut self) -> Option<Piece> {
        if self.failed.is_some() {
            return None;
        }
        match self.choose() {
            Ok(piece) => piece,
            Err(error) => {
                self.fail(self.offset, error);
                None
            }
        }
    }

    fn choose(&mut self) -> Result<Option<Piece>> {
        let (xorb, first, end) = match self.current.take() {
            Some(current) => current,
            None => match self.terms.next() {
                Some(term) => self.enter(term)?,
                None => return Ok(None),
            },
        };
        let run = Run::choose(&xorb, first, end, RUN_BYTES, larger)?;
        let raw_start = |index: u32| u64::from(xorb.meta().raw_start(index as usize).unwrap_or_default());
        let piece = Piece {
            xorb: Arc::clone(&xorb),
            run,
            offset: self.offset,
        };
        self.offset = self.offset.saturating_add(raw_start(run.end) - raw_start(run.first));
        if run.end < end {
            self.current = Some((xorb, run.end, end));
        }
        Ok(Some(piece))
    }

    fn enter(&self, term: &Term) -> Result<(Arc<XorbFile>, u32, u32)> {
        let xorb = self.store.open(term.xorb)?;
        check_term(term, xorb.meta()).map_err(Error::corrupt(term.xorb, None))?;
        Ok((Arc::new(xorb), term.start, term.end))
    }

    fn fail(&mut self, offset: u64, error: Error) {
        if self.failed.as_ref().is_none_or(|(first, _)| offset < *first) {
            self.failed = Some((offset, error));
        }
    }
}

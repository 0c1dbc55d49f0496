//! How much of a body is handed over at once.
//!
//! Each piece costs a way through several threads, so few large ones are cheap; but each transfer
//! under way has one in memory. All transfers together get a fixed amount.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

/// A piece for who reads one transfer, and keeps nothing.
pub(crate) const PIECE_BYTES: usize = 256 << 10;
/// What the pieces of all transfers may take together, unless there are very many.
const ALL_BYTES: usize = 32 << 20;
const LEAST_BYTES: usize = 128 << 10;
const MOST_BYTES: usize = 1 << 20;
/// The first piece is small: who asked waits for it.
const FIRST_BYTES: usize = 128 << 10;
/// A part is what a server sends at once; up to four wait inside it for a client that does not read.
const LEAST_PART_BYTES: usize = 64 << 10;
const PARTS: usize = 4;

static TRANSFERS: AtomicUsize = AtomicUsize::new(0);

/// One transfer's share of the memory for pieces.
pub(crate) struct Share {
    next_bytes: AtomicUsize,
}

impl Share {
    pub(crate) fn new() -> Self {
        TRANSFERS.fetch_add(1, Ordering::Relaxed);
        Self {
            next_bytes: AtomicUsize::new(FIRST_BYTES),
        }
    }

    /// Return how long the next piece should be.
    pub(crate) fn next_bytes(&self) -> usize {
        let share = ALL_BYTES / TRANSFERS.load(Ordering::Relaxed).max(1);
        let next = self.next_bytes.load(Ordering::Relaxed);
        self.next_bytes.store((next * 2).min(MOST_BYTES), Ordering::Relaxed);
        next.min(share.clamp(LEAST_BYTES, MOST_BYTES))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        TRANSFERS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Make a list of the parts of a piece.
pub(crate) fn parts<'py>(py: Python<'py>, piece: &[u8]) -> PyResult<Bound<'py, PyList>> {
    let part_bytes = piece.len().div_ceil(PARTS).max(LEAST_PART_BYTES);
    PyList::new(py, piece.chunks(part_bytes).map(|part| PyBytes::new(py, part)))
}

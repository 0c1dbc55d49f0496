//! Counters with a row for each worker, which nobody else writes, summed when they are read; and words for anything.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Table;
use crate::layout::Line;

impl<'a> Table<'a> {
    /// A counter of a worker, if there is one of that number.
    pub fn counter(&self, worker: usize, counter: usize) -> Option<&'a AtomicU64> {
        self.rows().nth(worker)?.as_flattened().get(counter)
    }

    /// The sums over all workers, of all counters in order and what rounds their number up to eight.
    pub fn totals(&self) -> Vec<u64> {
        let mut totals = vec![0_u64; self.counters.len() / self.workers * 8];
        for row in self.rows() {
            for (total, cell) in totals.iter_mut().zip(row.as_flattened()) {
                *total = total.wrapping_add(cell.load(Ordering::Relaxed));
            }
        }
        totals
    }

    /// A word, if there is one of that number.
    pub fn word(&self, index: usize) -> Option<&'a AtomicU64> {
        self.words.as_flattened().get(index)
    }

    fn rows(&self) -> impl Iterator<Item = &'a [Line]> {
        self.counters.chunks_exact((self.counters.len() / self.workers).max(1))
    }
}

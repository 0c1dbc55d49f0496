//! Numbers that the processes of one machine share: rate limits, places, counters, words.
//!
//! A table lies in memory that all of them map, as lines of eight `u64`, and is only ever touched by atomic
//! operations; nothing here waits for another process longer than some milliseconds, and a process may be killed at
//! any instruction. Names are given as keyed 64-bit hashes (`Table::name`), so that nobody can choose names that
//! meet. Two names with one hash would share a limit. Memory begins as zeros.
//!
//! | lines | of |
//! |---|---|
//! | 1 | signature of the layout, four words of the key, three unused |
//! | 2 per group | seven buckets (`buckets.rs`) |
//! | 1 + workers per group | seven gates (`gates.rs`) |
//! | workers x counters / 8 | counters, a row for each worker |
//! | words / 8 | words |
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod buckets;
mod counters;
mod gates;
mod group;
mod layout;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

pub use buckets::{Decision, Rate};
pub use gates::Entry;
pub use layout::{Layout, Problem};

use crate::layout::Line;

/// A view of the memory, as cheap to make as a few additions.
#[derive(Clone, Copy)]
pub struct Table<'a> {
    header: &'a Line,
    buckets: &'a [Line],
    gates: &'a [Line],
    counters: &'a [Line],
    words: &'a [Line],
    workers: usize,
}

impl<'a> Table<'a> {
    /// Open memory for the first time in this process: what is all zeros gets its layout and key, whichever process
    /// comes first.
    pub fn open(memory: &'a [AtomicU64], layout: &Layout) -> Result<Self, Problem> {
        let table = Self::view(memory, layout)?;
        let signature = layout.signature();
        let [found, key @ .., _, _, _] = table.header;
        if let Err(other) = found.compare_exchange(0, signature, Ordering::AcqRel, Ordering::Acquire)
            && other != signature
        {
            return Err(Problem::OtherLayout);
        }
        for word in key {
            // A hasher of the standard library is seeded by the system's random numbers.
            let random = RandomState::new().hash_one(0) | 1;
            // Whoever was first has chosen.
            let _ = word.compare_exchange(0, random, Ordering::AcqRel, Ordering::Acquire);
        }
        Ok(table)
    }

    /// View memory that was opened.
    pub fn view(memory: &'a [AtomicU64], layout: &Layout) -> Result<Self, Problem> {
        let [buckets, gates, counters, words] = layout.lines()?;
        let (lines, _) = memory.as_chunks();
        let too_small = || Problem::TooSmall {
            wanted: layout.size_bytes().unwrap_or_default(),
            got: size_of_val(memory),
        };
        let (header, rest) = lines.split_first().ok_or_else(too_small)?;
        let (buckets, rest) = rest.split_at_checked(buckets).ok_or_else(too_small)?;
        let (gates, rest) = rest.split_at_checked(gates).ok_or_else(too_small)?;
        let (counters, rest) = rest.split_at_checked(counters).ok_or_else(too_small)?;
        let words = rest.get(..words).ok_or_else(too_small)?;
        Ok(Self {
            header,
            buckets,
            gates,
            counters,
            words,
            workers: layout.workers,
        })
    }

    /// The hash that a name has in this table.
    pub fn name(&self, text: &[u8]) -> u64 {
        let [_, key @ .., _, _, _] = self.header;
        let mut bytes = [0; blake3::KEY_LEN];
        for (part, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(key) {
            *part = word.load(Ordering::Relaxed).to_le_bytes();
        }
        let hash = blake3::keyed_hash(&bytes, text);
        let first = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        group::usable(u64::from_le_bytes(first))
    }
}

//! Memory for tables in tests.
#![allow(dead_code, reason = "no test needs all of it")]
use std::sync::atomic::AtomicU64;

use xetway_shared::{Layout, Table};

pub(crate) struct Memory {
    words: Vec<AtomicU64>,
    layout: Layout,
}

impl Memory {
    /// One group of seven buckets and one of gates.
    pub(crate) fn new(workers: usize) -> Self {
        Self::of(Layout {
            workers,
            buckets: 7,
            gates: 7,
            counters: 9,
            words: 3,
        })
    }

    pub(crate) fn of(layout: Layout) -> Self {
        let words = layout.size_bytes().unwrap() / 8;
        let memory = Self {
            words: std::iter::repeat_with(AtomicU64::default).take(words).collect(),
            layout,
        };
        Table::open(&memory.words, &memory.layout).unwrap();
        memory
    }

    pub(crate) fn words(&self) -> &[AtomicU64] {
        &self.words
    }

    pub(crate) fn table(&self) -> Table<'_> {
        Table::view(&self.words, &self.layout).unwrap()
    }
}

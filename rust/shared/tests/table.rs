//! The memory of a table, its names, counters and words.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is a failed test"
)]

mod memory;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use memory::Memory;
use xetway_shared::{Layout, Problem, Table};

const LAYOUT: Layout = Layout {
    workers: 2,
    buckets: 10,
    gates: 10,
    counters: 9,
    words: 3,
};

fn zeros(layout: &Layout) -> Vec<AtomicU64> {
    let words = layout.size_bytes().unwrap() / 8;
    std::iter::repeat_with(AtomicU64::default).take(words).collect()
}

#[test]
fn memory_is_opened_again_with_the_same_layout_only() {
    let words = zeros(&LAYOUT);
    let name = Table::open(&words, &LAYOUT).ok().unwrap().name(b"key");
    assert_eq!(Table::open(&words, &LAYOUT).ok().unwrap().name(b"key"), name);
    let other = Layout { words: 2, ..LAYOUT };
    assert_eq!(Table::open(&words, &other).err(), Some(Problem::OtherLayout));
}

#[test]
fn each_table_has_names_of_its_own() {
    let hashes: HashSet<u64> = (0..20).map(|_| Memory::new(1).table().name(b"key")).collect();
    assert_eq!(hashes.len(), 20);
}

#[test]
fn a_word_less_is_too_little() {
    let words = zeros(&LAYOUT);
    let wanted = words.len() * 8;
    let problem = Table::view(&words[1..], &LAYOUT).err();
    assert_eq!(
        problem,
        Some(Problem::TooSmall {
            wanted,
            got: wanted - 8
        })
    );
}

#[test]
fn numbers_of_a_layout_have_bounds() {
    for (layout, wrong) in [
        (Layout { workers: 0, ..LAYOUT }, "workers"),
        (
            Layout {
                workers: 5_000,
                ..LAYOUT
            },
            "workers",
        ),
        (Layout { buckets: 0, ..LAYOUT }, "buckets"),
        (
            Layout {
                gates: usize::MAX,
                ..LAYOUT
            },
            "gates",
        ),
        (
            Layout {
                counters: usize::MAX,
                ..LAYOUT
            },
            "counters",
        ),
        (
            Layout {
                words: usize::MAX,
                ..LAYOUT
            },
            "words",
        ),
    ] {
        assert!(matches!(layout.size_bytes(), Err(Problem::Number { name, .. }) if name == wrong));
    }
}

#[test]
fn counters_are_summed_over_workers() {
    let words = zeros(&LAYOUT);
    let table = Table::open(&words, &LAYOUT).ok().unwrap();
    for (worker, counter, amount) in [(0, 0, 1), (1, 0, 10), (1, 8, 100)] {
        table
            .counter(worker, counter)
            .unwrap()
            .fetch_add(amount, Ordering::Relaxed);
    }
    assert_eq!(table.totals()[..9], [11, 0, 0, 0, 0, 0, 0, 0, 100]);
    assert!(table.counter(2, 0).is_none());
    assert!(table.counter(0, 16).is_none());
}

#[test]
fn words_keep_what_is_put_there() {
    let words = zeros(&LAYOUT);
    let table = Table::open(&words, &LAYOUT).ok().unwrap();
    table.word(2).unwrap().store(7, Ordering::Relaxed);
    let again = Table::open(&words, &LAYOUT).ok().unwrap();
    assert_eq!(again.word(2).unwrap().load(Ordering::Relaxed), 7);
    assert!(table.word(8).is_none());
}

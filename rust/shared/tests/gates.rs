//! Concurrency limits under many threads, and after a worker was killed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is a failed test"
)]

mod memory;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use memory::Memory;
use xetway_shared::Entry;

fn gate(entry: Entry) -> u64 {
    match entry {
        Entry::Entered(gate) => gate,
        other => panic!("{other:?}"),
    }
}

#[test]
fn as_many_as_may_enter_until_one_leaves() {
    let memory = Memory::new(2);
    let table = memory.table();
    let first = gate(table.enter(5, 0, 2, 1));
    gate(table.enter(5, 1, 2, 1));
    assert_eq!(table.enter(5, 0, 2, 1), Entry::Full);
    assert_eq!(table.inside(5), 2);
    table.leave(first, 0);
    assert_eq!(table.inside(5), 1);
    gate(table.enter(5, 1, 2, 1));
}

#[test]
fn leaving_twice_lets_nobody_more_in() {
    let memory = Memory::new(1);
    let table = memory.table();
    let number = gate(table.enter(5, 0, 1, 1));
    table.leave(number, 0);
    table.leave(number, 0);
    gate(table.enter(5, 0, 1, 1));
    assert_eq!(table.enter(5, 0, 1, 1), Entry::Full);
}

#[test]
fn many_threads_let_in_exactly_the_limit() {
    for _ in 0..50 {
        let memory = Memory::new(4);
        let entered = AtomicU64::new(0);
        thread::scope(|scope| {
            for worker in 0..4 {
                let (memory, entered) = (&memory, &entered);
                scope.spawn(move || {
                    for _ in 0..100 {
                        if matches!(memory.table().enter(5, worker, 150, 1), Entry::Entered(_)) {
                            entered.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(entered.into_inner(), 150);
        assert_eq!(memory.table().inside(5), 150);
    }
}

#[test]
fn never_more_than_the_limit_are_inside_while_names_come_and_go() {
    let memory = Memory::new(4);
    let inside: [AtomicU64; 20] = Default::default();
    thread::scope(|scope| {
        for worker in 0..4 {
            let (memory, inside) = (&memory, &inside);
            scope.spawn(move || {
                for step in 0..10_000 {
                    let name = (step * 7 + worker) % 20;
                    if let Entry::Entered(number) = memory.table().enter(100 + name as u64, worker, 2, 1) {
                        assert!(inside[name].fetch_add(1, Ordering::SeqCst) < 2);
                        inside[name].fetch_sub(1, Ordering::SeqCst);
                        memory.table().leave(number, worker);
                    }
                }
            });
        }
    });
    for name in 100..120 {
        assert_eq!(memory.table().inside(name), 0);
    }
}

#[test]
fn the_places_of_a_killed_worker_are_free_again() {
    let memory = Memory::new(2);
    let table = memory.table();
    gate(table.enter(5, 0, 2, 1));
    gate(table.enter(5, 1, 2, 1));
    table.release_worker(1);
    assert_eq!(table.inside(5), 1);
    gate(table.enter(5, 1, 2, 1));
    assert_eq!(table.enter(5, 0, 2, 1), Entry::Full);
}

#[test]
fn names_without_a_gate_are_not_limited() {
    let memory = Memory::new(1);
    let table = memory.table();
    let numbers: Vec<u64> = (10..17).map(|name| gate(table.enter(name, 0, 1, 1))).collect();
    assert_eq!(table.enter(20, 0, 1, 1), Entry::Untracked);
    assert_eq!(table.enter(20, 0, 1, 1), Entry::Untracked);
    table.leave(numbers[3], 0);
    gate(table.enter(20, 0, 1, 1));
    assert_eq!(table.enter(20, 0, 1, 1), Entry::Full);
    // A number that no gate has.
    table.leave(1_000_000, 0);
    assert_eq!(table.enter(10, 5, 1, 1), Entry::Untracked);
}

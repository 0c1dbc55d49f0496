//! Rates against a plain reading of the algorithm, and under many threads.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is a failed test"
)]

mod memory;

use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use memory::Memory;
use proptest::prelude::*;
use xetway_shared::{Decision, Layout, Rate};

const SECOND: u64 = 1_000_000_000;

fn rate(interval_ns: u64, burst: u64) -> Rate {
    Rate {
        interval_ns,
        tolerance_ns: interval_ns * burst,
    }
}

/// A bucket that leaks: what is in it, in units times the interval, which is exact.
#[derive(Default)]
struct Leaky {
    level: i128,
    at_ns: u64,
}

impl Leaky {
    fn advance(&mut self, now_ns: u64) {
        self.level = (self.level - i128::from(now_ns - self.at_ns)).max(0);
        self.at_ns = now_ns;
    }

    fn take(&mut self, cost: u64, rate: Rate, now_ns: u64) -> Decision {
        self.advance(now_ns);
        let capacity = i128::from(rate.tolerance_ns);
        let wanted = i128::from(cost) * i128::from(rate.interval_ns);
        let over = self.level + wanted - capacity;
        let allowed = over <= 0;
        if allowed {
            self.level += wanted;
        }
        Decision {
            allowed,
            remaining: u64::try_from((capacity - self.level).max(0) / i128::from(rate.interval_ns)).unwrap(),
            retry_after_ns: match over {
                _ if allowed => 0,
                _ if wanted > capacity => u64::MAX,
                over => u64::try_from(over).unwrap(),
            },
            reset_ns: u64::try_from(self.level).unwrap(),
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Take(u64),
    Refund(u64),
    Charge(u64),
}

fn steps() -> impl Strategy<Value = Vec<(u64, u64, Step)>> {
    let step = prop_oneof![
        4 => (0..8_u64).prop_map(Step::Take),
        1 => (0..8_u64).prop_map(Step::Refund),
        1 => (0..8_u64).prop_map(Step::Charge),
    ];
    prop::collection::vec((0..5_u64, 0..3_000_u64, step), 1..200)
}

proptest! {
    #[test]
    fn decides_as_a_leaky_bucket_does(steps in steps(), interval in 1..1_000_u64, burst in 1..10_u64) {
        let memory = Memory::new(1);
        let rate = rate(interval, burst);
        let mut buckets: HashMap<u64, Leaky> = HashMap::new();
        let mut now = SECOND;
        for (name, pause, step) in steps {
            now += pause;
            let name = name + 100;
            let bucket = buckets.entry(name).or_default();
            bucket.advance(now);
            match step {
                Step::Take(cost) => {
                    prop_assert_eq!(memory.table().take(name, cost, rate, now), bucket.take(cost, rate, now));
                }
                Step::Refund(cost) => {
                    memory.table().refund(name, cost, interval, now);
                    bucket.level = (bucket.level - i128::from(cost * interval)).max(0);
                }
                Step::Charge(cost) => {
                    memory.table().charge(name, cost, interval, now);
                    bucket.level += i128::from(cost * interval);
                }
            }
        }
    }

    #[test]
    fn no_number_overflows(name: u64, cost: u64, interval_ns: u64, tolerance_ns: u64, now: u64) {
        let memory = Memory::new(1);
        let rate = Rate { interval_ns, tolerance_ns };
        memory.table().charge(name, cost, interval_ns, now);
        memory.table().take(name, cost, rate, now);
        memory.table().refund(name, cost, interval_ns, now);
        memory.table().take(name, 1, rate, now);
    }
}

#[test]
fn many_threads_take_exactly_what_there_is() {
    let memory = Memory::new(1);
    let limit = rate(SECOND / 1000, 10_000);
    let taken = threads(8, |_| {
        let table = memory.table();
        (0..5_000).filter(|_| table.take(77, 1, limit, SECOND).allowed).count()
    });
    assert_eq!(taken, 10_000);
}

#[test]
fn takes_and_refunds_of_many_threads_add_up() {
    let memory = Memory::new(1);
    let limit = rate(1_000, 1_000_000);
    threads(8, |_| {
        let table = memory.table();
        for _ in 0..5_000 {
            assert!(table.take(77, 3, limit, SECOND).allowed);
            table.charge(77, 2, limit.interval_ns, SECOND);
            table.refund(77, 4, limit.interval_ns, SECOND);
        }
        0
    });
    assert_eq!(
        memory.table().take(77, 0, limit, SECOND).remaining,
        1_000_000 - 8 * 5_000
    );
}

#[test]
fn names_that_come_and_go_under_many_threads_keep_one_bucket_each() {
    let memory = Memory::new(1);
    let limit = rate(1_000, 10);
    for round in 1..=300 {
        let now = round * SECOND;
        let counts: [AtomicU64; 7] = Default::default();
        threads(4, |thread| {
            for step in 0..7 * 20 {
                let way = (step + thread) % 7;
                if memory.table().take(round * 7 + way as u64, 1, limit, now).allowed {
                    counts[way].fetch_add(1, Ordering::Relaxed);
                }
            }
            0
        });
        assert_eq!(counts.map(AtomicU64::into_inner), [10; 7], "round {round}");
    }
}

#[test]
fn a_full_group_forgets_the_fullest_bucket() {
    let memory = Memory::new(1);
    let limit = rate(SECOND, 100);
    let table = memory.table();
    for name in 10..17 {
        assert!(table.take(name, name, limit, SECOND).allowed);
    }
    assert_eq!(table.take(99, 50, limit, SECOND).remaining, 50);
    assert_eq!(table.take(10, 0, limit, SECOND).remaining, 100);
    for name in 11..17 {
        assert_eq!(table.take(name, 0, limit, SECOND).remaining, 100 - name);
    }
}

#[test]
fn a_full_bucket_takes_no_slot() {
    let memory = Memory::new(1);
    let limit = rate(SECOND, 100);
    let table = memory.table();
    for name in 10..17 {
        table.take(name, 50, limit, SECOND);
    }
    for name in 1_000..1_100 {
        assert!(!table.take(name, 101, limit, SECOND).allowed);
        assert_eq!(table.take(name, 0, limit, SECOND).remaining, 100);
        table.refund(name, 5, limit.interval_ns, SECOND);
    }
    for name in 10..17 {
        assert_eq!(table.take(name, 0, limit, SECOND).remaining, 50);
    }
}

#[test]
fn a_lock_left_behind_is_taken_a_second_later() {
    let memory = Memory::new(1);
    let limit = rate(SECOND, 1);
    let lock = &memory.words()[8];
    lock.store(SECOND, Ordering::Relaxed);
    // Without a slot nothing is limited.
    assert!(memory.table().take(50, 1, limit, SECOND).allowed);
    assert!(memory.table().take(50, 1, limit, SECOND).allowed);
    assert!(memory.table().take(50, 1, limit, 3 * SECOND).allowed);
    assert!(!memory.table().take(50, 1, limit, 3 * SECOND).allowed);
    assert_eq!(lock.load(Ordering::Relaxed), 0);
}

#[test]
fn names_spread_over_groups() {
    let memory = Memory::of(Layout {
        workers: 1,
        buckets: 7_000,
        gates: 1,
        counters: 0,
        words: 0,
    });
    let limit = rate(SECOND, 5);
    let table = memory.table();
    let names: Vec<u64> = (0..2_000)
        .map(|number: u32| table.name(&number.to_le_bytes()))
        .collect();
    for name in &names {
        table.take(*name, 5, limit, SECOND);
    }
    let kept = names
        .iter()
        .filter(|name| !table.take(**name, 1, limit, SECOND).allowed)
        .count();
    assert!(kept > 1_990, "{kept} of 2000");
}

fn threads(count: usize, work: impl Fn(usize) -> usize + Sync) -> usize {
    let start = Barrier::new(count);
    let run = &|number| {
        start.wait();
        work(number)
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..count).map(|number| scope.spawn(move || run(number))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

//! Many threads ask for the pool at the same time.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics is a test that fails"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use rayon::ThreadPool;
use xetway_pool::pool;

const THREADS: usize = 6;

#[test]
fn all_get_the_same_pool_and_it_works_for_all_of_them() {
    let (start, done) = (Barrier::new(THREADS), AtomicUsize::new(0));
    let ask = || {
        start.wait();
        let pool = pool().unwrap();
        pool.scope(|scope| {
            for _ in 0..2 * THREADS {
                scope.spawn(|_| {
                    done.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        pool
    };
    let pools: Vec<Arc<ThreadPool>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(pools.iter().all(|pool| Arc::ptr_eq(pool, &pools[0])));
    assert_eq!(done.into_inner(), 2 * THREADS * THREADS);
}

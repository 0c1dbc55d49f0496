//! Threads for work that burns CPU: one pool for the process, as many threads as cores, and never
//! those that serve connections.
//!
//! Whoever blocks a thread of it holds up all others: local files may be read here, but nothing is
//! waited for that another task or the network has to bring.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use rayon::{ThreadPool, ThreadPoolBuilder};

/// The pool of one process, which is beside its parent's: threads do not survive a fork, and waiting for
/// those of the parent would never end.
///
/// Without a lock: one that another thread holds when the process forks is never released in the child.
#[derive(Default)]
struct Slot {
    builder: AtomicU32,
    made: OnceLock<(u32, Arc<ThreadPool>)>,
    child: OnceLock<Box<Self>>,
}

/// Return the pool of this process, or nothing if no thread could be started; then work is done in place.
pub fn pool() -> Option<Arc<ThreadPool>> {
    static FIRST: Slot = Slot {
        builder: AtomicU32::new(0),
        made: OnceLock::new(),
        child: OnceLock::new(),
    };
    let this = process::id();
    let mut slot = &FIRST;
    loop {
        match slot.made.get() {
            Some((owner, pool)) if *owner == this => return Some(Arc::clone(pool)),
            Some(_) => slot = slot.child.get_or_init(Box::default),
            None if slot.builder.swap(this, Ordering::Relaxed) == this => thread::yield_now(),
            None => {
                let threads = ThreadPoolBuilder::new().thread_name(|index| format!("xetway-compute-{index}"));
                let Ok(pool) = threads.build() else {
                    slot.builder.store(0, Ordering::Relaxed);
                    return None;
                };
                let _ = slot.made.set((this, Arc::new(pool)));
            }
        }
    }
}

//! Threads for work that burns CPU: one pool for the process, as many threads as cores, and never
//! those that serve connections.
//!
//! Whoever blocks a thread of it holds up all others: local files may be read here, but nothing is
//! waited for that another task or the network has to bring.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// Return the pool of this process, or nothing if no thread could be started; then work is done in place.
pub fn pool() -> Option<Arc<ThreadPool>> {
    static POOL: Mutex<Option<(u32, Arc<ThreadPool>)>> = Mutex::new(None);
    let mut made = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let this = process::id();
    if let Some((owner, pool)) = &*made
        && *owner == this
    {
        return Some(Arc::clone(pool));
    }
    let threads = ThreadPoolBuilder::new().thread_name(|index| format!("xetway-compute-{index}"));
    let pool = Arc::new(threads.build().ok()?);
    // Threads do not survive a fork: waiting for those of the parent would never end.
    std::mem::forget(made.replace((this, Arc::clone(&pool))));
    Some(pool)
}

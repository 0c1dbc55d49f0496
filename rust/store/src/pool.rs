//! Threads for work that burns CPU: as many as cores.

use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// The pool of this process, or nothing if no thread could be started; then work is done in place.
pub(crate) fn pool() -> Option<Arc<ThreadPool>> {
    static POOL: Mutex<Option<(u32, Arc<ThreadPool>)>> = Mutex::new(None);
    let mut made = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let this = process::id();
    if let Some((owner, pool)) = &*made
        && *owner == this
    {
        return Some(Arc::clone(pool));
    }
    let threads = ThreadPoolBuilder::new().thread_name(|index| format!("xetway-store-{index}"));
    let pool = Arc::new(threads.build().ok()?);
    // Threads do not survive a fork: waiting for those of the parent would never end.
    std::mem::forget(made.replace((this, Arc::clone(&pool))));
    Some(pool)
}

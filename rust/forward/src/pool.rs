//! Connections that wait for a request: the one used last is used next, so that the others grow old and go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::exchange::Link;

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// How often those are looked for that are too old, or that the upstream has ended.
const SWEEP: Duration = Duration::from_secs(5);

/// There are never more of them than there were requests at once.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<Vec<(Link, Instant)>>,
    swept: AtomicBool,
}

impl Pool {
    /// Return a connection that lives, as far as is known.
    pub(crate) fn take(&self) -> Option<Link> {
        let mut idle = self.idle();
        while let Some((mut link, _)) = idle.pop() {
            if link.is_idle() {
                return Some(link);
            }
        }
        None
    }

    /// Keep a connection, if it can be used again.
    pub(crate) fn put(self: &Arc<Self>, mut link: Link) {
        if !link.is_idle() {
            return;
        }
        self.idle().push((link, Instant::now()));
        if !self.swept.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.idle().len()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Link, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Let go of what is old or dead, until nothing is left or nobody has the pool.
async fn sweep(pool: Weak<Pool>) {
    loop {
        sleep(SWEEP).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle();
        idle.retain_mut(|(link, since)| since.elapsed() < IDLE && link.is_idle());
        if idle.is_empty() {
            pool.swept.store(false, Ordering::Relaxed);
            return;
        }
    }
}

//! Seven names that share a line: its first word is a lock for putting names in, the others are the names.
//!
//! Who finds a name needs no lock. Who puts one in holds it for some tens of nanoseconds; when that process is killed
//! there, others take the lock a second later, and until then they do without after a short wait.

use std::hint;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Names in a group.
pub(crate) const WAYS: usize = 7;
/// A slot that never had a name.
pub(crate) const EMPTY: u64 = 0;
/// A slot that is losing its name.
pub(crate) const RETIRED: u64 = 1;

const ABANDONED_NS: u64 = 1_000_000_000;
const SPINS: u32 = 200;
const NAPS: u32 = 200;
const NAP: Duration = Duration::from_micros(50);

/// The hash as a name: those with a meaning of their own are moved away.
pub(crate) fn usable(hash: u64) -> u64 {
    if hash <= RETIRED { hash + 2 } else { hash }
}

/// Which of `groups` a name belongs to.
pub(crate) fn home(name: u64, groups: usize) -> usize {
    let scaled = (u128::from(name) * groups as u128) >> 64;
    usize::try_from(scaled).unwrap_or_default()
}

/// A short wait for another process; false when there were enough of them.
pub(crate) fn wait(attempt: u32) -> bool {
    if attempt < SPINS {
        hint::spin_loop();
    } else {
        thread::sleep(NAP);
    }
    attempt < SPINS + NAPS
}

/// The right to put names into a group, given back when dropped.
pub(crate) struct Claim<'a> {
    lock: &'a AtomicU64,
    stamp: u64,
}

impl<'a> Claim<'a> {
    /// Take the lock, or give up after some milliseconds.
    pub(crate) fn take(lock: &'a AtomicU64, now_ns: u64) -> Option<Self> {
        let stamp = now_ns.max(1);
        let mut attempt = 0;
        loop {
            let held = lock.load(Ordering::Relaxed);
            let is_free = held == 0 || now_ns.saturating_sub(held) > ABANDONED_NS;
            if is_free
                && lock
                    .compare_exchange(held, stamp, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
            {
                return Some(Self { lock, stamp });
            }
            if !wait(attempt) {
                return None;
            }
            attempt += 1;
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // Fails where another process took it for abandoned.
        let _ = self
            .lock
            .compare_exchange(self.stamp, 0, Ordering::Release, Ordering::Relaxed);
    }
}

//! How much the cache holds: counted once, kept up to date by each change.
//!
//! Changes that happen during the count are in it once or twice, and what another process deletes is
//! not noticed before the next count; both matter little, since each search for what to evict counts
//! anew.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Counters {
    bytes: AtomicU64,
    xorbs: AtomicU64,
    plain_files: AtomicU64,
    complete: AtomicBool,
}

/// What a count found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) bytes: u64,
    pub(crate) xorbs: u64,
    pub(crate) plain_files: u64,
}

impl Counters {
    pub(crate) fn set(&self, counted: Counted) {
        self.bytes.store(counted.bytes, Ordering::Relaxed);
        self.xorbs.store(counted.xorbs, Ordering::Relaxed);
        self.plain_files.store(counted.plain_files, Ordering::Relaxed);
        self.complete.store(true, Ordering::Release);
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    pub(crate) fn get(&self) -> Counted {
        Counted {
            bytes: self.bytes.load(Ordering::Relaxed),
            xorbs: self.xorbs.load(Ordering::Relaxed),
            plain_files: self.plain_files.load(Ordering::Relaxed),
        }
    }

    /// Note that a file, or several, took `before` bytes and now take `after`.
    pub(crate) fn resized(&self, before: u64, after: u64) {
        adjust(&self.bytes, before, after);
    }

    /// Note that there were `before` xorbs and now are `after`.
    pub(crate) fn xorbs(&self, before: u64, after: u64) {
        adjust(&self.xorbs, before, after);
    }

    /// Note that there were `before` plain files and now are `after`.
    pub(crate) fn plain_files(&self, before: u64, after: u64) {
        adjust(&self.plain_files, before, after);
    }
}

fn adjust(counter: &AtomicU64, before: u64, after: u64) {
    let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |value| {
        Some(value.saturating_add(after).saturating_sub(before))
    });
}

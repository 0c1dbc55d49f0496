//! Counters of a client.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests sent, redirects and retries included.
    pub requests: u64,
    /// Bytes of bodies received.
    pub bytes_in: u64,
    /// Bytes of bodies sent.
    pub bytes_out: u64,
    /// Attempts after a failed one.
    pub retries: u64,
    /// Answers with status 429.
    pub rate_limited: u64,
    /// Bodies given up because they came to a halt.
    pub stalled: u64,
    /// Bodies being read now.
    pub active: u64,
    /// Bodies that may be read at a time, now.
    pub concurrency: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) rate_limited: AtomicU64,
    pub(crate) stalled: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn snapshot(&self, active: usize, concurrency: usize) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            requests: read(&self.requests),
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
            retries: read(&self.retries),
            rate_limited: read(&self.rate_limited),
            stalled: read(&self.stalled),
            active: active as u64,
            concurrency: concurrency as u64,
        }
    }
}

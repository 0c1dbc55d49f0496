//! How far a transfer is, told to whoever wants to know.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How far a transfer is. All three only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgressEvent {
    /// Bytes of content done: written to the file, found there, or read from it.
    pub content_bytes: u64,
    /// Bytes that went over the network.
    pub network_bytes: u64,
    /// Size of the content.
    pub total_bytes: u64,
}

/// A function that is called about once a mebibyte, from any thread; it should return at once.
#[derive(Clone)]
pub struct Progress(pub Arc<dyn Fn(ProgressEvent) + Send + Sync>);

impl Progress {
    /// Wrap a function.
    pub fn new(tell: impl Fn(ProgressEvent) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

/// Counts of one transfer.
#[derive(Debug)]
pub(crate) struct Meter {
    progress: Option<Progress>,
    content_bytes: AtomicU64,
    network_bytes: AtomicU64,
    resumed_bytes: AtomicU64,
    total_bytes: AtomicU64,
}

impl Meter {
    pub(crate) fn new(progress: Option<Progress>, total_bytes: u64) -> Self {
        Self {
            progress,
            content_bytes: AtomicU64::new(0),
            network_bytes: AtomicU64::new(0),
            resumed_bytes: AtomicU64::new(0),
            total_bytes: AtomicU64::new(total_bytes),
        }
    }

    pub(crate) fn set_total(&self, bytes: u64) {
        self.total_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Count bytes from the network; told with the next content.
    pub(crate) fn received(&self, bytes: u64) {
        self.network_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Count content that is done, and tell.
    pub(crate) fn done(&self, bytes: u64) {
        self.content_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.tell();
    }

    /// Count content that was found on disk, and tell.
    pub(crate) fn resumed(&self, bytes: u64) {
        self.resumed_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.done(bytes);
    }

    pub(crate) fn tell(&self) {
        if let Some(Progress(tell)) = &self.progress {
            tell(ProgressEvent {
                content_bytes: self.content_bytes.load(Ordering::Relaxed),
                network_bytes: self.network_bytes.load(Ordering::Relaxed),
                total_bytes: self.total_bytes.load(Ordering::Relaxed),
            });
        }
    }

    pub(crate) fn network_bytes(&self) -> u64 {
        self.network_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn resumed_bytes(&self) -> u64 {
        self.resumed_bytes.load(Ordering::Relaxed)
    }
}

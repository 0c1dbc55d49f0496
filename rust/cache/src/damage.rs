//! What was found damaged on the disk while it was read: how often, and some of it by name.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Names remembered until they are taken; further ones are only counted.
const MAX_NAMES: usize = 64;

/// The record of a cache.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    count: AtomicU64,
    names: Mutex<Vec<String>>,
}

impl Damage {
    /// Note that `what` was found damaged, and dropped.
    pub(crate) fn note(&self, what: fmt::Arguments<'_>) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() < MAX_NAMES {
            names.push(what.to_string());
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

//! Values with threads or connections behind them, which do not survive a fork.

use std::process;

/// A value of the process that made it. A child made by a fork neither uses nor drops it: the threads
/// that would have to help, or that held its locks, do not exist there.
pub(crate) struct InProcess<T> {
    pid: u32,
    value: Option<T>,
}

impl<T> InProcess<T> {
    /// Tie `value` to this process.
    pub(crate) fn new(value: T) -> Self {
        Self {
            pid: process::id(),
            value: Some(value),
        }
    }

    /// Return the value, if it was made in this process.
    pub(crate) fn get(&self) -> Option<&T> {
        self.value.as_ref().filter(|_| self.pid == process::id())
    }
}

impl<T> Drop for InProcess<T> {
    fn drop(&mut self) {
        if self.pid != process::id() {
            std::mem::forget(self.value.take());
        }
    }
}

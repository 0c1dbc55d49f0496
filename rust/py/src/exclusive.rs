//! Objects with a position, such as readers and writers: one thread at a time, and a clear error for two.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};

use pyo3::prelude::*;

use crate::errors::state_error;

/// A value that threads take turns to use; taking it while another has it is a `StateError`.
pub(crate) struct Exclusive<T> {
    name: &'static str,
    value: Mutex<T>,
    abandoned: AtomicBool,
    close: fn(&mut T),
}

impl<T: Send> Exclusive<T> {
    /// Wrap `value`; `close` is what [`Self::abandon`] does to it.
    pub(crate) const fn new(name: &'static str, value: T, close: fn(&mut T)) -> Self {
        Self {
            name,
            value: Mutex::new(value),
            abandoned: AtomicBool::new(false),
            close,
        }
    }

    /// Use the value with the interpreter lock released.
    pub(crate) fn with<R: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut T) -> R + Send) -> PyResult<R> {
        self.with_attached(|value| py.detach(|| work(value)))
    }

    /// Use the value with the interpreter lock held.
    pub(crate) fn with_attached<R>(&self, work: impl FnOnce(&mut T) -> R) -> PyResult<R> {
        let mut guard = self.take()?;
        let result = work(&mut guard);
        drop(guard);
        if self.abandoned.load(Ordering::SeqCst) {
            self.close_now();
        }
        Ok(result)
    }

    /// Close the value now, or as soon as the thread that uses it is done. Never waits, never fails.
    pub(crate) fn abandon(&self, py: Python<'_>) {
        self.abandoned.store(true, Ordering::SeqCst);
        py.detach(|| self.close_now());
    }

    fn close_now(&self) {
        // If another thread holds it, that thread sees the flag when it lets go.
        if let Ok(mut value) = self.value.try_lock() {
            (self.close)(&mut value);
        }
    }

    fn take(&self) -> PyResult<MutexGuard<'_, T>> {
        self.value.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => state_error(self.name, "is in use by another thread"),
            TryLockError::Poisoned(_) => state_error(self.name, "is broken by an earlier failure"),
        })
    }
}

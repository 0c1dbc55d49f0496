//! Values with threads or connections behind them, which do not survive a fork.

use std::sync::{Mutex, PoisonError};
use std::{io, process};

use pyo3::prelude::*;

use crate::errors::state_error;

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

/// What a process starts when it is first needed, and again after a fork; ended when the interpreter ends.
///
/// Locked only by threads attached to the interpreter, which run no Python code meanwhile. A fork waits for
/// such threads, with or without an interpreter lock: a child never inherits it locked.
pub(crate) struct Started<T>(Mutex<State<T>>);

enum State<T> {
    /// Nothing was needed yet.
    Idle,
    Running(u32, T),
    /// The interpreter is about to end.
    Ended,
}

impl<T> Started<T> {
    /// Make one of which nothing was needed yet.
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(State::Idle))
    }

    /// Use what was started, or start it.
    pub(crate) fn with<R>(&self, start: impl FnOnce() -> io::Result<T>, using: impl FnOnce(&T) -> R) -> PyResult<R> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let this = process::id();
        match &*state {
            State::Running(pid, value) if *pid == this => return Ok(using(value)),
            State::Ended => return Err(state_error("network", "cannot be used any more: the interpreter ends")),
            State::Idle | State::Running(..) => {}
        }
        let value = start().map_err(|error| state_error("network", &format!("cannot start threads: {error}")))?;
        let used = using(&value);
        // Threads made before a fork do not exist here: waiting for them would never end.
        std::mem::forget(std::mem::replace(&mut *state, State::Running(this, value)));
        Ok(used)
    }

    /// Start nothing any more, and return what is to be ended.
    pub(crate) fn end(&self) -> Option<T> {
        let former = std::mem::replace(
            &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner),
            State::Ended,
        );
        match former {
            State::Running(pid, value) if pid == process::id() => Some(value),
            other => {
                std::mem::forget(other);
                None
            }
        }
    }
}

//! `ByteStream`: bytes in order, from the network or the mirror's cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

use crate::errors::{Raise, state_error};
use crate::future::into_future;
use crate::pieces::{PIECE_BYTES, Share, parts};
use crate::process::InProcess;
use crate::runtime::runtime;

/// What a stream reads from.
pub(crate) trait Source: Send {
    /// Return the next bytes, about `max_bytes`; `None` after the last.
    fn next(&mut self, max_bytes: usize) -> BoxFuture<'_, Result<Option<Bytes>, Raise>>;

    /// Return how many bytes are still to come.
    fn remaining(&self) -> u64;
}

#[pyclass(module = "xetway._native", frozen)]
pub(crate) struct ByteStream {
    shared: InProcess<Arc<Shared>>,
    runtime: Handle,
    proven: bool,
    share: Share,
}

struct Shared {
    /// Locked by the read that is under way.
    state: Arc<Mutex<State>>,
    remaining: AtomicU64,
    closed: AtomicBool,
    close: Notify,
}

enum State {
    Open(Box<dyn Source>),
    /// Read to its end.
    Ended,
    /// Failed, closed, or left by a read that was cancelled.
    Closed,
}

impl ByteStream {
    pub(crate) fn new(py: Python<'_>, source: impl Source + 'static, proven: bool) -> PyResult<Self> {
        let shared = Shared {
            remaining: AtomicU64::new(source.remaining()),
            state: Arc::new(Mutex::new(State::Open(Box::new(source)))),
            closed: AtomicBool::new(false),
            close: Notify::new(),
        };
        Ok(Self {
            shared: InProcess::new(Arc::new(shared)),
            runtime: runtime(py)?,
            proven,
            share: Share::new(),
        })
    }

    /// Read a piece, and make something of it.
    fn next<'py>(
        &self,
        py: Python<'py>,
        max_bytes: usize,
        make: fn(Python<'_>, &[u8]) -> PyResult<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Some(shared) = self.shared.get().map(Arc::clone) else {
            return Err(state_error("stream", "was opened by another process"));
        };
        let Ok(state) = Arc::clone(&shared.state).try_lock_owned() else {
            return Err(state_error("stream", "is being read already"));
        };
        into_future(
            py,
            async move { shared.read(state, max_bytes).await },
            move |py, outcome| match outcome {
                Ok(piece) => make(py, &piece),
                Err(Stop::Closed) => Err(state_error("stream", "is closed")),
                Err(Stop::Failed(raise)) => Err(raise(py)),
            },
        )
    }
}

/// What a read may end with besides bytes.
enum Stop {
    Closed,
    Failed(Raise),
}

impl Shared {
    async fn read(&self, mut state: OwnedMutexGuard<State>, max_bytes: usize) -> Result<Bytes, Stop> {
        // Taken out: if this is dropped on the way, so is the source.
        let mut source = match std::mem::replace(&mut *state, State::Closed) {
            State::Open(source) => source,
            State::Ended => {
                *state = State::Ended;
                return Ok(Bytes::new());
            }
            State::Closed => return Err(Stop::Closed),
        };
        let next = tokio::select! {
            biased;
            () = self.close.notified() => return Err(Stop::Closed),
            next = source.next(max_bytes) => next,
        };
        match next {
            Ok(Some(piece)) => {
                self.remaining.store(source.remaining(), Ordering::Relaxed);
                *state = State::Open(source);
                Ok(piece)
            }
            Ok(None) => {
                self.remaining.store(0, Ordering::Relaxed);
                *state = State::Ended;
                Ok(Bytes::new())
            }
            Err(raise) => Err(Stop::Failed(raise)),
        }
    }
}

#[pymethods]
impl ByteStream {
    fn read<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.next(py, PIECE_BYTES, |py, piece| {
            Ok(PyBytes::new(py, piece).into_any().unbind())
        })
    }

    fn read_parts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.next(py, self.share.next_bytes(), |py, piece| {
            Ok(parts(py, piece)?.into_any().unbind())
        })
    }

    #[getter]
    fn remaining(&self) -> u64 {
        let shared = self.shared.get();
        shared.map_or(0, |shared| shared.remaining.load(Ordering::Relaxed))
    }

    #[getter]
    fn proven(&self) -> bool {
        self.proven
    }

    fn close(&self) {
        let Some(shared) = self.shared.get() else { return };
        if shared.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        // A read that is under way sees this, whoever comes later finds the state.
        shared.close.notify_one();
        let state = Arc::clone(&shared.state);
        // Sources end their own tasks when they are dropped, for which they need the runtime.
        self.runtime.spawn(async move {
            let mut state = state.lock().await;
            if matches!(*state, State::Open(_)) {
                *state = State::Closed;
            }
        });
    }
}

impl Drop for ByteStream {
    fn drop(&mut self) {
        self.close();
    }
}

//! Progress functions: called in the event loop with the newest numbers, and not too often.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use tokio::runtime::Handle;

use crate::future::{call_soon, running_loop};
use crate::runtime::{Courier, engine};

/// Least time between two calls.
const INTERVAL: Duration = Duration::from_millis(50);

/// A Python function of `N` numbers that wants to know how far something is.
#[derive(Clone)]
pub(crate) struct Progress<const N: usize>(Option<Arc<Inner<N>>>);

struct Inner<const N: usize> {
    event_loop: Py<PyAny>,
    function: Py<PyAny>,
    runtime: Handle,
    courier: Courier,
    told: Mutex<Told<N>>,
}

struct Told<const N: usize> {
    newest: [u64; N],
    sent: Option<[u64; N]>,
    sent_at: Option<Instant>,
    /// The newest will be sent without another word.
    is_due: bool,
}

impl<const N: usize> Progress<N> {
    /// Bind `function`, if there is one, to the running loop.
    pub(crate) fn new(py: Python<'_>, function: Option<Py<PyAny>>) -> PyResult<Self> {
        let Some(function) = function else {
            return Ok(Self(None));
        };
        let (runtime, courier) = engine(py)?;
        let told = Told {
            newest: [0; N],
            sent: None,
            sent_at: None,
            is_due: false,
        };
        Ok(Self(Some(Arc::new(Inner {
            event_loop: running_loop(py)?.unbind(),
            function,
            runtime,
            courier,
            told: Mutex::new(told),
        }))))
    }

    /// Say whether anyone wants to know.
    pub(crate) fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Note how far it is. Never waits.
    pub(crate) fn tell(&self, numbers: [u64; N]) {
        let Some(inner) = &self.0 else { return };
        let mut told = inner.told();
        // Threads may overtake each other; what is done stays done.
        for (newest, number) in told.newest.iter_mut().zip(numbers) {
            *newest = number.max(*newest);
        }
        let since = told.sent_at.map_or(INTERVAL, |sent_at| sent_at.elapsed());
        if since >= INTERVAL {
            Inner::send(inner, &mut told);
        } else if !told.is_due {
            told.is_due = true;
            let inner = Arc::clone(inner);
            Inner::send_in(inner, INTERVAL.saturating_sub(since));
        }
    }

    /// Tell the last numbers, if they were not told yet. What is delivered later comes after them.
    pub(crate) fn finish(&self) {
        let Some(inner) = &self.0 else { return };
        Inner::send(inner, &mut inner.told());
    }
}

impl<const N: usize> Inner<N> {
    fn told(&self) -> MutexGuard<'_, Told<N>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send_in(inner: Arc<Self>, pause: Duration) {
        let runtime = inner.runtime.clone();
        runtime.spawn(async move {
            tokio::time::sleep(pause).await;
            let mut told = inner.told();
            told.is_due = false;
            Self::send(&inner, &mut told);
        });
    }

    fn send(self: &Arc<Self>, told: &mut Told<N>) {
        if told.sent == Some(told.newest) || (told.sent.is_none() && told.newest == [0; N]) {
            return;
        }
        told.sent = Some(told.newest);
        told.sent_at = Some(Instant::now());
        let (inner, numbers) = (Arc::clone(self), told.newest);
        self.courier.send(move |py| {
            let call = Call {
                function: inner.function.clone_ref(py),
                numbers: numbers.to_vec(),
            };
            // An error means that the loop was closed: then nobody wants to know.
            let _ = call_soon(inner.event_loop.bind(py), call);
        });
    }
}

/// Called in the loop. What the function raises goes to the loop's exception handler.
#[pyclass(frozen)]
struct Call {
    function: Py<PyAny>,
    numbers: Vec<u64>,
}

#[pymethods]
impl Call {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let numbers = PyTuple::new(py, &self.numbers)?;
        self.function.call1(py, numbers).map(drop)
    }
}

//! Rust futures as asyncio futures.
//!
//! The work runs on the runtime, its result is handed to the event loop that asked. Cancelling the
//! asyncio future drops the work.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tokio::task::AbortHandle;

use crate::errors::internal_error;
use crate::runtime::engine;

/// Run `work` and return an asyncio future of the running loop for what `finish` makes of its result.
pub(crate) fn into_future<R: Send + 'static>(
    py: Python<'_>,
    work: impl Future<Output = R> + Send + 'static,
    finish: impl FnOnce(Python<'_>, R) -> PyResult<Py<PyAny>> + Send + 'static,
) -> PyResult<Bound<'_, PyAny>> {
    let event_loop = running_loop(py)?;
    let future = event_loop.call_method0("create_future")?;
    let (event_loop, waiting) = (event_loop.unbind(), future.clone().unbind());
    let (handle, courier) = engine(py)?;
    let task = handle.spawn(async move {
        let result = AssertUnwindSafe(work).catch_unwind().await;
        courier.send(move |py| {
            let finished = result.and_then(|result| catch_unwind(AssertUnwindSafe(|| finish(py, result))));
            let outcome = finished.unwrap_or_else(|_panic| Err(internal_error()));
            settle(py, &event_loop, waiting, outcome);
        });
    });
    future.call_method1("add_done_callback", (Canceller(task.abort_handle()),))?;
    Ok(future)
}

/// Return the event loop that runs in this thread.
pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    GET.import(py, "asyncio", "get_running_loop")?.call0()
}

/// Have `callable` called in the loop, soon.
pub(crate) fn call_soon<'py>(
    event_loop: &Bound<'py, PyAny>,
    callable: impl IntoPyObject<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    event_loop.call_method1("call_soon_threadsafe", (callable,))
}

fn settle(py: Python<'_>, event_loop: &Py<PyAny>, future: Py<PyAny>, outcome: PyResult<Py<PyAny>>) {
    // An error means that the loop was closed: then nobody waits.
    let _ = call_soon(event_loop.bind(py), Settlement { future, outcome });
}

/// Called in the loop; leaves alone what was cancelled before.
#[pyclass(frozen)]
struct Settlement {
    future: Py<PyAny>,
    outcome: PyResult<Py<PyAny>>,
}

#[pymethods]
impl Settlement {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let future = self.future.bind(py);
        if future.call_method0("done")?.is_truthy()? {
            return Ok(());
        }
        match &self.outcome {
            Ok(value) => future.call_method1("set_result", (value,))?,
            Err(error) => future.call_method1("set_exception", (error.value(py),))?,
        };
        Ok(())
    }
}

/// Called with the future when it is done.
#[pyclass(frozen)]
struct Canceller(AbortHandle);

#[pymethods]
impl Canceller {
    fn __call__(&self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        if future.call_method0("cancelled")?.is_truthy()? {
            self.0.abort();
        }
        Ok(())
    }
}

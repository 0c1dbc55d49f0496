//! `Answer`: what an upstream answered.

use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use xetway_forward::HeaderMap;

use super::queue::{Arrived, Content, promise, settle};
use super::stream::{Seen, Stream, Taken};
use crate::errors::state_error;
use crate::future::running_loop;
use crate::process::InProcess;

#[pyclass(module = "xetway._native", frozen)]
pub(super) struct Answer {
    #[pyo3(get)]
    status: u16,
    headers: HeaderMap,
    #[pyo3(get)]
    until_close: bool,
    head_s: f64,
    body: Body,
}

enum Body {
    Whole(Py<PyBytes>),
    Stream(InProcess<Arc<Stream>>),
}

impl Answer {
    pub(super) fn new(py: Python<'_>, arrived: Arrived) -> Self {
        Self {
            status: arrived.status,
            headers: arrived.headers,
            until_close: arrived.until_close,
            head_s: arrived.head_s,
            body: match arrived.body {
                Content::Whole(body) => Body::Whole(PyBytes::new(py, &body).unbind()),
                Content::Stream(stream) => Body::Stream(InProcess::new(stream)),
            },
        }
    }

    fn stream(&self) -> PyResult<Option<&Arc<Stream>>> {
        match &self.body {
            Body::Whole(_) => Ok(None),
            Body::Stream(stream) => match stream.get() {
                Some(stream) => Ok(Some(stream)),
                None => Err(state_error("answer", "belongs to another process")),
            },
        }
    }

    /// Return what was seen of the body, and when its first byte came.
    fn seen(&self, py: Python<'_>) -> PyResult<(Seen, Option<f64>)> {
        if let Some(stream) = self.stream()? {
            return Ok(stream.seen());
        }
        let mut seen = Seen::default();
        if let Body::Whole(body) = &self.body {
            seen.note(body.as_bytes(py));
        }
        Ok((seen, Some(self.head_s)))
    }

    fn end(&self) {
        if let Body::Stream(stream) = &self.body
            && let Some(stream) = stream.get()
        {
            stream.close();
        }
    }
}

#[pymethods]
impl Answer {
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let pairs = self.headers.iter();
        let bytes = |bytes| PyBytes::new(py, bytes);
        PyList::new(
            py,
            pairs
                .map(|(name, value)| (bytes(name.as_str().as_bytes()), bytes(value.as_bytes())))
                .collect::<Vec<_>>(),
        )
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Option<&Bound<'py, PyBytes>> {
        match &self.body {
            Body::Whole(body) => Some(body.bind(py)),
            Body::Stream(_) => None,
        }
    }

    #[getter]
    fn first_byte_s(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        Ok(self.seen(py)?.1)
    }

    #[getter]
    fn events(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.seen(py)?.0.events)
    }

    #[getter]
    fn tail<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.seen(py)?.0.tail()))
    }

    fn read<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let event_loop = running_loop(py)?;
        let Some(stream) = self.stream()? else {
            return Err(state_error("answer", "has its whole body already"));
        };
        match stream.data(py, false) {
            Ok(None) => {
                let (future, ticket) = promise(&event_loop, Arc::clone(&stream.control))?;
                stream.wait(ticket);
                Ok(future)
            }
            Ok(Some(data)) => done(&event_loop, Ok(data)),
            Err(error) => done(&event_loop, Err(error)),
        }
    }

    fn close(&self) {
        self.end();
    }

    fn __repr__(&self) -> String {
        format!("Answer(status={})", self.status)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.end();
    }
}

fn done<'py>(event_loop: &Bound<'py, PyAny>, outcome: PyResult<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
    let future = event_loop.call_method0(intern!(event_loop.py(), "create_future"))?;
    settle(&future, outcome)?;
    Ok(future)
}

impl Stream {
    /// Return the next bytes; nothing if there are none yet. `waited` as in [`Self::take`].
    pub(super) fn data<'py>(&self, py: Python<'py>, waited: bool) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.take(waited) {
            Taken::Data(data) => Ok(Some(PyBytes::new(py, &data).into_any())),
            Taken::Failed(trouble) => Err(trouble.exception(py)),
            Taken::Nothing => Ok(None),
            Taken::Closed => Err(state_error("answer", "is closed")),
            Taken::Busy => Err(state_error("answer", "is being read already")),
        }
    }
}

//! `Forwarder`: requests to upstreams, and their answers.

mod answer;
mod job;
mod queue;
mod stream;
mod thread;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};
use xetway_forward::{Limits, Protocol, Request, RequestHeaders, Settings, Upstream as Inner};

use crate::errors::{OrRaise, setting_error};
use crate::future::running_loop;
use crate::http::{at_least_one, duration};
use crate::process::InProcess;
use job::{Control, Job};

#[pyclass(module = "xetway._native", frozen)]
struct Upstream {
    settings: Settings,
    host: Arc<str>,
    /// Locked only by threads attached to the interpreter, which run no Python code meanwhile.
    made: Mutex<InProcess<Inner>>,
}

impl Upstream {
    /// Return it; a new one in a process made by a fork, which has none of its connections.
    fn here(&self, py: Python<'_>) -> PyResult<Inner> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(upstream) = made.get() {
            return Ok(upstream.clone());
        }
        let upstream = Inner::new(&self.settings).or_raise(py)?;
        *made = InProcess::new(upstream.clone());
        Ok(upstream)
    }
}

#[pymethods]
impl Upstream {
    #[new]
    #[pyo3(signature = (url, *, http="1.1", ca_bundle=None, headers=Vec::new(), max_connections=1024,
        connect_timeout_s=5.0), text_signature = "(url, *, http='1.1', ca_bundle=None, headers=(), \
        max_connections=1024, connect_timeout_s=5.0)")]
    fn new(
        py: Python<'_>,
        url: String,
        http: &str,
        ca_bundle: Option<Vec<u8>>,
        headers: Vec<(Vec<u8>, Vec<u8>)>,
        max_connections: usize,
        connect_timeout_s: f64,
    ) -> PyResult<Self> {
        let protocol = match http {
            "1.1" => Protocol::Http1,
            "2" => Protocol::Http2,
            _ => return Err(setting_error(py, "http", "must be '1.1' or '2'")),
        };
        let settings = Settings {
            url,
            protocol,
            ca_bundle,
            headers,
            max_connections: at_least_one(py, "max_connections", max_connections)?,
            connect_timeout: duration(py, "connect_timeout_s", connect_timeout_s)?,
        };
        // Reads certificates.
        let made = py.detach(|| Inner::new(&settings)).or_raise(py)?;
        Ok(Self {
            host: Arc::clone(made.host()),
            settings,
            made: Mutex::new(InProcess::new(made)),
        })
    }

    #[getter]
    fn idle_connections(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.here(py)?.idle_connections())
    }

    fn __repr__(&self) -> String {
        format!("Upstream({})", self.host)
    }
}

#[pyclass(module = "xetway._native", frozen)]
struct Forwarder;

#[pymethods]
impl Forwarder {
    #[new]
    fn new() -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "Python calls it on objects")]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    #[pyo3(signature = (upstream, method, path_and_query, headers, body, *, extra=None, first_byte_timeout_s,
        idle_timeout_s, total_timeout_s))]
    fn send<'py>(
        &self,
        py: Python<'py>,
        upstream: &Bound<'py, Upstream>,
        method: &str,
        path_and_query: &[u8],
        headers: &Bound<'py, PyList>,
        body: &[u8],
        extra: Option<&Bound<'py, PyList>>,
        first_byte_timeout_s: f64,
        idle_timeout_s: f64,
        total_timeout_s: f64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let began = Instant::now();
        let event_loop = running_loop(py)?;
        let limits = Limits {
            first_byte: duration(py, "first_byte_timeout_s", first_byte_timeout_s)?,
            idle: duration(py, "idle_timeout_s", idle_timeout_s)?,
            total: duration(py, "total_timeout_s", total_timeout_s)?,
        };
        let mut taken = RequestHeaders::with_capacity(headers.len() + 4);
        each(headers, |name, value| taken.relay(name, value).or_raise(py))?;
        taken.end_of_client();
        if let Some(extra) = extra {
            each(extra, |name, value| taken.set(name, value).or_raise(py))?;
        }
        let path = Bytes::copy_from_slice(path_and_query);
        let request = Request::new(method, path, taken.into_map(), Bytes::copy_from_slice(body)).or_raise(py)?;
        let upstream = upstream.get().here(py)?;
        let queue = queue::queue_of(&event_loop)?;
        let (future, ticket) = queue::promise(&event_loop, Arc::new(Control::default()))?;
        let job = Job {
            upstream,
            request,
            limits,
            ticket,
            queue,
            began,
        };
        thread::submit(py, job)?;
        Ok(future)
    }
}

/// Call `take` with the names and values of headers.
fn each(headers: &Bound<'_, PyList>, mut take: impl FnMut(&[u8], &[u8]) -> PyResult<()>) -> PyResult<()> {
    for header in headers {
        let header = header.cast_into::<PyTuple>()?;
        let (name, value) = (header.get_item(0)?, header.get_item(1)?);
        take(name.cast::<PyBytes>()?.as_bytes(), value.cast::<PyBytes>()?.as_bytes())?;
    }
    Ok(())
}

/// Add these classes to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Upstream>()?;
    module.add_class::<answer::Answer>()?;
    module.add_class::<Forwarder>()
}

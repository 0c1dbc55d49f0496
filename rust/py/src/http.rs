//! `HttpClient`: what transfers share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use xetway_client::{Concurrency, Error, Http, Options, Request, Secret, StallPolicy};

use crate::buffer::Bytes as Buffer;
use crate::errors::{OrRaise, setting_error};
use crate::future::into_future;
use crate::process::InProcess;

pub(crate) type Headers = Vec<(String, String)>;

/// Mark header values as what may be secret.
pub(crate) fn secret(headers: Headers) -> Vec<(String, Secret)> {
    headers
        .into_iter()
        .map(|(name, value)| (name, Secret::new(value)))
        .collect()
}

pub(crate) fn duration(py: Python<'_>, name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| setting_error(py, name, &format!("must be a number of seconds: got {seconds}")))
}

pub(crate) fn at_least_one<N: PartialEq + Default>(py: Python<'_>, name: &str, number: N) -> PyResult<N> {
    if number == N::default() {
        return Err(setting_error(py, name, "must be at least 1: got 0"));
    }
    Ok(number)
}

#[pyclass(module = "xetway._native", frozen)]
pub(crate) struct HttpClient {
    options: Options,
    serial: u64,
    /// Locked only by threads attached to the interpreter.
    made: Mutex<InProcess<Http>>,
}

impl HttpClient {
    /// Return the client; a new one in a process made by a fork, which has none of its connections.
    pub(crate) fn http(&self, py: Python<'_>) -> PyResult<Http> {
        self.made_here().or_raise(py)
    }

    /// Runs no Python code with the lock held: who waits for it keeps the interpreter.
    fn made_here(&self) -> Result<Http, Error> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(http) = made.get() {
            return Ok(http.clone());
        }
        let http = Http::new(self.options.clone())?;
        *made = InProcess::new(http.clone());
        Ok(http)
    }

    /// Return a number that no other client of this process has.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }
}

#[pymethods]
impl HttpClient {
    #[new]
    #[pyo3(signature = (*, user_agent, ca_bundle=None, concurrency=None, rate_limit_bytes_s=None,
        max_in_flight_bytes=134_217_728, connect_timeout_s=10.0, stall_window_s=30.0, stall_min_bytes=65_536,
        attempts=6, connect_attempts=None, retry_base_s=0.5))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn new(
        py: Python<'_>,
        user_agent: String,
        ca_bundle: Option<PathBuf>,
        concurrency: Option<usize>,
        rate_limit_bytes_s: Option<u64>,
        max_in_flight_bytes: u64,
        connect_timeout_s: f64,
        stall_window_s: f64,
        stall_min_bytes: u64,
        attempts: u32,
        connect_attempts: Option<u32>,
        retry_base_s: f64,
    ) -> PyResult<Self> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let usual = Options::default();
        let concurrency = concurrency.map(|number| at_least_one(py, "concurrency", number));
        let rate_limit = rate_limit_bytes_s.map(|number| at_least_one(py, "rate_limit_bytes_s", number));
        let connect_attempts = connect_attempts.map(|number| at_least_one(py, "connect_attempts", number));
        let options = Options {
            user_agent,
            ca_bundle,
            concurrency: concurrency.transpose()?.map_or(usual.concurrency, Concurrency::Fixed),
            rate_limit_bytes_s: rate_limit.transpose()?,
            max_in_flight_bytes: at_least_one(py, "max_in_flight_bytes", max_in_flight_bytes)?,
            connect_timeout: duration(py, "connect_timeout_s", connect_timeout_s)?,
            stall: StallPolicy {
                window: duration(py, "stall_window_s", stall_window_s)?,
                min_bytes: stall_min_bytes,
            },
            attempts: at_least_one(py, "attempts", attempts)?,
            connect_attempts: connect_attempts.transpose()?,
            retry_base: duration(py, "retry_base_s", retry_base_s)?,
            ..usual
        };
        // Reads certificates.
        let http = py.detach(|| Http::new(options.clone())).or_raise(py)?;
        Ok(Self {
            options,
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            made: Mutex::new(InProcess::new(http)),
        })
    }

    #[pyo3(
        signature = (method, url, headers=Vec::new(), body=None, *, attempts=1, timeout_s=30.0,
            max_body_bytes=67_108_864, follow=false),
        text_signature = "($self, method, url, headers=(), body=b'', *, attempts=1, timeout_s=30.0, \
            max_body_bytes=67108864, follow=False)"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn request<'py>(
        &self,
        py: Python<'py>,
        method: String,
        url: String,
        headers: Headers,
        body: Option<Buffer>,
        attempts: u32,
        timeout_s: f64,
        max_body_bytes: u64,
        follow: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let request = Request {
            method,
            url,
            headers: secret(headers),
            body: body.map_or_else(Bytes::new, |body| Bytes::copy_from_slice(body.as_slice())),
            timeout: duration(py, "timeout_s", timeout_s)?,
            attempts: at_least_one(py, "attempts", attempts)?,
            max_body_bytes,
            long: false,
            follow,
        };
        let http = self.http(py)?;
        into_future(py, async move { http.request(request).await }, |py, answer| {
            let answer = answer.or_raise(py)?;
            let body = PyBytes::new(py, &answer.body);
            let whole = (answer.status, answer.headers, body, answer.url).into_pyobject(py)?;
            Ok(whole.into_any().unbind())
        })
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.http(py)?.stats();
        counters(
            py,
            &[
                ("requests", stats.requests),
                ("bytes_in", stats.bytes_in),
                ("bytes_out", stats.bytes_out),
                ("retries", stats.retries),
                ("rate_limited", stats.rate_limited),
                ("stalled", stats.stalled),
                ("active", stats.active),
                ("concurrency", stats.concurrency),
            ],
        )
    }
}

/// A dict of counters, in this order.
pub(crate) fn counters<'py>(py: Python<'py>, counters: &[(&str, u64)]) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in counters {
        dict.set_item(name, value)?;
    }
    Ok(dict)
}

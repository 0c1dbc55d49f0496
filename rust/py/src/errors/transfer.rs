//! Errors of transfers and of the cache. Matches without wildcard, as in the parent.

use std::fmt::Display;

use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};
use xetway_cache::Error as CacheProblem;
use xetway_client::{Error as ClientProblem, TransportKind};
use xetway_core::Error as FormatProblem;
use xetway_mirror::Error as MirrorProblem;

use super::{Problem, format_error, os_error, python, raise};

pub(super) mod remote {
    pyo3::import_exception!(xetway.errors, RemoteError);
    pyo3::import_exception!(xetway.errors, RateLimitedError);
    pyo3::import_exception!(xetway.errors, TransportError);
    pyo3::import_exception!(xetway.errors, TransportTimeoutError);
    pyo3::import_exception!(xetway.errors, UpstreamIntegrityError);
    pyo3::import_exception!(xetway.errors, ContentChangedError);
    pyo3::import_exception!(xetway.errors, NotCachedError);
    pyo3::import_exception!(xetway.errors, PlanLostError);
    pyo3::import_exception!(xetway.errors, StorageFullError);
}

/// What a server in the middle answers when another sent rubbish.
const BAD_GATEWAY: u16 = 502;

impl Problem for ClientProblem {
    fn exception(&self, py: Python<'_>) -> PyResult<PyErr> {
        client_error(py, self)
    }
}

impl Problem for MirrorProblem {
    fn exception(&self, py: Python<'_>) -> PyResult<PyErr> {
        mirror_error(py, self)
    }
}

impl Problem for CacheProblem {
    fn exception(&self, py: Python<'_>) -> PyResult<PyErr> {
        cache_error(py, self)
    }
}

fn client_error(py: Python<'_>, error: &ClientProblem) -> PyResult<PyErr> {
    let fields = PyDict::new(py);
    match error {
        ClientProblem::Config { .. } => {
            fields.set_item("code", error.code())?;
            raise::<python::ConfigError>(py, error, &fields)
        }
        ClientProblem::Transport { kind, host, .. } => {
            fields.set_item("code", error.code())?;
            fields.set_item("host", host)?;
            fields.set_item("retryable", error.is_retryable())?;
            match kind {
                TransportKind::ConnectTimeout | TransportKind::Timeout | TransportKind::Stalled => {
                    raise::<remote::TransportTimeoutError>(py, error, &fields)
                }
                TransportKind::Dns
                | TransportKind::NoSuchHost
                | TransportKind::Connect
                | TransportKind::Tls
                | TransportKind::Proxy
                | TransportKind::ProxyAuth
                | TransportKind::Cut
                | TransportKind::Protocol => raise::<remote::TransportError>(py, error, &fields),
            }
        }
        ClientProblem::Status {
            status,
            host: _,
            code,
            message: _,
            request_id,
            retry_after_s,
        } => {
            fields.set_item("remote_status", status)?;
            fields.set_item("request_id", request_id)?;
            fields.set_item("retryable", error.is_retryable())?;
            fields.set_item("hub_code", code)?;
            if *status == 429 {
                fields.set_item("retry_after_s", retry_after_s)?;
                return raise::<remote::RateLimitedError>(py, error, &fields);
            }
            fields.set_item("code", error.code())?;
            fields.set_item("status", status_for_callers(*status))?;
            raise::<remote::RemoteError>(py, error, &fields)
        }
        // The range is the caller's, the bytes are not.
        ClientProblem::Format(cause @ FormatProblem::RangeOutside { .. }) => format_error(py, cause, None),
        ClientProblem::Format(cause) => format_error(py, cause, Some(BAD_GATEWAY)),
        ClientProblem::Integrity { expected, actual, .. } => upstream_integrity(py, error, expected, actual),
        ClientProblem::Io { source, .. } => Ok(os_error(py, source, &error.to_string(), None)),
        ClientProblem::Cancelled => {
            fields.set_item("code", error.code())?;
            raise::<python::StateError>(py, error, &fields)
        }
    }
}

/// Pass on what concerns the caller or is worth waiting for; the rest is between the servers.
const fn status_for_callers(status: u16) -> u16 {
    match status {
        401 | 403 | 404 | 410 | 416 | 451 | 503 | 504 => status,
        _ => BAD_GATEWAY,
    }
}

fn cache_error(py: Python<'_>, error: &CacheProblem) -> PyResult<PyErr> {
    let fields = PyDict::new(py);
    match error {
        CacheProblem::Format(cause) => format_error(py, cause, None),
        CacheProblem::Integrity { expected, actual, .. }
        | CacheProblem::Conflict {
            known: expected,
            actual,
            ..
        } => upstream_integrity(py, error, expected, actual),
        CacheProblem::Full { .. } => raise::<remote::StorageFullError>(py, error, &fields),
        CacheProblem::InUse => {
            fields.set_item("code", error.code())?;
            raise::<python::ConfigError>(py, error, &fields)
        }
        CacheProblem::State { .. } => {
            fields.set_item("code", error.code())?;
            raise::<python::StateError>(py, error, &fields)
        }
        CacheProblem::Io { source, .. } => Ok(os_error(py, source, &error.to_string(), None)),
    }
}

fn mirror_error(py: Python<'_>, error: &MirrorProblem) -> PyResult<PyErr> {
    let fields = PyDict::new(py);
    match error {
        MirrorProblem::Client(cause) => client_error(py, cause),
        MirrorProblem::Cache(cause) => cache_error(py, cause),
        MirrorProblem::NotCached { .. } => raise::<remote::NotCachedError>(py, error, &fields),
        MirrorProblem::PlanLost { .. } => raise::<remote::PlanLostError>(py, error, &fields),
        MirrorProblem::ContentChanged { .. } => raise::<remote::ContentChangedError>(py, error, &fields),
        MirrorProblem::UpstreamIntegrity { expected, actual, .. } => upstream_integrity(py, error, expected, actual),
        &MirrorProblem::RangeOutside { start, end, size } => {
            format_error(py, &FormatProblem::RangeOutside { start, end, size }, None)
        }
    }
}

fn upstream_integrity(py: Python<'_>, error: &impl Display, expected: &str, actual: &str) -> PyResult<PyErr> {
    let fields = [("expected", expected), ("actual", actual)].into_py_dict(py)?;
    raise::<remote::UpstreamIntegrityError>(py, error, &fields)
}

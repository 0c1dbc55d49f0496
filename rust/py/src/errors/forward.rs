//! Errors of forwarding. Matches without wildcard, as in the parent.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use xetway_forward::{Error, Kind};

use super::transfer::remote;
use super::{Problem, argument_error, raise, setting_error};

/// What a server in the middle answers when it has no connection left.
const UNAVAILABLE: u16 = 503;

impl Problem for Error {
    fn exception(&self, py: Python<'_>) -> PyResult<PyErr> {
        let (kind, host) = match self {
            Self::Setting { what, message } => return Ok(setting_error(py, what, message)),
            Self::Request { message } => return Ok(argument_error(py, "http", self.code(), message)),
            Self::Transport { kind, host, .. } => (kind, host),
        };
        let fields = PyDict::new(py);
        fields.set_item("code", self.code())?;
        fields.set_item("host", host.as_ref())?;
        fields.set_item("retryable", self.is_retryable())?;
        match kind {
            Kind::Busy => {
                fields.set_item("status", UNAVAILABLE)?;
                raise::<remote::TransportTimeoutError>(py, self, &fields)
            }
            Kind::ConnectTimeout | Kind::FirstByteTimeout | Kind::Stalled | Kind::TotalTimeout => {
                raise::<remote::TransportTimeoutError>(py, self, &fields)
            }
            Kind::Dns | Kind::Connect | Kind::Tls | Kind::Reset | Kind::Cut | Kind::Malformed | Kind::HeadTooLarge => {
                raise::<remote::TransportError>(py, self, &fields)
            }
        }
    }
}

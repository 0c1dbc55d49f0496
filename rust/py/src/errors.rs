//! Rust errors to the exceptions that `xetway.errors` defines.
//!
//! The matches have no wildcard: a new variant does not build until it is mapped.

mod forward;
mod transfer;

use std::fmt::Display;
use std::io;
use std::path::Path;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};
use xetway_core::Error as FormatProblem;
use xetway_store::Error as StoreProblem;

mod python {
    pyo3::import_exception!(xetway.errors, XetwayError);
    pyo3::import_exception!(xetway.errors, FormatError);
    pyo3::import_exception!(xetway.errors, TruncatedError);
    pyo3::import_exception!(xetway.errors, IntegrityError);
    pyo3::import_exception!(xetway.errors, StoreCorruptionError);
    pyo3::import_exception!(xetway.errors, ConfigError);
    pyo3::import_exception!(xetway.errors, StateError);
}

/// An error of one of our crates.
pub(crate) trait Problem {
    /// Make the exception for it, or the one that tells why that failed.
    fn exception(&self, py: Python<'_>) -> PyResult<PyErr>;
}

impl Problem for FormatProblem {
    fn exception(&self, py: Python<'_>) -> PyResult<PyErr> {
        format_error(py, self, None)
    }
}

impl Problem for StoreProblem {
    fn exception(&self, py: Python<'_>) -> PyResult<PyErr> {
        store_error(py, self)
    }
}

/// Turn the error of a `Result` into an exception.
pub(crate) trait OrRaise<T> {
    /// Attach the interpreter's exception to an error.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T, E: Problem> OrRaise<T> for Result<T, E> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| error.exception(py).unwrap_or_else(|failure| failure))
    }
}

/// An error that becomes an exception once there is an interpreter.
pub(crate) type Raise = Box<dyn FnOnce(Python<'_>) -> PyErr + Send>;

/// Keep an error until there is an interpreter.
pub(crate) fn later(error: impl Problem + Send + 'static) -> Raise {
    Box::new(move |py| error.exception(py).unwrap_or_else(|failure| failure))
}

/// An object that was used after its end, or by two threads at once.
pub(crate) fn state_error(object: &str, problem: &str) -> PyErr {
    python::StateError::new_err(format!("{object} {problem}"))
}

/// A setting that cannot be used.
pub(crate) fn setting_error(py: Python<'_>, name: &str, problem: &str) -> PyErr {
    let raise = || {
        let fields = [("code", "bad_setting")].into_py_dict(py)?;
        raise::<python::ConfigError>(py, &format_args!("{name}: {problem}"), &fields)
    };
    raise().unwrap_or_else(|failure: PyErr| failure)
}

/// A panic in a thread of ours: a bug.
pub(crate) fn internal_error() -> PyErr {
    python::XetwayError::new_err(
        "an internal error of xetway's native part; its standard error output has a line about it",
    )
}

/// An argument that is not what it has to be.
pub(crate) fn argument_error(py: Python<'_>, format: &str, code: &str, message: &str) -> PyErr {
    let raise = || {
        let fields = [("format", format), ("code", code)].into_py_dict(py)?;
        raise::<python::FormatError>(py, &message, &fields)
    };
    raise().unwrap_or_else(|failure: PyErr| failure)
}

/// An operating system error, with the subclass of `OSError` that its number asks for.
pub(crate) fn os_error(py: Python<'_>, error: &io::Error, message: &str, path: Option<&Path>) -> PyErr {
    let Some(number) = error.raw_os_error() else {
        return PyOSError::new_err(message.to_owned());
    };
    let arguments = if cfg!(windows) {
        (0, message, path.map(Path::as_os_str), Some(number))
    } else {
        (number, message, path.map(Path::as_os_str), None)
    };
    match py.get_type::<PyOSError>().call1(arguments) {
        Ok(error) => PyErr::from_value(error),
        Err(failure) => failure,
    }
}

fn raise<E: pyo3::PyTypeInfo>(py: Python<'_>, message: &impl Display, fields: &Bound<'_, PyDict>) -> PyResult<PyErr> {
    py.get_type::<E>()
        .call((message.to_string(),), Some(fields))
        .map(PyErr::from_value)
}

/// `status` replaces the usual hint, which blames the caller for the bytes.
fn format_error(py: Python<'_>, error: &FormatProblem, status: Option<u16>) -> PyResult<PyErr> {
    let fields = PyDict::new(py);
    if let Some(status) = status {
        fields.set_item("status", status)?;
    }
    fields.set_item("code", error.code())?;
    fields.set_item("format", error.format())?;
    fields.set_item("offset", error.offset())?;
    if let Some((expected, actual)) = claims(error) {
        fields.set_item("expected", expected)?;
        fields.set_item("actual", actual)?;
    }
    match error {
        FormatProblem::Truncated { .. } => raise::<python::TruncatedError>(py, error, &fields),
        FormatProblem::HashMismatch { .. } | FormatProblem::LengthMismatch { .. } => {
            raise::<python::IntegrityError>(py, error, &fields)
        }
        FormatProblem::Malformed { .. }
        | FormatProblem::LimitExceeded { .. }
        | FormatProblem::BadHex { .. }
        | FormatProblem::BadScheme { .. }
        | FormatProblem::UnknownXorb { .. }
        | FormatProblem::ChunkRange { .. }
        | FormatProblem::RangeOutside { .. } => raise::<python::FormatError>(py, error, &fields),
    }
}

/// What was claimed and what was found, for the errors that compare two values.
fn claims(error: &FormatProblem) -> Option<(String, String)> {
    match error {
        FormatProblem::HashMismatch { expected, actual, .. } => Some((expected.to_hex(), actual.to_hex())),
        FormatProblem::LengthMismatch { expected, actual, .. } => Some((expected.to_string(), actual.to_string())),
        FormatProblem::Truncated { .. }
        | FormatProblem::Malformed { .. }
        | FormatProblem::LimitExceeded { .. }
        | FormatProblem::BadHex { .. }
        | FormatProblem::BadScheme { .. }
        | FormatProblem::UnknownXorb { .. }
        | FormatProblem::ChunkRange { .. }
        | FormatProblem::RangeOutside { .. } => None,
    }
}

fn store_error(py: Python<'_>, error: &StoreProblem) -> PyResult<PyErr> {
    let fields = PyDict::new(py);
    match error {
        StoreProblem::Format(cause) => format_error(py, cause, None),
        StoreProblem::Corrupt { xorb, chunk, cause } => {
            fields.set_item("xorb", xorb.to_hex())?;
            fields.set_item("chunk", chunk)?;
            fields.set_item("offset", cause.offset())?;
            if let Some((expected, actual)) = claims(cause) {
                fields.set_item("expected", expected)?;
                fields.set_item("actual", actual)?;
            }
            raise::<python::StoreCorruptionError>(py, error, &fields)
        }
        StoreProblem::Missing { xorb } => {
            fields.set_item("code", "stored_data_missing")?;
            fields.set_item("xorb", xorb.to_hex())?;
            raise::<python::StoreCorruptionError>(py, error, &fields)
        }
        StoreProblem::State { .. } => raise::<python::StateError>(py, error, &fields),
        StoreProblem::Io { source, .. } => Ok(os_error(py, source, &error.to_string(), None)),
    }
}

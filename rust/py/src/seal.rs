//! `seal` and `unseal`: small secrets that others may carry.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use xetway_client::seal as core;

use crate::buffer::Bytes;
use crate::errors::OrRaise;
use crate::hash;

#[pyfunction]
fn seal(py: Python<'_>, key: Bytes, label: Bytes, plain: Bytes) -> PyResult<Bound<'_, PyBytes>> {
    let key = hash::key(py, "key", &key)?;
    let sealed = core::seal(&key, label.as_slice(), plain.as_slice()).or_raise(py)?;
    Ok(PyBytes::new(py, &sealed))
}

#[pyfunction]
fn unseal(py: Python<'_>, key: Bytes, label: Bytes, sealed: Bytes) -> PyResult<Option<Bound<'_, PyBytes>>> {
    let key = hash::key(py, "key", &key)?;
    let plain = core::unseal(&key, label.as_slice(), sealed.as_slice());
    Ok(plain.map(|plain| PyBytes::new(py, &plain)))
}

/// Add these functions to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(seal, module)?)?;
    module.add_function(wrap_pyfunction!(unseal, module)?)
}

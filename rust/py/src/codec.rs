//! Compression of single chunks.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use xetway_core::MAX_CHUNK_BYTES;
use xetway_core::codec::{self, Scheme};

use crate::buffer::Bytes;
use crate::errors::{OrRaise, argument_error};

#[pyfunction]
fn compress(py: Python<'_>, data: Bytes, scheme: u8) -> PyResult<Bound<'_, PyBytes>> {
    let scheme = Scheme::try_from(scheme).or_raise(py)?;
    let mut out = Vec::new();
    py.detach(|| codec::compress(data.as_slice(), scheme, &mut out));
    Ok(PyBytes::new(py, &out))
}

#[pyfunction]
fn decompress(py: Python<'_>, payload: Bytes, scheme: u8, raw_bytes: usize) -> PyResult<Bound<'_, PyBytes>> {
    let scheme = Scheme::try_from(scheme).or_raise(py)?;
    if raw_bytes > MAX_CHUNK_BYTES {
        let message = format!("a chunk has at most {MAX_CHUNK_BYTES} raw bytes: got {raw_bytes}");
        return Err(argument_error(py, "chunk", "chunk_too_large", &message));
    }
    PyBytes::new_with(py, raw_bytes, |raw| {
        py.detach(|| codec::decompress_into(scheme, payload.as_slice(), raw))
            .or_raise(py)
    })
}

#[pyfunction]
fn choose_scheme(py: Python<'_>, data: Bytes) -> u8 {
    py.detach(|| codec::choose(data.as_slice())) as u8
}

/// Add this noun to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(compress, module)?)?;
    module.add_function(wrap_pyfunction!(decompress, module)?)?;
    module.add_function(wrap_pyfunction!(choose_scheme, module)?)
}

//! `Hash`, and the functions that make one.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};
use xetway_core::{Hash as Inner, hash as core, merkle};

use crate::buffer::Bytes;
use crate::errors::{OrRaise, argument_error};

/// A 32-byte hash; its text form is not the plain hexadecimal of its bytes.
#[pyclass(name = "Hash", module = "xetway._native", frozen, eq, ord)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hash(pub(crate) Inner);

#[pymethods]
impl Hash {
    #[new]
    fn new(py: Python<'_>, hex: &str) -> PyResult<Self> {
        Inner::parse(hex).or_raise(py).map(Self)
    }

    #[classmethod]
    fn from_bytes(_class: &Bound<'_, PyType>, py: Python<'_>, raw: Bytes) -> PyResult<Self> {
        key(py, "hash", &raw).map(Inner::from_bytes).map(Self)
    }

    #[classattr]
    #[pyo3(name = "ZERO")]
    const ZERO: Self = Self(Inner::ZERO);

    #[getter]
    fn hex(&self) -> String {
        self.0.to_hex()
    }

    fn __str__(&self) -> String {
        self.0.to_hex()
    }

    fn __repr__(&self) -> String {
        format!("Hash('{}')", self.0)
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.as_bytes())
    }

    fn __hash__(&self) -> u64 {
        self.0.first_u64()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyType>, (String,)) {
        (slf.get_type(), (slf.get().hex(),))
    }

    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }
}

/// Read exactly 32 bytes.
pub(crate) fn key(py: Python<'_>, what: &str, raw: &Bytes) -> PyResult<[u8; 32]> {
    raw.as_slice().try_into().map_err(|_| {
        let message = format!("a {what} has 32 bytes: got {}", raw.as_slice().len());
        argument_error(py, what, "bad_hash_length", &message)
    })
}

/// Split a row of raw hashes, 32 bytes each.
pub(crate) fn hashes(py: Python<'_>, raw: &Bytes) -> PyResult<Vec<Inner>> {
    let (hashes, rest) = raw.as_slice().as_chunks::<32>();
    if rest.is_empty() {
        return Ok(hashes.iter().copied().map(Inner::from_bytes).collect());
    }
    let message = format!(
        "a row of hashes has 32 bytes for each: got {} bytes",
        raw.as_slice().len()
    );
    Err(argument_error(py, "hashes", "bad_hash_length", &message))
}

/// A list of (hash, raw length), from Python.
pub(crate) fn nodes(nodes: Vec<(PyRef<'_, Hash>, u64)>) -> Vec<(Inner, u64)> {
    nodes.into_iter().map(|(hash, bytes)| (hash.0, bytes)).collect()
}

#[pyfunction]
fn chunk_hash(py: Python<'_>, data: Bytes) -> Hash {
    Hash(py.detach(|| core::chunk_hash(data.as_slice())))
}

#[pyfunction]
fn data_hash(py: Python<'_>, data: Bytes) -> Hash {
    Hash(py.detach(|| core::data_hash(data.as_slice())))
}

#[pyfunction]
#[pyo3(signature = (hash, hash_key, /))]
fn keyed_hash(py: Python<'_>, hash: &Hash, hash_key: Bytes) -> PyResult<Hash> {
    Ok(Hash(core::keyed_hash(&hash.0, &key(py, "key", &hash_key)?)))
}

#[pyfunction]
fn verification_hash(py: Python<'_>, hashes: Vec<PyRef<'_, Hash>>) -> Hash {
    let hashes: Vec<Inner> = hashes.iter().map(|hash| hash.0).collect();
    Hash(py.detach(|| core::verification_hash(&hashes)))
}

#[pyfunction]
fn merkle_root(py: Python<'_>, chunks: Vec<(PyRef<'_, Hash>, u64)>) -> Hash {
    let nodes = nodes(chunks);
    Hash(py.detach(|| merkle::root(&nodes)))
}

#[pyfunction]
#[pyo3(signature = (chunks, salt=None))]
fn file_hash(py: Python<'_>, chunks: Vec<(PyRef<'_, Hash>, u64)>, salt: Option<Bytes>) -> PyResult<Hash> {
    let nodes = nodes(chunks);
    let salt = salt.map(|salt| key(py, "salt", &salt)).transpose()?;
    Ok(Hash(py.detach(|| match salt {
        Some(salt) => merkle::file_hash_with_salt(&nodes, &salt),
        None => merkle::file_hash(&nodes),
    })))
}

/// Add this noun to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Hash>()?;
    module.add_function(wrap_pyfunction!(chunk_hash, module)?)?;
    module.add_function(wrap_pyfunction!(data_hash, module)?)?;
    module.add_function(wrap_pyfunction!(keyed_hash, module)?)?;
    module.add_function(wrap_pyfunction!(verification_hash, module)?)?;
    module.add_function(wrap_pyfunction!(merkle_root, module)?)?;
    module.add_function(wrap_pyfunction!(file_hash, module)?)?;
    Ok(())
}

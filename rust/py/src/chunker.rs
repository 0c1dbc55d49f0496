//! Chunk boundaries of buffers and files.

use std::path::{Path, PathBuf};

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use xetway_core::hash::chunk_hash;
use xetway_core::parallel::MIN_PARALLEL_BYTES;
use xetway_core::{chunker, parallel};
use xetway_store::{hash_file as hash_path, hash_files as hash_paths};

use crate::buffer::Bytes;
use crate::errors::os_error;
use crate::exclusive::Exclusive;
use crate::hash::Hash;

/// Boundaries travel as a row of little-endian `u64`; the Python face makes an array of them.
fn row<'py>(py: Python<'py>, ends: &[u64]) -> Bound<'py, PyBytes> {
    let bytes: Vec<u8> = ends.iter().flat_map(|end| end.to_le_bytes()).collect();
    PyBytes::new(py, &bytes)
}

#[pyfunction]
fn chunk_boundaries(py: Python<'_>, data: Bytes) -> Bound<'_, PyBytes> {
    let ends = py.detach(|| chunker::boundaries(data.as_slice()));
    row(py, &ends)
}

#[pyfunction]
fn hash_chunks(py: Python<'_>, data: Bytes) -> Vec<(Hash, usize)> {
    let chunks = py.detach(|| {
        let data = data.as_slice();
        let pool = (data.len() >= MIN_PARALLEL_BYTES).then(xetway_pool::pool).flatten();
        match pool {
            Some(pool) => parallel::hash_chunks(&pool, data),
            None => chunker::chunks(data)
                .map(|chunk| (chunk_hash(chunk), chunk.len()))
                .collect(),
        }
    });
    chunks.into_iter().map(|(hash, bytes)| (Hash(hash), bytes)).collect()
}

#[pyfunction]
fn hash_file(py: Python<'_>, path: PathBuf) -> PyResult<(Hash, u64)> {
    let (hash, size) = py
        .detach(|| hash_path(&path))
        .map_err(|error| refusal(py, &error, &path))?;
    Ok((Hash(hash), size))
}

#[pyfunction]
fn hash_files(py: Python<'_>, paths: Vec<PathBuf>) -> PyResult<Vec<(Hash, u64)>> {
    match py.detach(|| hash_paths(&paths)) {
        Ok(files) => Ok(files.into_iter().map(|(hash, size)| (Hash(hash), size)).collect()),
        Err((index, error)) => Err(refusal(py, &error, paths.get(index).unwrap_or(&PathBuf::new()))),
    }
}

fn refusal(py: Python<'_>, error: &std::io::Error, path: &Path) -> PyErr {
    os_error(py, error, &py_message(error), Some(path))
}

/// The words of the operating system without the number that Rust appends.
fn py_message(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

#[pyclass(module = "xetway._native", frozen)]
struct Chunker(Exclusive<Option<chunker::Chunker>>);

const ENDED: (&str, &str) = ("chunker", "was finished");

#[pymethods]
impl Chunker {
    #[new]
    fn new() -> Self {
        Self(Exclusive::new("chunker", Some(chunker::Chunker::new()), |chunker| {
            *chunker = None;
        }))
    }

    fn update<'py>(&self, py: Python<'py>, data: Bytes) -> PyResult<Bound<'py, PyBytes>> {
        let ends = self.0.with(py, |chunker| {
            let mut ends = Vec::new();
            chunker.as_mut()?.push(data.as_slice(), &mut |end| ends.push(end));
            Some(ends)
        })?;
        ends.map(|ends| row(py, &ends))
            .ok_or_else(|| crate::errors::state_error(ENDED.0, ENDED.1))
    }

    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let ends = self.0.with(py, |chunker| {
            let mut ends = Vec::new();
            chunker.take()?.finish(&mut |end| ends.push(end));
            Some(ends)
        })?;
        ends.map(|ends| row(py, &ends))
            .ok_or_else(|| crate::errors::state_error(ENDED.0, ENDED.1))
    }

    #[getter]
    fn position(&self) -> PyResult<u64> {
        self.0
            .with_attached(|chunker| chunker.as_ref().map_or(0, chunker::Chunker::position))
    }
}

/// Add this noun to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Chunker>()?;
    module.add_function(wrap_pyfunction!(chunk_boundaries, module)?)?;
    module.add_function(wrap_pyfunction!(hash_chunks, module)?)?;
    module.add_function(wrap_pyfunction!(hash_file, module)?)?;
    module.add_function(wrap_pyfunction!(hash_files, module)?)
}

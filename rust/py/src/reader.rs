//! `ByteReader` and `Sha256Reader`: what comes out of the store.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use xetway_store::{PieceReader, Sha256Reader as InnerSha256};

use crate::errors::OrRaise;
use crate::exclusive::Exclusive;

#[pyclass(module = "xetway._native", frozen)]
pub(crate) struct ByteReader(Exclusive<Option<Box<dyn PieceReader>>>);

impl ByteReader {
    pub(crate) fn new(reader: impl PieceReader + 'static) -> Self {
        Self(Exclusive::new("reader", Some(Box::new(reader)), |reader| {
            *reader = None;
        }))
    }
}

#[pymethods]
impl ByteReader {
    fn read<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.0.with_attached(|reader| {
            let Some(reader) = reader else {
                return Ok(PyBytes::new(py, b""));
            };
            PyBytes::new_with(py, reader.piece_bytes(), |piece| {
                py.detach(|| reader.read_into(piece)).or_raise(py)
            })
        })?
    }

    #[getter]
    fn remaining(&self) -> PyResult<u64> {
        self.0
            .with_attached(|reader| reader.as_ref().map_or(0, |reader| reader.remaining()))
    }

    fn close(&self, py: Python<'_>) {
        self.0.abandon(py);
    }
}

#[pyclass(module = "xetway._native", frozen)]
pub(crate) struct Sha256Reader(Exclusive<InnerSha256>);

impl Sha256Reader {
    pub(crate) fn new(reader: InnerSha256) -> Self {
        Self(Exclusive::new("SHA-256 reader", reader, |_| {}))
    }
}

#[pymethods]
impl Sha256Reader {
    fn step(&self, py: Python<'_>) -> PyResult<u64> {
        self.0.with(py, InnerSha256::step)?.or_raise(py)
    }

    fn digest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let digest = self.0.with(py, |reader| reader.digest())?.or_raise(py)?;
        Ok(PyBytes::new(py, &digest))
    }
}

//! `ByteReader` and `Sha256Reader`: what comes out of the store.

use std::cell::RefCell;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use xetway_store::{PieceReader, Scratch, Sha256Reader as InnerSha256};

use crate::errors::OrRaise;
use crate::exclusive::Exclusive;
use crate::pieces::{PIECE_BYTES, Share, parts};

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[pyclass(module = "xetway._native", frozen)]
pub(crate) struct ByteReader {
    reader: Exclusive<Option<Box<dyn PieceReader>>>,
    share: Share,
}

impl ByteReader {
    pub(crate) fn new(reader: impl PieceReader + 'static) -> Self {
        Self {
            reader: Exclusive::new("reader", Some(Box::new(reader)), |reader| {
                *reader = None;
            }),
            share: Share::new(),
        }
    }

    /// Read a piece, and make something of it.
    fn next<'py, T>(
        &self,
        py: Python<'py>,
        max_bytes: usize,
        make: impl FnOnce(Python<'py>, &[u8]) -> PyResult<T>,
    ) -> PyResult<T> {
        self.reader.with_attached(|reader| {
            let Some(reader) = reader else {
                return make(py, b"");
            };
            let mut scratch = SCRATCH.take();
            let piece = py.detach(|| reader.next(max_bytes, &mut scratch)).or_raise(py);
            let result = piece.and_then(|piece| make(py, piece));
            SCRATCH.set(scratch);
            result
        })?
    }
}

#[pymethods]
impl ByteReader {
    fn read<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.next(py, PIECE_BYTES, |py, piece| Ok(PyBytes::new(py, piece)))
    }

    fn read_parts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.next(py, self.share.next_bytes(), parts)
    }

    #[getter]
    fn remaining(&self) -> PyResult<u64> {
        self.reader
            .with_attached(|reader| reader.as_ref().map_or(0, |reader| reader.remaining()))
    }

    fn close(&self, py: Python<'_>) {
        self.reader.abandon(py);
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

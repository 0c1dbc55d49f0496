//! `XorbWriter` and `FileIngest`: what goes into the store.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use xetway_core::shard::terms_to_bytes;
use xetway_store::{FileIngest as InnerIngest, Finished, Ingested, XorbWriter as InnerWriter};

use crate::buffer::Bytes;
use crate::errors::OrRaise;
use crate::exclusive::Exclusive;
use crate::hash::Hash;

#[pyclass(module = "xetway._native", frozen)]
pub(crate) struct XorbWriter(Exclusive<InnerWriter>);

impl XorbWriter {
    pub(crate) fn new(writer: InnerWriter) -> Self {
        Self(Exclusive::new("xorb writer", writer, InnerWriter::abort))
    }
}

fn sizes(finished: Finished) -> (u64, u64, u64) {
    (finished.chunks, finished.raw_bytes, finished.stored_bytes)
}

#[pymethods]
impl XorbWriter {
    fn write(&self, py: Python<'_>, data: Bytes) -> PyResult<()> {
        self.0.with(py, |writer| writer.write(data.as_slice()))?.or_raise(py)
    }

    fn finish(&self, py: Python<'_>) -> PyResult<(u64, u64, u64)> {
        self.0.with(py, InnerWriter::finish)?.or_raise(py).map(sizes)
    }

    #[pyo3(signature = (replace=false))]
    fn publish(&self, py: Python<'_>, replace: bool) -> PyResult<bool> {
        self.0.with(py, |writer| writer.publish(replace))?.or_raise(py)
    }

    fn abort(&self, py: Python<'_>) {
        self.0.abandon(py);
    }
}

#[pyclass(module = "xetway._native", frozen)]
pub(crate) struct FileIngest(Exclusive<InnerIngest>);

impl FileIngest {
    pub(crate) fn new(ingest: InnerIngest) -> Self {
        Self(Exclusive::new("ingest", ingest, InnerIngest::abort))
    }
}

/// What Python gets of a file that was taken in.
pub(crate) type IngestedFile<'py> = (Hash, u64, Bound<'py, PyBytes>, Bound<'py, PyBytes>, Vec<IngestedXorb>);

type IngestedXorb = (Hash, XorbWriter, u64, u64, u64);

pub(crate) fn ingested(py: Python<'_>, file: Ingested) -> IngestedFile<'_> {
    let xorbs = file.xorbs.into_iter().map(|(xorb, writer, finished)| {
        let (chunks, raw_bytes, stored_bytes) = sizes(finished);
        (Hash(xorb), XorbWriter::new(writer), chunks, raw_bytes, stored_bytes)
    });
    let xorbs = xorbs.collect();
    let (sha256, terms) = (
        PyBytes::new(py, &file.sha256),
        PyBytes::new(py, &terms_to_bytes(&file.terms)),
    );
    (Hash(file.file), file.size, sha256, terms, xorbs)
}

#[pymethods]
impl FileIngest {
    fn write(&self, py: Python<'_>, data: Bytes) -> PyResult<()> {
        self.0.with(py, |ingest| ingest.write(data.as_slice()))?.or_raise(py)
    }

    fn finish<'py>(&self, py: Python<'py>) -> PyResult<IngestedFile<'py>> {
        let file = self.0.with(py, InnerIngest::finish)?.or_raise(py)?;
        Ok(ingested(py, file))
    }

    fn abort(&self, py: Python<'_>) {
        self.0.abandon(py);
    }
}

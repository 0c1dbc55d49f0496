//! `XorbStore`: a folder of xorbs.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use xetway_core::shard::terms_from_bytes;
use xetway_store::XorbStore as Inner;

use crate::buffer::Bytes;
use crate::errors::OrRaise;
use crate::hash::{self, Hash};
use crate::plan::{PlanTuple, plan_tuple};
use crate::reader::{ByteReader, Sha256Reader};
use crate::writer::{FileIngest, IngestedFile, XorbWriter, ingested};
use crate::xorb::{MetaTuple, meta_tuple};

#[pyclass(module = "xetway._native", frozen)]
pub(crate) struct XorbStore(Inner);

#[pymethods]
impl XorbStore {
    #[new]
    fn new(py: Python<'_>, root: PathBuf) -> PyResult<Self> {
        py.detach(|| Inner::open(&root)).or_raise(py).map(Self)
    }

    fn create(&self, py: Python<'_>, expected: &Hash) -> PyResult<XorbWriter> {
        py.detach(|| self.0.create(expected.0))
            .or_raise(py)
            .map(XorbWriter::new)
    }

    fn ingest(&self) -> FileIngest {
        FileIngest::new(self.0.ingest())
    }

    fn ingest_file<'py>(&self, py: Python<'py>, path: PathBuf) -> PyResult<IngestedFile<'py>> {
        let outcome = py.detach(|| self.0.ingest_file(&path));
        outcome.or_raise(py).map(|file| ingested(py, file))
    }

    fn rebuild(&self, py: Python<'_>, file: &Hash, terms: Bytes, path: PathBuf) -> PyResult<u64> {
        let terms = terms_from_bytes(terms.as_slice()).or_raise(py)?;
        let outcome = py.detach(|| self.0.rebuild(&file.0, &terms, &path));
        outcome.or_raise(py)
    }

    fn exists(&self, py: Python<'_>, xorb: &Hash) -> PyResult<bool> {
        py.detach(|| self.0.exists(&xorb.0)).or_raise(py)
    }

    fn chunks<'py>(&self, py: Python<'py>, xorb: &Hash) -> PyResult<MetaTuple<'py>> {
        let meta = py.detach(|| self.0.claimed_meta(&xorb.0)).or_raise(py)?;
        Ok(meta_tuple(py, &meta))
    }

    fn open_xorb(&self, py: Python<'_>, xorb: &Hash, start: u64, end: u64) -> PyResult<ByteReader> {
        py.detach(|| self.0.open_xorb(&xorb.0, start, end))
            .or_raise(py)
            .map(ByteReader::new)
    }

    fn open_file(&self, py: Python<'_>, terms: Bytes, start: u64, end: u64) -> PyResult<ByteReader> {
        let terms = terms_from_bytes(terms.as_slice()).or_raise(py)?;
        py.detach(|| self.0.open_file(terms, start, end))
            .or_raise(py)
            .map(ByteReader::new)
    }

    fn plan(&self, py: Python<'_>, terms: Bytes, start: u64, end: u64) -> PyResult<PlanTuple> {
        let terms = terms_from_bytes(terms.as_slice()).or_raise(py)?;
        let plan = py.detach(|| self.0.plan(&terms, start, end)).or_raise(py)?;
        Ok(plan_tuple(plan))
    }

    #[pyo3(signature = (file, terms, verification))]
    fn check_file(&self, py: Python<'_>, file: &Hash, terms: Bytes, verification: Option<Bytes>) -> PyResult<u64> {
        let terms = terms_from_bytes(terms.as_slice()).or_raise(py)?;
        let claims = verification.map(|raw| hash::hashes(py, &raw)).transpose()?;
        py.detach(|| self.0.check_file(&file.0, &terms, claims.as_deref()))
            .or_raise(py)
    }

    #[pyo3(signature = (terms, step_bytes=8_388_608))]
    fn sha256_file(&self, py: Python<'_>, terms: Bytes, step_bytes: u64) -> PyResult<Sha256Reader> {
        let terms = terms_from_bytes(terms.as_slice()).or_raise(py)?;
        py.detach(|| self.0.sha256_file(terms, step_bytes))
            .or_raise(py)
            .map(Sha256Reader::new)
    }

    fn verify(&self, py: Python<'_>, xorb: &Hash) -> PyResult<u64> {
        py.detach(|| self.0.verify(&xorb.0)).or_raise(py)
    }

    fn remove(&self, py: Python<'_>, xorb: &Hash) -> PyResult<bool> {
        py.detach(|| self.0.remove(&xorb.0)).or_raise(py)
    }

    fn list(&self, py: Python<'_>) -> PyResult<Vec<Hash>> {
        let xorbs = py.detach(|| self.0.list()).or_raise(py)?;
        Ok(xorbs.into_iter().map(Hash).collect())
    }

    fn clean_temporary(&self, py: Python<'_>) -> PyResult<u64> {
        py.detach(|| self.0.clean_temporary()).or_raise(py)
    }

    fn dedup_shard<'py>(
        &self,
        py: Python<'py>,
        xorbs: Vec<PyRef<'py, Hash>>,
        key: Bytes,
        created_s: u64,
        expiry_s: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let xorbs: Vec<_> = xorbs.iter().map(|xorb| xorb.0).collect();
        let key = hash::key(py, "key", &key)?;
        let shard = py
            .detach(|| self.0.dedup_shard(&xorbs, key, created_s, expiry_s))
            .or_raise(py)?;
        Ok(PyBytes::new(py, &shard))
    }

    fn invalidate(&self, xorb: &Hash) {
        self.0.invalidate(&xorb.0);
    }
}

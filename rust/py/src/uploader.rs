//! `Uploader`: files on their way to a content store.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokio::sync::{Mutex, OwnedMutexGuard};
use xetway_client::upload::Uploader as Inner;

use crate::credentials::Credentials;
use crate::errors::{OrRaise, state_error};
use crate::future::into_future;
use crate::hash::Hash;
use crate::http::HttpClient;
use crate::process::InProcess;
use crate::transfer::{TransferProgress, listener};

/// Absent after the end, an error, or a call that was cancelled.
type Slot = Arc<Mutex<Option<Inner>>>;

#[pyclass(module = "xetway._native", frozen)]
pub(crate) struct Uploader(InProcess<Slot>);

impl Uploader {
    fn take(&self) -> PyResult<OwnedMutexGuard<Option<Inner>>> {
        let slot = self
            .0
            .get()
            .ok_or_else(|| state_error("upload", "was begun by another process"))?;
        let taken = Arc::clone(slot)
            .try_lock_owned()
            .map_err(|_| state_error("upload", "is in use: one call at a time"))?;
        if taken.is_none() {
            return Err(state_error("upload", "has ended, was cancelled or failed before"));
        }
        Ok(taken)
    }
}

#[pymethods]
impl Uploader {
    #[new]
    fn new(py: Python<'_>, http: &HttpClient, credentials: &Credentials) -> PyResult<Self> {
        let inner = Inner::new(credentials.cas(py, http)?);
        Ok(Self(InProcess::new(Arc::new(Mutex::new(Some(inner))))))
    }

    #[pyo3(signature = (path, progress=None))]
    fn add_file<'py>(
        &self,
        py: Python<'py>,
        path: PathBuf,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut slot = self.take()?;
        let progress = TransferProgress::new(py, progress)?;
        let work = async move {
            // Taken out: if this is dropped on the way, so is what it had sent.
            let mut uploader = slot.take()?;
            let outcome = uploader.add_path(&path, listener(&progress)).await;
            if outcome.is_ok() {
                *slot = Some(uploader);
            }
            progress.finish();
            Some(outcome)
        };
        into_future(py, work, |py, outcome| {
            let added = outcome.ok_or_else(ended)?.or_raise(py)?;
            let file = (Hash(added.file), added.size, PyBytes::new(py, &added.sha256));
            Ok(file.into_pyobject(py)?.into_any().unbind())
        })
    }

    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut slot = self.take()?;
        let work = async move { Some(slot.take()?.finish().await) };
        into_future(py, work, |py, outcome| {
            let done = outcome.ok_or_else(ended)?.or_raise(py)?;
            let sizes = (done.new_bytes, done.dedup_bytes, done.xorbs);
            Ok(sizes.into_pyobject(py)?.into_any().unbind())
        })
    }
}

fn ended() -> PyErr {
    state_error("upload", "has ended")
}

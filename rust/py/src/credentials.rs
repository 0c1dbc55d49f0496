//! `Credentials`: opaque to Python.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use xetway_client::{Cas, Credentials as Inner, Secret};

use crate::http::{Headers, HttpClient, secret};
use crate::process::InProcess;

#[pyclass(module = "xetway._native", frozen)]
pub(crate) struct Credentials {
    inner: Inner,
    /// The store as the client of this serial number saw it last: it keeps the token it got.
    store: Mutex<Option<(u64, InProcess<Cas>)>>,
}

impl Credentials {
    fn of(inner: Inner) -> Self {
        Self {
            inner,
            store: Mutex::new(None),
        }
    }

    /// Return the credentials themselves.
    pub(crate) fn inner(&self) -> Inner {
        self.inner.clone()
    }

    /// Return the store that these open, by way of `http`.
    pub(crate) fn cas(&self, py: Python<'_>, http: &HttpClient) -> PyResult<Cas> {
        // Before the lock: it may run Python code, and who waits for the lock keeps the interpreter.
        let connections = http.http(py)?;
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((serial, cas)) = &*store
            && *serial == http.serial()
            && let Some(cas) = cas.get()
        {
            return Ok(cas.clone());
        }
        let cas = Cas::new(connections, self.inner());
        *store = Some((http.serial(), InProcess::new(cas.clone())));
        Ok(cas)
    }
}

#[pymethods]
impl Credentials {
    #[staticmethod]
    fn fixed(cas_url: String, token: String) -> Self {
        Self::of(Inner::Fixed {
            cas_url,
            token: Secret::new(token),
        })
    }

    #[staticmethod]
    fn refresh(url: String, headers: Headers) -> Self {
        Self::of(Inner::Refresh {
            url,
            headers: secret(headers),
        })
    }

    #[expect(clippy::unused_self, reason = "Python calls it on objects")]
    fn __repr__(&self) -> &'static str {
        "Credentials([redacted])"
    }
}

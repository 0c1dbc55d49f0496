//! `Mirror`: content of another Hub, fetched once and kept.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tokio::runtime::Handle;
use xetway_client::Secret;
use xetway_core::plan::Plan;
use xetway_mirror::{Error, Limits, Mirror as Inner, PlainSource, Stream};

use crate::buffer::Bytes as Buffer;
use crate::credentials::Credentials;
use crate::digest::Digest;
use crate::errors::{OrRaise, Raise, later, state_error};
use crate::future::into_future;
use crate::hash::Hash;
use crate::http::{Headers, HttpClient, counters, secret};
use crate::plan::plan_tuple;
use crate::process::InProcess;
use crate::progress::Progress;
use crate::runtime::runtime;
use crate::stream::{ByteStream, Source};

#[pyclass(module = "xetway._native", frozen)]
pub(crate) struct Mirror {
    inner: InProcess<Mutex<Option<Inner>>>,
    runtime: Handle,
}

impl Mirror {
    fn inner(&self) -> PyResult<Inner> {
        let Some(inner) = self.inner.get() else {
            return Err(state_error("mirror", "was opened by another process"));
        };
        let inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clone().ok_or_else(|| state_error("mirror", "is closed"))
    }
}

impl Source for Stream {
    fn next(&mut self, max_bytes: usize) -> BoxFuture<'_, Result<Option<Bytes>, Raise>> {
        Stream::next(self, max_bytes).map(|piece| piece.map_err(later)).boxed()
    }

    fn remaining(&self) -> u64 {
        Stream::remaining(self)
    }
}

fn opened(py: Python<'_>, outcome: Result<Stream, Error>) -> PyResult<Py<PyAny>> {
    let stream = outcome.or_raise(py)?;
    let proven = stream.proven();
    let stream = ByteStream::new(py, stream, proven)?;
    Ok(stream.into_pyobject(py)?.into_any().unbind())
}

fn nothing(py: Python<'_>, outcome: Result<(), Error>) -> PyResult<Py<PyAny>> {
    outcome.or_raise(py)?;
    Ok(py.None())
}

fn source(url: Option<String>, headers: Headers) -> Option<PlainSource> {
    url.map(|url| PlainSource {
        url: Secret::new(url),
        headers: secret(headers),
    })
}

fn credentials_of(credentials: Option<&Credentials>) -> Option<xetway_client::Credentials> {
    credentials.map(Credentials::inner)
}

#[pymethods]
impl Mirror {
    #[new]
    #[pyo3(signature = (http, root, *, max_bytes=None, min_free_bytes=1_073_741_824))]
    fn new(
        py: Python<'_>,
        http: &HttpClient,
        root: PathBuf,
        max_bytes: Option<u64>,
        min_free_bytes: u64,
    ) -> PyResult<Self> {
        let (http, runtime) = (http.http(py)?, runtime(py)?);
        let limits = Limits {
            max_bytes,
            min_free_bytes,
        };
        let inner = py
            .detach(|| {
                let _entered = runtime.enter();
                Inner::open(http, &root, limits)
            })
            .or_raise(py)?;
        Ok(Self {
            inner: InProcess::new(Mutex::new(Some(inner))),
            runtime,
        })
    }

    #[pyo3(signature = (file, size, start, end, credentials))]
    fn plan<'py>(
        &self,
        py: Python<'py>,
        file: &Hash,
        size: Option<u64>,
        start: u64,
        end: Option<u64>,
        credentials: Option<&Credentials>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (inner, file, credentials) = (self.inner()?, file.0, credentials_of(credentials));
        let range = (start > 0 || end.is_some()).then(|| Range {
            start,
            end: end.unwrap_or(u64::MAX),
        });
        let work = async move { inner.plan(file, size, range, credentials).await };
        into_future(py, work, |py, planned| {
            let Some(planned) = planned.or_raise(py)? else {
                return Ok(py.None());
            };
            let (offset, terms, fetches) = plan_tuple(Plan {
                offset_into_first: planned.offset_into_first,
                terms: planned.terms,
                fetches: planned.fetches,
            });
            let parts = (planned.size, planned.generation, offset, terms, fetches);
            Ok(parts.into_pyobject(py)?.into_any().unbind())
        })
    }

    #[expect(clippy::too_many_arguments, reason = "each says which bytes, or for whom")]
    #[pyo3(signature = (file, generation, xorb, start, end, session))]
    fn open_xorb<'py>(
        &self,
        py: Python<'py>,
        file: &Hash,
        generation: u64,
        xorb: &Hash,
        start: u64,
        end: u64,
        session: Option<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (inner, file, xorb) = (self.inner()?, file.0, xorb.0);
        let work = async move { inner.open_xorb(file, generation, xorb, start..end, session).await };
        into_future(py, work, opened)
    }

    #[pyo3(signature = (file, size, start, end, credentials))]
    fn open_file<'py>(
        &self,
        py: Python<'py>,
        file: &Hash,
        size: u64,
        start: u64,
        end: u64,
        credentials: Option<&Credentials>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (inner, file, credentials) = (self.inner()?, file.0, credentials_of(credentials));
        let work = async move { inner.open_file(file, size, start..end, credentials).await };
        into_future(py, work, opened)
    }

    #[expect(clippy::too_many_arguments, reason = "each says which bytes, or where they are")]
    #[pyo3(
        signature = (algorithm, digest, size, start, end, url, headers=Vec::new()),
        text_signature = "($self, algorithm, digest, size, start, end, url, headers=())"
    )]
    fn open_plain<'py>(
        &self,
        py: Python<'py>,
        algorithm: &str,
        digest: Buffer,
        size: u64,
        start: u64,
        end: u64,
        url: Option<String>,
        headers: Headers,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (inner, key) = (self.inner()?, Digest::new(py, algorithm, &digest)?.into());
        let source = source(url, headers);
        let work = async move { inner.open_plain(key, size, start..end, source).await };
        into_future(py, work, opened)
    }

    #[pyo3(signature = (file, size, credentials, progress=None))]
    fn prefetch<'py>(
        &self,
        py: Python<'py>,
        file: &Hash,
        size: u64,
        credentials: Option<&Credentials>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (inner, file, credentials) = (self.inner()?, file.0, credentials_of(credentials));
        let progress = Progress::new(py, progress)?;
        let work = async move {
            let tell = progress.clone();
            let tell = move |held, total| tell.tell([held, total]);
            let outcome = inner.prefetch(file, size, credentials, tell).await;
            progress.finish();
            outcome
        };
        into_future(py, work, nothing)
    }

    #[expect(clippy::too_many_arguments, reason = "each says which bytes, or where they are")]
    #[pyo3(
        signature = (algorithm, digest, size, url, headers=Vec::new(), progress=None),
        text_signature = "($self, algorithm, digest, size, url, headers=(), progress=None)"
    )]
    fn prefetch_plain<'py>(
        &self,
        py: Python<'py>,
        algorithm: &str,
        digest: Buffer,
        size: u64,
        url: Option<String>,
        headers: Headers,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (inner, key) = (self.inner()?, Digest::new(py, algorithm, &digest)?.into());
        let (source, progress) = (source(url, headers), Progress::new(py, progress)?);
        let work = async move {
            let tell = progress.clone();
            let tell = move |held, total| tell.tell([held, total]);
            let outcome = inner.prefetch_plain(key, size, source, tell).await;
            progress.finish();
            outcome
        };
        into_future(py, work, nothing)
    }

    fn known(&self, py: Python<'_>, file: &Hash) -> PyResult<Option<(u64, u64, bool)>> {
        let inner = self.inner()?;
        let known = py.detach(|| inner.known(&file.0)).or_raise(py)?;
        Ok(known.map(|known| (known.size, known.held_bytes, known.proven)))
    }

    fn known_plain(&self, py: Python<'_>, algorithm: &str, digest: Buffer, size: u64) -> PyResult<(u64, bool)> {
        let (inner, key) = (self.inner()?, Digest::new(py, algorithm, &digest)?.into());
        let known = py.detach(|| inner.known_plain(&key, size)).or_raise(py)?;
        Ok((known.held_bytes, known.proven))
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let inner = self.inner()?;
        let usage = inner.cache().usage();
        let mut fields = inner.stats().fields();
        fields.extend([
            ("cache_bytes", usage.bytes),
            ("cache_xorbs", usage.xorbs),
            ("cache_plain_files", usage.plain_files),
            ("cache_damaged", inner.cache().damage_count()),
            ("free_disk_bytes", usage.free_disk_bytes),
        ]);
        counters(py, &fields)
    }

    fn take_damage(&self) -> PyResult<Vec<String>> {
        Ok(self.inner()?.cache().take_damage())
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.let_go());
    }
}

impl Mirror {
    fn let_go(&self) {
        let Some(inner) = self.inner.get() else { return };
        let closed = inner.lock().unwrap_or_else(PoisonError::into_inner).take();
        // What ends tasks of its own needs the runtime.
        let _entered = self.runtime.enter();
        drop(closed);
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.let_go();
    }
}

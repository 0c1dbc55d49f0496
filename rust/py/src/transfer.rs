//! Downloads and uploads without a mirror: `download_file`, `download_plain`, `open_download`, `Uploader`.

use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pyo3::prelude::*;
use xetway_client::download::{self, ContentStream, DownloadOptions, FileDownload, Finished, plain};
use xetway_client::{Error, Secret};

use crate::buffer::Bytes as Buffer;
use crate::credentials::Credentials;
use crate::digest::Digest;
use crate::errors::{OrRaise, Raise, later, setting_error};
use crate::future::into_future;
use crate::hash::Hash;
use crate::http::{Headers, HttpClient, secret};
use crate::progress::Progress;
use crate::stream::{ByteStream, Source};

/// Content bytes done, bytes over the network, content bytes in all.
pub(crate) type TransferProgress = Progress<3>;

/// Tell `progress` what the client tells.
pub(crate) fn listener(progress: &TransferProgress) -> Option<download::Progress> {
    let progress = progress.clone();
    progress.is_wanted().then(|| {
        download::Progress::new(move |event| {
            progress.tell([event.content_bytes, event.network_bytes, event.total_bytes]);
        })
    })
}

fn what(file: &Hash, size: Option<u64>, start: u64, end: Option<u64>) -> FileDownload {
    FileDownload {
        file: file.0,
        size,
        range: (start > 0 || end.is_some()).then(|| Range {
            start,
            end: end.unwrap_or(u64::MAX),
        }),
    }
}

fn finished(py: Python<'_>, outcome: Result<Finished, Error>) -> PyResult<Py<PyAny>> {
    let done = outcome.or_raise(py)?;
    let sizes = (done.size, done.received_bytes, done.resumed_bytes);
    Ok(sizes.into_pyobject(py)?.into_any().unbind())
}

#[pyfunction]
#[pyo3(signature = (http, file, path, credentials, *, size=None, start=0, end=None, resume=true, progress=None))]
#[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
fn download_file<'py>(
    py: Python<'py>,
    http: &HttpClient,
    file: &Hash,
    path: PathBuf,
    credentials: &Credentials,
    size: Option<u64>,
    start: u64,
    end: Option<u64>,
    resume: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let (cas, what) = (credentials.cas(py, http)?, what(file, size, start, end));
    let progress = TransferProgress::new(py, progress)?;
    let work = async move {
        let options = DownloadOptions {
            resume,
            progress: listener(&progress),
        };
        let outcome = download::to_path(cas, what, &path, options).await;
        progress.finish();
        outcome
    };
    into_future(py, work, finished)
}

#[pyfunction]
#[pyo3(signature = (http, url, headers, path, *, size, algorithm, digest, resume=true, progress=None))]
#[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
fn download_plain<'py>(
    py: Python<'py>,
    http: &HttpClient,
    url: String,
    headers: Headers,
    path: PathBuf,
    size: Option<u64>,
    algorithm: Option<&str>,
    digest: Option<Buffer>,
    resume: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let digest = match (algorithm, digest) {
        (Some(algorithm), Some(digest)) => Some(Digest::new(py, algorithm, &digest)?.into()),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err(setting_error(
                py,
                "digest",
                "wants an algorithm, and the algorithm a digest",
            ));
        }
    };
    let what = plain::PlainDownload {
        url: Secret::new(url),
        headers: secret(headers),
        size,
        digest,
    };
    let (http, progress) = (http.http(py)?, TransferProgress::new(py, progress)?);
    let work = async move {
        let options = DownloadOptions {
            resume,
            progress: listener(&progress),
        };
        let outcome = plain::to_path(http, what, &path, options).await;
        progress.finish();
        outcome
    };
    into_future(py, work, finished)
}

struct Content(ContentStream);

impl Source for Content {
    fn next(&mut self, _max_bytes: usize) -> BoxFuture<'_, Result<Option<Bytes>, Raise>> {
        async { self.0.next().await.map_err(later) }.boxed()
    }

    fn remaining(&self) -> u64 {
        self.0.remaining().unwrap_or(0)
    }
}

#[pyfunction]
#[pyo3(signature = (http, file, credentials, *, size=None, start=0, end=None))]
fn open_download<'py>(
    py: Python<'py>,
    http: &HttpClient,
    file: &Hash,
    credentials: &Credentials,
    size: Option<u64>,
    start: u64,
    end: Option<u64>,
) -> PyResult<Bound<'py, PyAny>> {
    let what = what(file, size, start, end);
    let mut stream = download::stream(credentials.cas(py, http)?, what, DownloadOptions::default());
    let work = async move {
        stream.open().await?;
        Ok(Content(stream))
    };
    into_future(py, work, |py, opened: Result<Content, Error>| {
        let stream = ByteStream::new(py, opened.or_raise(py)?, false)?;
        Ok(stream.into_pyobject(py)?.into_any().unbind())
    })
}

/// Add these functions to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(download_file, module)?)?;
    module.add_function(wrap_pyfunction!(download_plain, module)?)?;
    module.add_function(wrap_pyfunction!(open_download, module)?)
}

//! Files that are not in a content-addressed store: one URL, in order, resumed and checked.
//!
//! Blocks that were written are noted and hashed again when a transfer goes on later. It goes on only
//! if the content is sure to be the same: the caller knows its digest, or the server names a strong
//! `ETag`. Not in parallel: such files are small, or on servers that would not like it.

mod sink;

use std::path::Path;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use super::part::{Paths, blocking};
use super::progress::Meter;
use super::{DownloadOptions, Finished};
use crate::error::{Error, Result, TransportKind};
use crate::http::{Body, Http};
use crate::secret::Secret;

use sink::{Plain, Writing};

/// Bytes written, hashed and noted at a time.
const BLOCK_BYTES: usize = 1 << 20;
/// How often all of a file is fetched when its digest is wrong.
const TRIES: u32 = 3;
/// How often it is begun when its size is wrong: it may have been another page, once.
const SIZE_TRIES: u32 = 2;

/// What the content is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// SHA-256 of the content.
    Sha256([u8; 32]),
    /// SHA-1 of the content as a git blob: `blob SIZE`, a zero byte, the content.
    GitSha1([u8; 20]),
}

/// Where a plain file is and what it should be.
#[derive(Clone, Debug)]
pub struct PlainDownload {
    /// Absolute URL.
    pub url: Secret,
    /// Headers, credentials among them: redirects to another origin do not get them.
    pub headers: Vec<(String, Secret)>,
    /// Size, if known.
    pub size: Option<u64>,
    /// Digest, if known.
    pub digest: Option<Digest>,
}

impl Digest {
    fn context(self, size: u64) -> Context {
        match self {
            Self::Sha256(_) => Context::new(&SHA256),
            Self::GitSha1(_) => {
                let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
                context.update(format!("blob {size}\0").as_bytes());
                context
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(bytes) => bytes,
            Self::GitSha1(bytes) => bytes,
        }
    }
}

/// Bring `what` to `path`, by way of `path` + `.xetway-part` and `.xetway-journal`.
///
/// Manners are those of [`super::to_path`]; `verified` means that the digest was checked.
pub async fn to_path(http: Http, what: PlainDownload, path: &Path, options: DownloadOptions) -> Result<Finished> {
    let (paths, digest, size) = (Paths::new(path), what.digest, what.size);
    let mut tried = 0;
    loop {
        let resume = options.resume && tried == 0;
        let paths = paths.clone();
        let mut sink = blocking(move || Plain::open(paths, digest, size, resume)).await?;
        let meter = Meter::new(options.progress.clone(), size.unwrap_or(0));
        meter.resumed(sink.position);
        let outcome = transfer(&http, &what, &mut sink, &meter).await;
        if outcome.is_err() && sink.position == 0 {
            // Nothing is lost with them.
            sink.part.discard()?;
        }
        outcome?;
        let finished = Finished {
            size: sink.position,
            received_bytes: meter.network_bytes(),
            resumed_bytes: meter.resumed_bytes(),
            verified: digest.is_some(),
        };
        let Err(error) = blocking(move || sink.finish()).await else {
            return Ok(finished);
        };
        tried += 1;
        http.back_off(tried, TRIES, error).await?;
    }
}

async fn transfer(http: &Http, what: &PlainDownload, sink: &mut Plain, meter: &Meter) -> Result<()> {
    let attempts = http.options().attempts;
    let (mut failures, mut wrong_sizes) = (0, 0);
    let mut reached = sink.position;
    while sink.size_bytes != Some(sink.position) {
        let before = sink.position;
        let outcome = match open(http, what, sink).await {
            Ok(Some(body)) => match receive(body, sink, meter).await {
                Ok(()) if sink.position == before && sink.size_bytes != Some(before) => Err(nothing_more(before)),
                outcome => outcome,
            },
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        let Err(error) = outcome else { continue };
        if matches!(error, Error::Integrity { .. }) {
            sink.restart()?;
            wrong_sizes += 1;
            http.back_off(wrong_sizes, attempts.min(SIZE_TRIES), error).await?;
            continue;
        }
        if sink.position > reached.saturating_add(BLOCK_BYTES as u64) {
            failures = 0;
        }
        reached = reached.max(sink.position);
        failures += 1;
        http.back_off(failures, attempts, error).await?;
    }
    Ok(())
}

fn nothing_more(position: u64) -> Error {
    let message = format!("the answer ended early: at byte {position}");
    Error::transport(TransportKind::Cut, String::new(), message)
}

/// Open the body from where we are; `None` if we have to begin again because the content is another.
async fn open(http: &Http, what: &PlainDownload, sink: &mut Plain) -> Result<Option<Body>> {
    let mut headers = what.headers.clone();
    let range = (sink.position > 0).then_some(sink.position..sink.size_bytes.unwrap_or(u64::MAX));
    let is_resumed = range.is_some();
    if is_resumed && sink.digest.is_none() {
        let validator = String::from_utf8_lossy(&sink.validator).into_owned();
        headers.push(("if-range".to_owned(), validator.into()));
    }
    let opened = http.open(what.url.expose(), &headers, range).await;
    let body = match opened {
        Err(Error::Status { status: 416, .. }) if is_resumed => {
            sink.restart()?;
            return Ok(None);
        }
        opened => opened?,
    };
    let size = body.total.or((body.end < u64::MAX).then_some(body.end));
    let expected = what.size.or(if is_resumed { sink.size_bytes } else { None });
    if let (Some(expected), Some(actual)) = (expected, size)
        && expected != actual
    {
        if is_resumed && what.size.is_none() {
            sink.restart()?;
            return Ok(None);
        }
        return Err(Error::Integrity {
            what: "size of the file",
            expected: expected.to_string(),
            actual: actual.to_string(),
        });
    }
    let validator = body
        .header("etag")
        .filter(|tag| tag.starts_with('"'))
        .unwrap_or_default();
    if is_resumed && sink.digest.is_none() && validator.as_bytes() != sink.validator {
        sink.restart()?;
        return Ok(None);
    }
    if !is_resumed {
        sink.begin(size.or(what.size), validator)?;
    }
    Ok(Some(body))
}

/// Read a body to its end, writing while the next block arrives.
async fn receive(mut body: Body, sink: &mut Plain, meter: &Meter) -> Result<()> {
    let mut running: Option<Writing> = None;
    let mut block = Vec::new();
    let mut bytes = 0;
    loop {
        let piece = match &mut running {
            Some(writing) => tokio::select! {
                biased;
                ended = writing.ended() => {
                    running = None;
                    sink.settle(ended, meter)?;
                    continue;
                }
                piece = body.next() => piece,
            },
            None => body.next().await,
        };
        let is_last = !matches!(piece, Ok(Some(_)));
        if let Ok(Some(piece)) = &piece {
            bytes += piece.len();
            meter.received(piece.len() as u64);
            block.push(piece.clone());
        }
        if bytes >= BLOCK_BYTES || is_last {
            if let Some(writing) = &mut running {
                let ended = writing.ended().await;
                sink.settle(ended, meter)?;
            }
            running = (bytes > 0).then(|| sink.write(std::mem::take(&mut block), bytes));
            bytes = 0;
        }
        if is_last {
            if let Some(writing) = &mut running {
                let ended = writing.ended().await;
                sink.settle(ended, meter)?;
            }
            piece?;
            sink.size_bytes.get_or_insert(sink.position);
            return Ok(());
        }
    }
}

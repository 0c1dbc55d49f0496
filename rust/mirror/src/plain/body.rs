//! Bytes of a plain file as the upstream sends them, in order, whatever the network does.
//!
//! Failures are waited out and it goes on where it stopped. A file of another length is refused; else bytes are
//! not looked at.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use xetway_cache::PlainKey;
use xetway_client::{Body, Error as ClientError, TransportKind};

use super::TRIES;
use crate::error::{Error, Result};
use crate::mirror::{PlainSource, Shared};
use crate::stats::add;

/// New bytes that make up for earlier failures: a long file may be cut any number of times.
const PROGRESS_BYTES: u64 = 1 << 20;

/// A range of a plain file, read from the upstream.
#[derive(Debug)]
pub(crate) struct PlainBody {
    shared: Arc<Shared>,
    source: PlainSource,
    key: PlainKey,
    size: u64,
    range: Range<u64>,
    position: u64,
    body: Option<Body>,
    /// Failed attempts since the last good stretch.
    failures: u32,
    /// Beyond this position failures are forgiven.
    forgiven_at: u64,
    /// The host was connected to.
    is_there: bool,
}

impl PlainBody {
    /// Make a reader of `range` of a file of `size` bytes. Nothing is sent before the first [`Self::next`].
    pub(crate) fn new(shared: &Arc<Shared>, source: &PlainSource, key: PlainKey, size: u64, range: Range<u64>) -> Self {
        Self {
            shared: Arc::clone(shared),
            source: source.clone(),
            key,
            size,
            position: range.start,
            forgiven_at: range.start.saturating_add(PROGRESS_BYTES),
            range,
            body: None,
            failures: 0,
            is_there: false,
        }
    }

    /// Return the next bytes; `None` after the last. An error is final.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.position < self.range.end {
            match self.receive().await {
                Ok(piece) => {
                    self.position += piece.len() as u64;
                    add(&self.shared.counters.fetched_bytes, piece.len() as u64);
                    if self.position >= self.forgiven_at {
                        self.failures = 0;
                        self.forgiven_at = self.position.saturating_add(PROGRESS_BYTES);
                    }
                    return Ok(Some(piece));
                }
                Err(error) => self.fail(error).await?,
            }
        }
        self.body = None;
        Ok(None)
    }

    async fn receive(&mut self) -> Result<Bytes, ClientError> {
        let body = match &mut self.body {
            Some(body) => body,
            None => self.body.insert(self.open().await?),
        };
        self.is_there = true;
        let position = self.position;
        body.next().await?.ok_or_else(|| {
            let message = format!("the file ended at byte {position} of {}", self.size);
            ClientError::transport(TransportKind::Cut, String::new(), message)
        })
    }

    async fn open(&self) -> Result<Body, ClientError> {
        let wanted = self.position..self.range.end;
        let range = (wanted != (0..self.size)).then_some(wanted);
        let url = self.source.url.expose();
        let body = match self.shared.http.open(url, &self.source.headers, range).await {
            Err(ClientError::Status { status: 416, .. }) => {
                return Err(self.another_length(format!("no byte at {}", self.position)));
            }
            opened => opened?,
        };
        let ends_elsewhere = body.end != u64::MAX && body.end != self.range.end;
        if ends_elsewhere || body.total.is_some_and(|total| total != self.size) {
            return Err(self.another_length(format!("{} bytes", body.total.unwrap_or(body.end))));
        }
        Ok(body)
    }

    fn another_length(&self, actual: String) -> ClientError {
        ClientError::Integrity {
            what: "length of the file",
            expected: format!("{} bytes", self.size),
            actual,
        }
    }

    /// Count a failure and wait; an error if it was the last allowed.
    async fn fail(&mut self, error: ClientError) -> Result<()> {
        self.body = None;
        self.failures += 1;
        self.is_there |= !error.is_unreachable();
        let http = &self.shared.http;
        let attempts = http.options().attempts;
        let attempts = match &error {
            ClientError::Integrity { .. } => attempts.min(TRIES),
            _ if self.is_there => attempts,
            _ => http.connect_attempts(attempts),
        };
        let waited = http.back_off(self.failures, attempts, error).await;
        waited.map_err(|error| match error {
            ClientError::Integrity { expected, actual, .. } => Error::UpstreamIntegrity {
                what: format!("file {}", self.key),
                expected,
                actual,
            },
            other => other.into(),
        })
    }
}

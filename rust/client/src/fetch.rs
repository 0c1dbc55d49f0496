//! One range of a xorb, in order, whatever the network does.
//!
//! Failures are waited out and the range goes on where it stopped. A URL that is refused, or whose host
//! cannot be reached, is renewed.
//! Some URLs are signed for one exact range: where a part of it is refused, the whole is read again
//! and what was delivered is passed over. Bytes are not looked at.
//!
//! A range may come as a part of an answer that has several ([`SharedParts`]); if that fails, the
//! rest of the range is fetched on its own.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes};
use futures_util::future::BoxFuture;
use xetway_core::Hash;

use crate::error::{Error, Result, TransportKind};
use crate::http::{Body, Http, Parts};
use crate::reconstruction::Fetch;
use crate::secret::Secret;

/// New bytes that make up for earlier failures: a long range may be cut any number of times.
const PROGRESS_BYTES: u64 = 1 << 20;

/// Knows the URLs of xorb ranges.
pub trait UrlSource: Send + Sync {
    /// Return the fetch that covers `bytes` of `xorb`.
    fn url(&self, xorb: &Hash, bytes: &Range<u64>) -> BoxFuture<'_, Result<Fetch>>;

    /// Return it with a URL other than `stale`, which was refused or could not be reached.
    ///
    /// Many may ask at once about URLs of one plan: upstream is asked once for all of them.
    fn renew(&self, stale: &Secret, xorb: &Hash, bytes: &Range<u64>) -> BoxFuture<'_, Result<Fetch>>;
}

/// An answer with several ranges, handed from one range to the next. Empty once it broke.
#[derive(Clone, Debug)]
pub(crate) struct SharedParts(Arc<Mutex<Option<Parts>>>);

impl SharedParts {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(Mutex::new(Some(parts))))
    }

    pub(crate) fn take(&self) -> Option<Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn give_back(&self, parts: Parts) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(parts);
    }
}

/// Where bytes come from.
#[derive(Debug)]
enum Incoming {
    Range(Body),
    Part(SharedParts, Parts),
}

/// A range of a xorb, read in order; retried, resumed and renewed on the way.
pub struct RangeBody {
    http: Http,
    source: Arc<dyn UrlSource>,
    xorb: Hash,
    bytes: Range<u64>,
    position: u64,
    fetch: Option<Fetch>,
    /// The URL serves its whole range only.
    whole_only: bool,
    /// An answer whose next bytes are those of the range.
    shared: Option<SharedParts>,
    body: Option<Incoming>,
    /// Bytes of `body` that were delivered before.
    skip: u64,
    /// Failed attempts since the last good stretch.
    failures: u32,
    /// Beyond this position failures are forgiven.
    forgiven_at: u64,
    /// Where the last restart went back to, and how often in a row. Never forgiven by what is merely
    /// read again.
    restarts: (u64, u32),
    /// Another URL was asked for because the host could not be reached.
    looked_elsewhere: bool,
}

impl fmt::Debug for RangeBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RangeBody")
            .field("xorb", &self.xorb)
            .field("bytes", &self.bytes)
            .field("position", &self.position)
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

impl RangeBody {
    /// Make a reader of `bytes` of `xorb`. Nothing is sent before the first [`Self::next`].
    pub fn new(http: Http, source: Arc<dyn UrlSource>, xorb: Hash, bytes: Range<u64>) -> Self {
        let position = bytes.start;
        Self {
            http,
            source,
            xorb,
            bytes,
            position,
            fetch: None,
            whole_only: false,
            shared: None,
            body: None,
            skip: 0,
            failures: 0,
            forgiven_at: position.saturating_add(PROGRESS_BYTES),
            restarts: (position, 0),
            looked_elsewhere: false,
        }
    }

    /// Read the range from an answer with several, as far as that goes well.
    pub(crate) fn with_parts(mut self, shared: Option<SharedParts>) -> Self {
        self.shared = shared;
        self
    }

    /// Return the offset in the xorb of the next byte.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Return the next bytes; `None` after the last.
    ///
    /// An error is final: attempts are used up, or no attempt would help. Safe to drop while waiting.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.position < self.bytes.end {
            let Some(body) = &mut self.body else {
                if let Err(error) = self.connect().await {
                    self.recover(error).await?;
                }
                continue;
            };
            let body = match body {
                Incoming::Range(body) => body,
                Incoming::Part(_, parts) => {
                    let left = self.bytes.end - self.position;
                    match parts.next(left).await {
                        Ok(Some((start, piece))) if start == self.position => {
                            let piece = self.deliver(piece);
                            self.hand_on();
                            return Ok(piece);
                        }
                        // Attempts of the range on its own are what counts.
                        _ => self.body = None,
                    }
                    continue;
                }
            };
            match body.next().await {
                Ok(Some(piece)) => {
                    if let Some(piece) = self.deliver(piece) {
                        return Ok(Some(piece));
                    }
                }
                Ok(None) => {
                    self.body = None;
                    self.fail(ended_early(self.position)).await?;
                }
                Err(error) => {
                    self.body = None;
                    self.fail(error).await?;
                }
            }
        }
        self.body = None;
        Ok(None)
    }

    /// Go back to `at` because the bytes from there were bad.
    ///
    /// Counts as a failed attempt and waits as after one; `Err(because)` when they are used up.
    pub async fn restart(&mut self, at: u64, because: Error) -> Result<()> {
        self.body = None;
        // What it waits with holds a slot that the range needs now.
        drop(self.shared.take().and_then(|shared| shared.take()));
        let at = at.clamp(self.bytes.start, self.bytes.end);
        self.restarts = match self.restarts {
            (before, count) if before == at => (at, count + 1),
            _ => (at, 1),
        };
        self.forgiven_at = self.forgiven_at.max(self.position.saturating_add(PROGRESS_BYTES));
        self.position = at;
        // One less, because the failure is counted there.
        self.failures = self.failures.max(self.restarts.1 - 1);
        self.fail(because).await
    }

    /// Pass the answer with several ranges on, once this one is read.
    fn hand_on(&mut self) {
        if self.position >= self.bytes.end
            && let Some(Incoming::Part(shared, parts)) = self.body.take()
        {
            shared.give_back(parts);
        }
    }

    async fn connect(&mut self) -> Result<()> {
        if let Some(shared) = &self.shared
            && let Some(parts) = shared.take()
        {
            self.body = Some(Incoming::Part(shared.clone(), parts));
            return Ok(());
        }
        let fetch = if let Some(fetch) = &self.fetch {
            fetch.clone()
        } else {
            let fetch = self.source.url(&self.xorb, &self.bytes).await?;
            self.adopt(fetch)?
        };
        let range = if self.whole_only {
            fetch.bytes.clone()
        } else {
            self.position..self.bytes.end
        };
        self.skip = self.position - range.start;
        let body = self.http.open(fetch.url.expose(), &[], Some(range)).await?;
        self.body = Some(Incoming::Range(body));
        Ok(())
    }

    /// Take a fetch that covers the range; one that does not is a fault of its source.
    fn adopt(&mut self, fetch: Fetch) -> Result<Fetch> {
        if fetch.bytes.start > self.bytes.start || fetch.bytes.end < self.bytes.end {
            return Err(Error::Integrity {
                what: "range of a xorb to fetch",
                expected: format!("[{}, {})", self.bytes.start, self.bytes.end),
                actual: format!("[{}, {})", fetch.bytes.start, fetch.bytes.end),
            });
        }
        self.fetch = Some(fetch.clone());
        self.whole_only = false;
        Ok(fetch)
    }

    /// Do what a failed opening asks for: read the whole range, renew the URL, or wait.
    async fn recover(&mut self, error: Error) -> Result<()> {
        let (Some(fetch), Error::Status { status, .. }) = (&self.fetch, &error) else {
            let is_worth_it = self.failures > 0 || !error.is_retryable();
            if error.is_unreachable() && is_worth_it && !self.looked_elsewhere && self.look_elsewhere().await? {
                self.failures += 1;
                return Ok(());
            }
            return self.fail(error).await;
        };
        let refused = matches!(status, 403 | 404 | 410);
        let is_part = !self.whole_only && fetch.bytes != (self.position..self.bytes.end);
        if is_part && (refused || matches!(status, 400 | 401 | 416)) {
            self.whole_only = true;
            return Ok(());
        }
        if !refused {
            return self.fail(error).await;
        }
        let stale = fetch.url.clone();
        self.failures += 1;
        if self.failures >= self.http.options().attempts {
            return Err(error);
        }
        let fetch = self.source.renew(&stale, &self.xorb, &self.bytes).await?;
        if fetch.url == stale {
            // Nothing newer to be had.
            return Err(error);
        }
        self.adopt(fetch)?;
        Ok(())
    }

    /// Ask for another URL, once: a host that cannot be reached may have been replaced. Returns whether there is one.
    async fn look_elsewhere(&mut self) -> Result<bool> {
        let Some(stale) = self.fetch.as_ref().map(|fetch| fetch.url.clone()) else {
            return Ok(false);
        };
        let renewed = self.source.renew(&stale, &self.xorb, &self.bytes).await;
        self.looked_elsewhere = true;
        // A store that fails too is not what there is to tell.
        let other = renewed.ok().filter(|fetch| fetch.url != stale);
        other.map_or(Ok(false), |fetch| self.adopt(fetch).map(|_| true))
    }

    /// Count a failure and wait; `Err(error)` if it was the last allowed.
    async fn fail(&mut self, error: Error) -> Result<()> {
        self.failures += 1;
        self.http
            .back_off(self.failures, self.http.options().attempts, error)
            .await
    }

    /// Drop what was delivered before, and count the rest.
    fn deliver(&mut self, mut piece: Bytes) -> Option<Bytes> {
        let skipped = self.skip.min(piece.len() as u64);
        self.skip -= skipped;
        // Fits: not longer than the piece.
        piece.advance(usize::try_from(skipped).unwrap_or(usize::MAX));
        // A whole range may end after the part wanted.
        piece.truncate(usize::try_from(self.bytes.end - self.position).unwrap_or(usize::MAX));
        self.position += piece.len() as u64;
        if self.position >= self.forgiven_at {
            self.failures = 0;
            self.forgiven_at = self.position.saturating_add(PROGRESS_BYTES);
        }
        (!piece.is_empty()).then_some(piece)
    }
}

fn ended_early(position: u64) -> Error {
    Error::transport(
        TransportKind::Cut,
        String::new(),
        format!("the range of a xorb ended early, at byte {position}"),
    )
}

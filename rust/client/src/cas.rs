//! The content-addressed store as a client sees it: authorized requests and reconstructions.
//!
//! Source: draft-denis-xet-03, "CAS API"; routes and fallbacks of the deployed client.

use std::future::ready;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use xetway_core::Hash;

use crate::compute;
use crate::credentials::{Credentials, Tokens};
use crate::error::{Error, Result};
use crate::http::{Answer, Http, Request};
use crate::reconstruction::Reconstruction;
use crate::secret::Secret;

pub use crate::credentials::Access;

/// Longest reconstruction: about a million terms.
const MAX_RECONSTRUCTION_BYTES: u64 = 256 << 20;

/// Most time until a reconstruction begins to come: stores need seconds for those of large files.
const RECONSTRUCTION_TIMEOUT: Duration = Duration::from_secs(30);

/// One store with one set of credentials. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cas(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: Http,
    tokens: Tokens,
    /// The store does not know version 2 of reconstructions.
    only_v1: AtomicBool,
}

impl Cas {
    /// Make a client of a store.
    pub fn new(http: Http, credentials: Credentials) -> Self {
        Self(Arc::new(Inner {
            http,
            tokens: Tokens::new(credentials),
            only_v1: AtomicBool::new(false),
        }))
    }

    /// Return the HTTP client.
    pub fn http(&self) -> &Http {
        &self.0.http
    }

    /// Return where the store is and a token valid now, refreshing it if need be.
    pub async fn access(&self) -> Result<Access> {
        self.0.tokens.access(&self.0.http, None).await
    }

    /// Send `request`, whose `url` is a path such as `/v1/shards`, with the store's token.
    ///
    /// A 401 refreshes the token once, if it can be refreshed; one that stays is an error. Any other
    /// status is an answer.
    pub async fn send(&self, request: Request) -> Result<Answer> {
        let read = |answer: Answer| {
            ready(match answer.status {
                401 => Err(answer.to_error()),
                _ => Ok(answer),
            })
        };
        self.send_as(&request, read).await
    }

    /// As [`Self::send`], with what `read` makes of the answer: one that it cannot use is asked for again.
    async fn send_as<T, F>(&self, request: &Request, read: fn(Answer) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let Inner { http, tokens, .. } = &*self.0;
        let access = self.access().await?;
        match http.request_as(&authorized(request, &access), read).await {
            Err(Error::Status { status: 401, .. }) if tokens.can_refresh() => {}
            outcome => return outcome,
        }
        let access = tokens.access(http, Some(&access)).await?;
        http.request_as(&authorized(request, &access), read).await
    }

    /// Ask how to put `file`, or `range` of it, together; `None` if the range starts past its end.
    ///
    /// Asks version 2 of the route, and version 1 where that is not known. An empty range needs no
    /// asking.
    pub async fn reconstruct(&self, file: &Hash, range: Option<Range<u64>>) -> Result<Option<Reconstruction>> {
        if range.as_ref().is_some_and(|range| range.start >= range.end) {
            return Ok(Some(Reconstruction::default()));
        }
        if !self.0.only_v1.load(Ordering::Relaxed) {
            match self.ask("v2", file, range.clone()).await {
                Err(Error::Status { status: 501, .. }) => self.0.only_v1.store(true, Ordering::Relaxed),
                Err(Error::Status { status: 404, .. }) => {}
                outcome => return outcome,
            }
        }
        let plan = self.ask("v1", file, range).await?;
        if plan.is_some() {
            // A 404 of version 2 may have meant the file; now it is known to have meant the route.
            self.0.only_v1.store(true, Ordering::Relaxed);
        }
        Ok(plan)
    }

    async fn ask(&self, version: &str, file: &Hash, range: Option<Range<u64>>) -> Result<Option<Reconstruction>> {
        let mut request = Request {
            timeout: RECONSTRUCTION_TIMEOUT,
            attempts: self.0.http.options().attempts,
            max_body_bytes: MAX_RECONSTRUCTION_BYTES,
            long: true,
            follow: true,
            ..Request::new("GET", format!("/{version}/reconstructions/{file}"))
        };
        if let Some(range) = range {
            let value = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
            request.headers.push(("range".to_owned(), Secret::from(value)));
        }
        self.send_as(&request, read).await
    }
}

fn authorized(request: &Request, access: &Access) -> Request {
    let mut request = request.clone();
    request.url = format!("{}{}", access.cas_url, request.url);
    let token = Secret::new(format!("Bearer {}", access.token.expose()));
    request.headers.push(("authorization".to_owned(), token));
    request
}

async fn read(answer: Answer) -> Result<Option<Reconstruction>> {
    if answer.status == 416 {
        return Ok(None);
    }
    let answer = answer.checked()?;
    let host = answer.host();
    // Large ones take a while: not on a thread that does I/O.
    compute::run(move || Reconstruction::parse(&answer.body, &host))
        .await
        .map(Some)
}

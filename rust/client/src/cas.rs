//! The content-addressed store as a client sees it: authorized requests and reconstructions.
//!
//! Source: draft-denis-xet-03, "CAS API"; routes and fallbacks of the deployed client.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use xetway_core::Hash;

use crate::compute;
use crate::credentials::{Credentials, Tokens};
use crate::error::Result;
use crate::http::{Answer, Http, Request};
use crate::reconstruction::Reconstruction;
use crate::secret::Secret;

pub use crate::credentials::Access;

/// Longest reconstruction: about a million terms.
const MAX_RECONSTRUCTION_BYTES: u64 = 256 << 20;

/// Most time for one attempt at a reconstruction, its body included.
const RECONSTRUCTION_TIMEOUT: Duration = Duration::from_secs(120);

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
    /// A 401 refreshes the token once, if it can be refreshed. Any other status is an answer.
    pub async fn send(&self, request: Request) -> Result<Answer> {
        let access = self.access().await?;
        let answer = self.send_as(&request, &access).await?;
        if answer.status != 401 || !self.0.tokens.can_refresh() {
            return Ok(answer);
        }
        let access = self.0.tokens.access(&self.0.http, Some(&access)).await?;
        self.send_as(&request, &access).await
    }

    async fn send_as(&self, request: &Request, access: &Access) -> Result<Answer> {
        let mut request = request.clone();
        request.url = format!("{}{}", access.cas_url, request.url);
        let token = Secret::new(format!("Bearer {}", access.token.expose()));
        request.headers.push(("authorization".to_owned(), token));
        self.0.http.request(request).await
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
            let answer = self.ask("v2", file, range.clone()).await?;
            match answer.status {
                501 => self.0.only_v1.store(true, Ordering::Relaxed),
                404 => {}
                _ => return read(answer).await,
            }
        }
        let answer = self.ask("v1", file, range).await?;
        if answer.status == 200 {
            // A 404 of version 2 may have meant the file; now it is known to have meant the route.
            self.0.only_v1.store(true, Ordering::Relaxed);
        }
        read(answer).await
    }

    async fn ask(&self, version: &str, file: &Hash, range: Option<Range<u64>>) -> Result<Answer> {
        let mut request = Request {
            timeout: RECONSTRUCTION_TIMEOUT,
            attempts: self.0.http.options().attempts,
            max_body_bytes: MAX_RECONSTRUCTION_BYTES,
            follow: true,
            ..Request::new("GET", format!("/{version}/reconstructions/{file}"))
        };
        if let Some(range) = range {
            let value = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
            request.headers.push(("range".to_owned(), Secret::from(value)));
        }
        self.send(request).await
    }
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

//! One exchange: a request out, the head of its answer back, redirects in between.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, Response, StatusCode, Url};

use super::extent::Extent;
use super::message::{Answer, status_error};
use super::stall::Stall;
use super::stats::add;
use super::{Body, Http};
use crate::error::{Error, Result, TransportKind};
use crate::failure::{classify, host_of, proxy_auth};
use crate::limiter::Slot;
use crate::secret::Secret;

/// Most redirects in a row.
const MAX_REDIRECTS: usize = 10;

/// Headers that another origin may see; any other may hold credentials.
const HARMLESS: [&str; 7] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "if-range",
    "range",
    "user-agent",
    "x-xet-session-id",
];

/// Most of a refusal's body that is read for its message.
const REFUSAL_BYTES: u64 = 16 << 10;

/// Which redirects are followed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    Never,
    SameOrigin,
    Anywhere,
}

/// A request about to be sent.
#[derive(Clone)]
pub(super) struct Sending {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
}

/// The head of the last answer, its body to come.
pub(super) struct Exchanged {
    pub(super) response: Response,
    pub(super) url: Url,
    pub(super) host: String,
}

impl Sending {
    pub(super) fn new(method: &str, url: &str, headers: &[(String, Secret)], body: Bytes) -> Result<Self> {
        let bad = |what, message: &str| Error::Config {
            what,
            message: message.to_owned(),
        };
        let mut map = HeaderMap::with_capacity(headers.len() + 2);
        for (name, value) in headers {
            let wrong = || bad("header", &format!("{name:?} has a name or value that cannot be sent"));
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| wrong())?;
            value.set_sensitive(true);
            map.append(name, value);
        }
        map.entry(ACCEPT_ENCODING)
            .or_insert(HeaderValue::from_static("identity"));
        Ok(Self {
            method: Method::from_bytes(method.as_bytes()).map_err(|_| bad("method", "is not an HTTP method"))?,
            url: parse_url(url).ok_or_else(|| bad("URL", "is not an absolute http or https URL"))?,
            headers: map,
            body,
        })
    }

    pub(super) fn host(&self) -> String {
        host_of(&self.url)
    }

    pub(super) fn set_ranges(&mut self, ranges: &[Range<u64>]) -> Result<()> {
        let mut specs = Vec::with_capacity(ranges.len());
        for Range { start, end } in ranges {
            if start >= end {
                return Err(Error::Config {
                    what: "range",
                    message: format!("[{start}, {end}) is empty"),
                });
            }
            specs.push(match *end {
                u64::MAX => format!("{start}-"),
                end => format!("{start}-{}", end - 1),
            });
        }
        if let Ok(value) = HeaderValue::from_str(&format!("bytes={}", specs.join(","))) {
            self.headers.insert(RANGE, value);
        }
        Ok(())
    }

    /// Point the request at `url`; credentials do not go to another origin.
    fn redirect(&mut self, url: Url) {
        if url.origin() != self.url.origin() {
            let names: Vec<HeaderName> = self.headers.keys().cloned().collect();
            for name in names.iter().filter(|name| !HARMLESS.contains(&name.as_str())) {
                self.headers.remove(name);
            }
        }
        self.url = url;
    }
}

fn parse_url(url: &str) -> Option<Url> {
    Url::parse(url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty()))
}

impl Http {
    /// Send, and follow redirects, until an answer is final.
    pub(super) async fn exchange(&self, mut sending: Sending, follow: Follow) -> Result<Exchanged> {
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&sending).await?;
            let target = match follow {
                Follow::Never => None,
                _ => redirect_target(&sending, &response),
            };
            let host = sending.host();
            let Some(target) = target else {
                return Ok(Exchanged {
                    response,
                    host,
                    url: sending.url,
                });
            };
            if follow == Follow::SameOrigin && target.origin() != sending.url.origin() {
                return Ok(Exchanged {
                    response,
                    host,
                    url: sending.url,
                });
            }
            if sending.url.scheme() == "https" && target.scheme() != "https" {
                let message = format!("{host} redirects from https to {}, which is not safe", target.scheme());
                return Err(Error::transport(TransportKind::Protocol, host, message));
            }
            sending.redirect(target);
        }
        let host = sending.host();
        let message = format!("more than {MAX_REDIRECTS} redirects, the last to {host}");
        Err(Error::transport(TransportKind::Protocol, host, message))
    }

    /// As [`Self::exchange`], wherever redirects lead; from the start again if the place is refused where one led.
    pub(super) async fn exchange_renewed(&self, sending: Sending) -> Result<Exchanged> {
        let exchanged = self.exchange(sending.clone(), Follow::Anywhere).await?;
        if exchanged.url == sending.url || exchanged.response.status() != StatusCode::FORBIDDEN {
            return Ok(exchanged);
        }
        drop(exchanged);
        add(&self.0.counters.retries, 1);
        self.exchange(sending, Follow::Anywhere).await
    }

    /// Send once; again at once if a connection that was kept open turns out to be closed.
    async fn send(&self, sending: &Sending) -> Result<Response> {
        let outcome = self.send_once(sending).await;
        let repeatable = matches!(sending.method, Method::GET | Method::HEAD);
        match outcome {
            Err(Error::Transport {
                kind: TransportKind::Cut,
                ..
            }) if repeatable => {
                add(&self.0.counters.retries, 1);
                self.send_once(sending).await
            }
            outcome => outcome,
        }
    }

    async fn send_once(&self, sending: &Sending) -> Result<Response> {
        let counters = &self.0.counters;
        add(&counters.requests, 1);
        add(&counters.bytes_out, sending.body.len() as u64);
        let mut request = reqwest::Request::new(sending.method.clone(), sending.url.clone());
        request.headers_mut().clone_from(&sending.headers);
        if !sending.body.is_empty() {
            *request.body_mut() = Some(sending.body.clone().into());
        } else if !matches!(sending.method, Method::GET | Method::HEAD | Method::DELETE) {
            // Left out otherwise, which some servers answer with 411.
            request
                .headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let proxy = self.0.proxies.pick(&sending.url);
        let response = self
            .0
            .client
            .execute(request)
            .await
            .map_err(|error| self.unless_known(classify(&error, &sending.host(), proxy)))?;
        self.0.answered_hosts.insert(&sending.host());
        match (response.status().as_u16(), proxy) {
            (407, Some(proxy)) => return Err(proxy_auth(&sending.host(), proxy)),
            (429, _) => add(&counters.rate_limited, 1),
            _ => {}
        }
        Ok(response)
    }

    /// A host that answered before has not lost its name: where there is no network, some systems know no name.
    fn unless_known(&self, error: Error) -> Error {
        match error {
            Error::Transport {
                kind: TransportKind::NoSuchHost,
                host,
                message,
            } if self.0.answered_hosts.contains(&host) => Error::transport(TransportKind::Dns, host, message),
            other => other,
        }
    }

    pub(super) fn fail(&self, exchanged: &Exchanged, error: &reqwest::Error) -> Error {
        classify(error, &exchanged.host, self.0.proxies.pick(&exchanged.url))
    }
}

/// Where an answer redirects to, if it does and the request may simply be sent there.
fn redirect_target(sending: &Sending, response: &Response) -> Option<Url> {
    let follows = match response.status().as_u16() {
        301..=303 => matches!(sending.method, Method::GET | Method::HEAD),
        307 | 308 => true,
        _ => false,
    };
    let location = response.headers().get(LOCATION).filter(|_| follows)?;
    let target = sending.url.join(location.to_str().ok()?).ok()?;
    parse_url(target.as_str())
}

impl Exchanged {
    pub(super) fn headers(&self) -> Vec<(String, String)> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = self.response.headers().iter();
        headers
            .map(|(name, value)| (name.as_str().to_owned(), text(value)))
            .collect()
    }

    /// Read the whole body; one longer than `max_bytes` is an error.
    pub(super) async fn into_answer(mut self, http: &Http, max_bytes: u64) -> Result<Answer> {
        let body = self.read(http, max_bytes).await?;
        if body.len() as u64 > max_bytes {
            let message = format!("the answer of {} is longer than {max_bytes} bytes", self.host);
            return Err(Error::transport(TransportKind::Protocol, self.host, message));
        }
        Ok(Answer {
            status: self.response.status().as_u16(),
            headers: self.headers(),
            body,
            url: self.url.into(),
        })
    }

    /// Read until the end, or until there is more than `max_bytes`.
    async fn read(&mut self, http: &Http, max_bytes: u64) -> Result<Bytes> {
        let mut first = Bytes::new();
        let mut whole = BytesMut::new();
        let mut stall = Stall::new(http.options().stall);
        loop {
            let position = (first.len() + whole.len()) as u64;
            let stalled = |stall: &Stall| {
                add(&http.0.counters.stalled, 1);
                stall.error(&self.host, position)
            };
            let patience = stall.wait(Instant::now());
            let piece = match tokio::time::timeout(patience, self.response.chunk()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => break,
                Ok(Err(error)) => return Err(http.fail(self, &error)),
                Err(_) => return Err(stalled(&stall)),
            };
            if stall.is_stalled(Instant::now(), piece.len()) {
                return Err(stalled(&stall));
            }
            http.0
                .counters
                .bytes_in
                .fetch_add(piece.len() as u64, Ordering::Relaxed);
            // Most answers come in one piece, which is passed on as it is.
            if first.is_empty() && whole.is_empty() {
                first = piece;
            } else {
                if whole.is_empty() {
                    whole.extend_from_slice(&std::mem::take(&mut first));
                }
                whole.extend_from_slice(&piece);
            }
            if (first.len() + whole.len()) as u64 > max_bytes {
                break;
            }
        }
        Ok(if whole.is_empty() { first } else { whole.freeze() })
    }

    /// Turn the answer to a GET into a body, or into the error it stands for.
    pub(super) async fn into_body(
        mut self,
        http: &Http,
        extent: impl FnOnce(u16, &[(String, String)]) -> Result<Extent, String>,
        slot: Slot,
    ) -> Result<Body> {
        let status = self.response.status().as_u16();
        let headers = self.headers();
        if status != 200 && status != 206 {
            let patience = http.0.options.first_byte_timeout;
            let body = match tokio::time::timeout(patience, self.read(http, REFUSAL_BYTES)).await {
                Ok(Ok(body)) => body,
                // The status says enough.
                _ => Bytes::new(),
            };
            return Err(status_error(status, self.host, &headers, &body));
        }
        Body::new(http.clone(), self, headers, extent, slot)
    }
}

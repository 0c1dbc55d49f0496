//! One upstream: its address, its connections, and the sending of requests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Uri};
use http_body_util::Full;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::answer::{self, Answer};
use crate::connect::Target;
use crate::error::{Error, Kind, Result};
use crate::exchange::{Link, Message};
use crate::failure::{Halt, after, within};
use crate::headers::{parse_own_name, parse_value};
use crate::pool::Pool;
use crate::shared::Shared;

/// How to speak to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1: one request at a time on a connection.
    Http1,
    /// HTTP/2: one connection for all; chosen by ALPN within TLS, else known beforehand.
    Http2,
}

/// What is to be known of an upstream.
#[derive(Clone)]
pub struct Settings {
    /// `http://` or `https://`, host, port; a path is put before that of each request.
    pub url: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Certificates in PEM form to trust, instead of those of the system.
    pub ca_bundle: Option<Vec<u8>>,
    /// Headers of every request, such as its key: never shown, and in place of what a request has of these names.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Most requests at once.
    pub max_connections: usize,
    /// Most time to connect, and to wait for another request to end where there are too many.
    pub connect_timeout: Duration,
}

/// How long to wait for an answer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For its head, from when the request goes out.
    pub first_byte: Duration,
    /// Between two pieces of its body.
    pub idle: Duration,
    /// For all of it.
    pub total: Duration,
}

/// What is asked.
#[derive(Debug)]
pub struct Request {
    method: Method,
    path: Bytes,
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    /// Make a request for a path, with its query, that begins with a slash.
    pub fn new(method: &str, path: Bytes, headers: HeaderMap, body: Bytes) -> Result<Self> {
        let bad = |message: &str| Error::Request {
            message: message.to_owned(),
        };
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| bad("the method is not one"))?;
        if method == Method::CONNECT {
            return Err(bad("the method CONNECT is not forwarded"));
        }
        if path.first() != Some(&b'/') || path.contains(&b'#') {
            return Err(bad("the path does not begin with a slash, or has a fragment"));
        }
        Ok(Self {
            method,
            path,
            headers,
            body,
        })
    }
}

/// An upstream and its connections. Cheap to clone.
#[derive(Clone)]
pub struct Upstream(Arc<Inner>);

struct Inner {
    target: Target,
    protocol: Protocol,
    headers: Vec<(HeaderName, HeaderValue)>,
    pool: Arc<Pool>,
    shared: Shared,
    slots: Arc<Semaphore>,
    connect_timeout: Duration,
}

impl Upstream {
    /// Make an upstream; connects to nothing yet. Reads the system's certificates where TLS needs them.
    pub fn new(settings: &Settings) -> Result<Self> {
        let headers = settings.headers.iter().map(|(name, value)| {
            let mut value = parse_value(Bytes::copy_from_slice(value))?;
            value.set_sensitive(true);
            Ok((parse_own_name(name)?, value))
        });
        Ok(Self(Arc::new(Inner {
            target: Target::parse(&settings.url, settings.protocol, settings.ca_bundle.as_deref())?,
            protocol: settings.protocol,
            headers: headers.collect::<Result<_>>()?,
            pool: Arc::default(),
            shared: Shared::default(),
            slots: Arc::new(Semaphore::new(settings.max_connections.min(Semaphore::MAX_PERMITS))),
            connect_timeout: settings.connect_timeout,
        })))
    }

    /// Return its host, with the port.
    pub fn host(&self) -> &Arc<str> {
        &self.0.target.host
    }

    /// Return how many unused connections are kept.
    pub fn idle_connections(&self) -> usize {
        self.0.pool.len()
    }

    /// Send a request; returns when the head of its answer is there, and a body that is short or there already.
    ///
    /// Sent once more, on a new connection, if one that was kept turns out to be dead before anything of
    /// an answer came. Dropping the future, or what is left to read, ends the connection.
    pub async fn send(&self, request: Request, limits: Limits) -> Result<Answer> {
        let deadline = after(limits.total);
        let slot = self.slot(deadline).await?;
        let head_only = request.method == Method::HEAD;
        let mut message = self.message(request)?;
        let mut kept = self.kept();
        loop {
            let (mut link, copy) = match kept.take() {
                Some(link) => (link, Some(message.clone())),
                None => (self.connect(deadline).await?, None),
            };
            let halt = match within(limits.first_byte, deadline, link.exchange(message)).await {
                Ok(response) => {
                    return answer::open(response, head_only, link, self.clone(), slot, limits, deadline).await;
                }
                Err(halt) => halt,
            };
            self.0.shared.forget();
            match (halt, copy) {
                (Halt::Failed(_), Some(copy)) if !link.seen() => message = copy,
                (halt, _) => return Err(halt.in_head(self.host(), link.seen())),
            }
        }
    }

    /// Keep a connection whose answer was read to its end.
    pub(crate) fn keep(&self, link: Link) {
        self.0.pool.put(link);
    }

    async fn slot(&self, deadline: Instant) -> Result<OwnedSemaphorePermit> {
        let slots = Arc::clone(&self.0.slots);
        let until = deadline.min(after(self.0.connect_timeout));
        match timeout_at(until, slots.acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            // It is never closed.
            Ok(Err(_)) | Err(_) => {
                Err(self.failure(Kind::Busy, format!("all connections to {} are in use", self.host())))
            }
        }
    }

    fn kept(&self) -> Option<Link> {
        match self.0.protocol {
            Protocol::Http1 => self.0.pool.take(),
            Protocol::Http2 => self.0.shared.get(),
        }
    }

    async fn connect(&self, deadline: Instant) -> Result<Link> {
        let until = deadline.min(after(self.0.connect_timeout));
        let target = &self.0.target;
        let connecting = async {
            match self.0.protocol {
                Protocol::Http1 => Link::connect(target).await,
                Protocol::Http2 => self.0.shared.connect(target).await,
            }
        };
        timeout_at(until, connecting).await.unwrap_or_else(|_| {
            Err(self.failure(
                Kind::ConnectTimeout,
                format!("no connection to {} in time", self.host()),
            ))
        })
    }

    fn failure(&self, kind: Kind, message: String) -> Error {
        Error::Transport {
            kind,
            host: Arc::clone(self.host()),
            seen: false,
            message,
        }
    }

    fn message(&self, request: Request) -> Result<Message> {
        let target = &self.0.target;
        let path = if target.prefix.is_empty() {
            PathAndQuery::from_maybe_shared(request.path)
        } else {
            PathAndQuery::from_maybe_shared([target.prefix.as_bytes(), &request.path].concat())
        };
        let path = path.map_err(|_| Error::Request {
            message: "the path has characters that HTTP does not allow".to_owned(),
        })?;
        let mut message = Message::new(Full::new(request.body));
        *message.method_mut() = request.method;
        let mut headers = request.headers;
        *message.uri_mut() = match self.0.protocol {
            Protocol::Http1 => {
                headers.insert(HOST, target.host_header.clone());
                Uri::from(path)
            }
            Protocol::Http2 => target.absolute(path)?,
        };
        for (name, value) in &self.0.headers {
            headers.insert(name, value.clone());
        }
        *message.headers_mut() = headers;
        Ok(message)
    }
}

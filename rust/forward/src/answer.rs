//! An answer: its head, and a body that is there or is read piece by piece.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::{Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::error::{Error, Kind, Result};
use crate::exchange::{HEAD_BYTES, Link};
use crate::failure::{Halt, within, wrong};
use crate::headers::relay_answer;
use crate::upstream::{Limits, Upstream};

/// A body of a known length up to this is waited for.
const WHOLE_BYTES: u64 = 256 << 10;

/// How much of another body is taken with its head if it is there.
const EARLY_BYTES: usize = 64 << 10;

/// What an upstream answered.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers for the client: those of the connection are gone, `Content-Length` is there only if it is true.
    pub headers: HeaderMap,
    /// Whether just the end of the connection ends the body: then nothing proves that it is complete.
    pub until_close: bool,
    /// The body, or what reads it.
    pub body: Body,
}

/// A body.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// More is to come.
    Open(Reading),
}

/// Reads a body. Dropping it before its end ends the connection.
pub struct Reading {
    body: Incoming,
    early: VecDeque<Bytes>,
    /// None after the end, or a failure.
    link: Option<Link>,
    failure: Option<Error>,
    upstream: Upstream,
    slot: Option<OwnedSemaphorePermit>,
    idle: Duration,
    deadline: Instant,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading")
            .field("host", self.upstream.host())
            .finish_non_exhaustive()
    }
}

/// Make an answer of a response whose head has come.
pub(crate) async fn open(
    response: Response<Incoming>,
    head_only: bool,
    link: Link,
    upstream: Upstream,
    slot: OwnedSemaphorePermit,
    limits: Limits,
    deadline: Instant,
) -> Result<Answer> {
    let (parts, body) = response.into_parts();
    let mut headers = parts.headers;
    if let Err((kind, what)) = check(parts.status, &headers) {
        return Err(wrong(kind, upstream.host(), what));
    }
    let framed = headers.contains_key(TRANSFER_ENCODING) || headers.contains_key(CONTENT_LENGTH);
    let until_close = parts.version < Version::HTTP_2 && !framed && body.size_hint().exact().is_none();
    let without_body = head_only || parts.status == StatusCode::NOT_MODIFIED;
    let length = if without_body {
        stated_length(&headers)
    } else {
        body.size_hint().exact()
    };
    relay_answer(&mut headers, length.filter(|_| parts.status != StatusCode::NO_CONTENT));
    let mut reading = Reading {
        body,
        early: VecDeque::new(),
        link: Some(link),
        failure: None,
        upstream,
        slot: Some(slot),
        idle: limits.idle,
        deadline,
    };
    let body = match reading.body.size_hint().exact() {
        Some(length) if length <= WHOLE_BYTES => Body::Whole(reading.whole().await?),
        _ => reading.with_what_is_there().await?,
    };
    Ok(Answer {
        status: parts.status.as_u16(),
        headers,
        until_close,
        body,
    })
}

/// Refuse what two readers may understand differently (RFC 9112, section 6.3), what was not asked for, and too much.
fn check(status: StatusCode, headers: &HeaderMap) -> Result<(), (Kind, &'static str)> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err((Kind::Malformed, "switches the protocol without being asked to"));
    }
    if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        return Err((Kind::Malformed, "has both a length and a transfer coding"));
    }
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    if bytes.sum::<usize>() > HEAD_BYTES {
        return Err((Kind::HeadTooLarge, "has too long a head"));
    }
    Ok(())
}

fn stated_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl Reading {
    /// Return the next bytes as they came; nothing at the true end.
    ///
    /// A body that ends too early is an error, and so is every call after it.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(early) = self.early.pop_front() {
            return Ok(Some(early));
        }
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let Some(link) = &mut self.link else { return Ok(None) };
        let body = &mut self.body;
        let read = poll_fn(|cx| link.poll_data(body, cx).map(Option::transpose));
        match within(self.idle, self.deadline, read).await {
            Ok(Some(data)) => Ok(Some(data)),
            Ok(None) => {
                self.end();
                Ok(None)
            }
            Err(halt) => Err(self.fail(&halt)),
        }
    }

    async fn whole(&mut self) -> Result<Bytes> {
        let Some(first) = self.next().await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = self.next().await? else {
            return Ok(first);
        };
        let mut all = BytesMut::from(first);
        all.extend_from_slice(&second);
        while let Some(more) = self.next().await? {
            all.extend_from_slice(&more);
        }
        Ok(all.freeze())
    }

    /// Take what needs no waiting; it may be all. A failure before the first byte is that of the whole answer.
    async fn with_what_is_there(mut self) -> Result<Body> {
        let mut early_bytes = 0;
        while early_bytes < EARLY_BYTES {
            let (Some(link), body) = (&mut self.link, &mut self.body) else {
                break;
            };
            match poll_fn(|cx| Poll::Ready(link.poll_data(body, cx))).await {
                Poll::Ready(Some(Ok(data))) => {
                    early_bytes += data.len();
                    self.early.push_back(data);
                }
                Poll::Ready(None) => {
                    self.end();
                    let all: Vec<Bytes> = self.early.into();
                    return Ok(Body::Whole(match <[Bytes; 1]>::try_from(all) {
                        Ok([only]) => only,
                        Err(all) => all.concat().into(),
                    }));
                }
                Poll::Ready(Some(Err(error))) => {
                    let failure = self.fail(&Halt::Failed(error));
                    if self.early.is_empty() {
                        return Err(failure);
                    }
                    break;
                }
                Poll::Pending => break,
            }
        }
        Ok(Body::Open(self))
    }

    fn end(&mut self) {
        if let Some(link) = self.link.take() {
            self.upstream.keep(link);
        }
        // After the connection is there for the next: there are never more than slots.
        self.slot = None;
    }

    fn fail(&mut self, halt: &Halt) -> Error {
        self.link = None;
        self.slot = None;
        let failure = halt.in_body(self.upstream.host());
        self.failure = Some(failure.clone());
        failure
    }
}

//! Several ranges in one answer, `multipart/byteranges`, read as they arrive.
//!
//! What passes is what was asked for, in that order: how long a part is follows from its range, so
//! content is not searched for boundaries. Hosts that answer anything else are not asked again.
//!
//! Source: RFC 9110, section 14.6; RFC 2046, section 5.1.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use reqwest::{Method, Url};

use super::extent::{Extent, content_range};
use super::message::header;
use super::send::Sending;
use super::{Body, Http};
use crate::error::{Error, Result, TransportKind, is_retryable_status};
use crate::failure::host_of;

/// Longest head of a part, its delimiter included.
const MAX_HEAD_BYTES: usize = 4096;

/// Longest boundary.
const MAX_BOUNDARY_BYTES: usize = 70;

/// Longest wait for the end of an answer all parts of which are there.
const END_PATIENCE: Duration = Duration::from_secs(1);

impl Http {
    /// Say whether the host of `url` is known not to give several ranges in one answer.
    pub fn gives_single_ranges_only(&self, url: &str) -> bool {
        self.0.single_range_hosts.contains(&host_in(url))
    }

    /// Ask the host of `url` for no several ranges from now on.
    pub fn expect_single_ranges(&self, url: &str) {
        self.0.single_range_hosts.insert(&host_in(url));
    }

    /// Open `ranges`, two or more, ascending and with something between them, in one attempt.
    ///
    /// Anything but just these ranges is an error; unless it may be about this URL, or go away, the host
    /// is not expected to give several ranges from then on. See [`Http::open`] for the slot.
    pub async fn open_parts(&self, url: &str, ranges: &[Range<u64>]) -> Result<Parts> {
        let mut sending = Sending::new(Method::GET.as_str(), url, &[], Bytes::new())?;
        sending.set_ranges(ranges)?;
        let host = sending.host();
        let mut delimiter = Vec::new();
        let found = &mut delimiter;
        let opened = self.open_sending(sending, move |status, headers| {
            let kind = header(headers, "content-type").filter(|_| status == 206);
            let boundary = kind
                .and_then(boundary)
                .ok_or("does not answer with the several parts asked for")?;
            *found = format!("--{boundary}").into_bytes();
            Extent::of_parts(headers)
        });
        let body = opened.await.inspect_err(|error| {
            let is_refusal = match error {
                Error::Status { status, .. } => !is_retryable_status(*status) && !is_refused_url(*status),
                Error::Transport { kind, .. } => *kind == TransportKind::Protocol,
                _ => false,
            };
            if is_refusal {
                self.0.single_range_hosts.insert(&host);
            }
        })?;
        Ok(Parts {
            http: self.clone(),
            host,
            body,
            input: Bytes::new(),
            parser: PartsParser::new(delimiter, ranges.to_vec()),
        })
    }
}

/// Say whether a status may mean that a URL has expired, or never was for these ranges.
pub(crate) fn is_refused_url(status: u16) -> bool {
    matches!(status, 401 | 403 | 404 | 410)
}

fn host_in(url: &str) -> String {
    Url::parse(url).map_or_else(|_| String::new(), |url| host_of(&url))
}

/// Several ranges of one answer, in order. Dropping it ends the transfer.
pub struct Parts {
    http: Http,
    host: String,
    body: Body,
    input: Bytes,
    parser: PartsParser,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl Parts {
    /// Return the next bytes, at most `limit`, and where they are from; `None` after the last part.
    ///
    /// An error is final. Safe to drop while waiting.
    pub async fn next(&mut self, limit: u64) -> Result<Option<(u64, Bytes)>> {
        loop {
            let reason = match self.parser.next(&mut self.input, limit) {
                Ok(Some(piece)) => return Ok(Some(piece)),
                Ok(None) if self.parser.is_over() => return Ok(None),
                Ok(None) => match self.body.next().await? {
                    Some(piece) => {
                        self.input = piece;
                        continue;
                    }
                    None => "ends its answer before the last part".to_owned(),
                },
                Err(reason) => reason,
            };
            self.http.0.single_range_hosts.insert(&self.host);
            let message = format!("{} {reason}", self.host);
            return Err(Error::transport(TransportKind::Protocol, &self.host, message));
        }
    }

    /// Read what follows the last part, so that the connection can be used again.
    pub(crate) async fn finish(mut self) {
        if self.parser.is_over() {
            let end = async {
                let mut left = MAX_HEAD_BYTES;
                while let Ok(Some(piece)) = self.body.next().await {
                    let Some(rest) = left.checked_sub(piece.len()) else {
                        return;
                    };
                    left = rest;
                }
            };
            // Without its end the connection is closed, and that is all.
            let _ = tokio::time::timeout(END_PATIENCE, end).await;
        }
    }
}

/// Return the boundary that a `Content-Type` names, if it is the one of several ranges.
fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/byteranges") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then_some(value.trim())
    })?;
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let value = quoted.unwrap_or(value);
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let is_boundary = (1..=MAX_BOUNDARY_BYTES).contains(&value.len()) && value.bytes().all(is_allowed);
    (is_boundary && !value.ends_with(' ')).then_some(value)
}

/// Cuts the content of parts out of pushed bytes.
struct PartsParser {
    /// Two hyphens and the boundary.
    delimiter: Vec<u8>,
    /// The parts to come.
    wanted: std::vec::IntoIter<Range<u64>>,
    /// The beginning of an unfinished head.
    head: BytesMut,
    /// What is left of the part that is read.
    part: Range<u64>,
}

impl PartsParser {
    fn new(delimiter: Vec<u8>, wanted: Vec<Range<u64>>) -> Self {
        Self {
            delimiter,
            wanted: wanted.into_iter(),
            head: BytesMut::new(),
            part: 0..0,
        }
    }

    /// Say whether all parts were read.
    fn is_over(&self) -> bool {
        self.part.is_empty() && self.wanted.as_slice().is_empty()
    }

    /// Take content, at most `limit` bytes, from `input`, and say where it is from; `None` if `input` is used up or
    /// all is read. The error completes a sentence about the host.
    fn next(&mut self, input: &mut Bytes, limit: u64) -> Result<Option<(u64, Bytes)>, String> {
        if self.part.is_empty() && !self.enter(input)? {
            return Ok(None);
        }
        let left = (self.part.end - self.part.start).min(limit);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        if length == 0 {
            return Ok(None);
        }
        let start = self.part.start;
        self.part.start += length as u64;
        Ok(Some((start, input.split_to(length))))
    }

    /// Read the head of the next part; says whether it is complete.
    fn enter(&mut self, input: &mut Bytes) -> Result<bool, String> {
        let Some(wanted) = self.wanted.as_slice().first() else {
            return Ok(false);
        };
        let before = self.head.len();
        let taken = input.len().min(MAX_HEAD_BYTES.saturating_sub(before));
        self.head.extend_from_slice(input.get(..taken).unwrap_or_default());
        let Some(end) = end_of_head(&self.head, before) else {
            input.advance(taken);
            if self.head.len() >= MAX_HEAD_BYTES {
                return Err("sends a part with a very long head".to_owned());
            }
            return Ok(false);
        };
        let range = self
            .head
            .get(..end)
            .and_then(|head| range_of_head(head, &self.delimiter));
        if range.as_ref() != Some(wanted) {
            let Range { start, end } = wanted;
            return Err(format!(
                "does not send bytes [{start}, {end}) as the part that was asked for"
            ));
        }
        input.advance(end.saturating_sub(before));
        self.head.clear();
        self.part = self.wanted.next().unwrap_or_default();
        Ok(true)
    }
}

/// Return where the head ends, after its empty line; up to `seen` there was none.
fn end_of_head(head: &[u8], seen: usize) -> Option<usize> {
    let from = seen.saturating_sub(3);
    let mut windows = head.get(from..)?.windows(4);
    Some(from + windows.position(|window| window == b"\r\n\r\n")? + 4)
}

/// Return the range that the head of a part names.
fn range_of_head(head: &[u8], delimiter: &[u8]) -> Option<Range<u64>> {
    // Before the first delimiter a line may end that is not there.
    let head = head.strip_prefix(b"\r\n").unwrap_or(head).strip_prefix(delimiter)?;
    let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
    if !lines.next()?.trim_matches([' ', '\t']).is_empty() {
        return None;
    }
    let value = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-range").then_some(value)
    })?;
    let (start, end, _) = content_range(value)?;
    Some(start..end)
}

#[cfg(test)]
mod tests;

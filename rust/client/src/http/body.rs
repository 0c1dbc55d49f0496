//! The body of an answer, read as it arrives: checked against what was asked for, watched for
//! stalls, counted and held to the rate limit.

use std::fmt;
use std::time::Instant;

use bytes::{Buf, Bytes};

use super::Http;
use super::extent::Extent;
use super::message::header;
use super::send::Exchanged;
use super::stall::Stall;
use super::stats::add;
use crate::error::{Error, Result, TransportKind};
use crate::limiter::Slot;

/// The body of an answer, read as it arrives. Dropping it ends the transfer.
pub struct Body {
    /// HTTP status: 200 or 206.
    pub status: u16,
    /// Headers; names in lower case.
    pub headers: Vec<(String, String)>,
    /// Offset of the first byte that [`Self::next`] gives.
    pub start: u64,
    /// One past the last byte; `u64::MAX` if the length is not known.
    pub end: u64,
    /// Length of the whole resource, if known.
    pub total: Option<u64>,
    http: Http,
    exchanged: Exchanged,
    /// Given back at the end, not only when the body is dropped.
    slot: Option<Slot>,
    /// Bytes of the answer to pass over: it is the whole, a part was asked for.
    skip: u64,
    position: u64,
    stall: Stall,
    /// The rate limit allows no reading before.
    not_before: Option<Instant>,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("status", &self.status)
            .field("start", &self.start)
            .field("end", &self.end)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Body {
    pub(super) fn new(
        http: Http,
        exchanged: Exchanged,
        headers: Vec<(String, String)>,
        extent: impl FnOnce(u16, &[(String, String)]) -> Result<Extent, String>,
        slot: Slot,
    ) -> Result<Self> {
        let status = exchanged.response.status().as_u16();
        let extent = extent(status, &headers).map_err(|reason| {
            Error::transport(
                TransportKind::Protocol,
                &exchanged.host,
                format!("{} {reason}", exchanged.host),
            )
        })?;
        Ok(Self {
            status,
            headers,
            start: extent.start,
            end: extent.end,
            total: extent.total,
            skip: extent.skip,
            position: extent.start,
            stall: Stall::new(http.options().stall),
            not_before: None,
            http,
            exchanged,
            slot: Some(slot),
        })
    }

    /// Return the first header called `name`, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Return the offset of the next byte.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Return the next bytes; `None` after the last.
    ///
    /// Fails with `connection_cut` if the body ends early and with `stalled` if it as good as stops.
    /// Safe to drop while waiting: no byte is lost.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.position < self.end {
            if let Some(time) = self.not_before {
                tokio::time::sleep_until(time.into()).await;
                self.not_before = None;
            }
            let Some(mut piece) = self.receive().await? else {
                if self.end == u64::MAX {
                    self.end = self.position;
                    break;
                }
                return Err(self.cut());
            };
            let skipped = self.skip.min(piece.len() as u64);
            self.skip -= skipped;
            // Both fit: neither is longer than the piece.
            piece.advance(usize::try_from(skipped).unwrap_or(usize::MAX));
            let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
            piece.truncate(left);
            if piece.is_empty() {
                continue;
            }
            self.position += piece.len() as u64;
            if self.position == self.end {
                self.slot = None;
            }
            return Ok(Some(piece));
        }
        self.slot = None;
        Ok(None)
    }

    async fn receive(&mut self) -> Result<Option<Bytes>> {
        let patience = self.stall.wait(Instant::now());
        let Ok(outcome) = tokio::time::timeout(patience, self.exchanged.response.chunk()).await else {
            return Err(self.stalled());
        };
        let now = Instant::now();
        let piece = match outcome {
            Ok(Some(piece)) => piece,
            Ok(None) => return Ok(None),
            Err(error) => return Err(self.http.fail(&self.exchanged, &error)),
        };
        add(&self.http.0.counters.bytes_in, piece.len() as u64);
        self.http.0.limiter.received(piece.len(), now);
        if let Some(rate) = &self.http.0.rate {
            self.not_before = Some(rate.count(piece.len(), now)).filter(|time| *time > now);
        }
        if self.stall.is_stalled(now, piece.len()) {
            return Err(self.stalled());
        }
        Ok(Some(piece))
    }

    fn cut(&self) -> Error {
        let (host, position, end) = (&self.exchanged.host, self.position, self.end);
        let message = format!("the answer of {host} ended early: at byte {position}, wanted bytes up to {end}");
        Error::transport(TransportKind::Cut, host, message)
    }

    fn stalled(&self) -> Error {
        add(&self.http.0.counters.stalled, 1);
        let error = self.stall.error(&self.exchanged.host, self.position);
        self.http.note_overload(&error);
        error
    }
}

//! A request on a connection, and the frames of its answer.
//!
//! An HTTP/1.1 connection is driven by whoever waits for it, in the same task: what it reads needs no wake-up
//! and no queue to reach its reader. One of HTTP/2 has a task of its own, as many share it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;

use crate::connect::Target;
use crate::error::Result;
use crate::io::{Seen, Watched};

pub(crate) type Message = Request<Full<Bytes>>;

/// Longest head of an answer; what is read at once may be a little more.
pub(crate) const HEAD_BYTES: usize = 64 << 10;

/// A connection as one request uses it.
pub(crate) struct Link {
    sender: Sender,
    seen: Seen,
}

/// None when it has ended. Boxed, because links are moved often.
type Driver = Option<Box<http1::Connection<TokioIo<Watched>, Full<Bytes>>>>;

enum Sender {
    Own {
        sender: http1::SendRequest<Full<Bytes>>,
        driver: Driver,
    },
    Shared(http2::SendRequest<Full<Bytes>>),
}

impl Link {
    /// Make a connection of its own.
    pub(crate) async fn connect(target: &Target) -> Result<Self> {
        let seen = Seen::default();
        let io = TokioIo::new(Watched::new(target.connect().await?, seen.clone()));
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES)
            .handshake(io)
            .await
            .map_err(|error| target.unshaken(&error))?;
        let driver = Some(Box::new(driver));
        Ok(Self {
            sender: Sender::Own { sender, driver },
            seen,
        })
    }

    /// Use a connection that others use too.
    pub(crate) fn share(sender: http2::SendRequest<Full<Bytes>>) -> Self {
        Self {
            sender: Sender::Shared(sender),
            seen: Seen::default(),
        }
    }

    /// Say whether anything came since the request was sent.
    pub(crate) fn seen(&self) -> bool {
        self.seen.get()
    }

    /// Send a request, and wait for the head of its answer.
    pub(crate) async fn exchange(&mut self, message: Message) -> hyper::Result<Response<Incoming>> {
        self.seen.clear();
        match &mut self.sender {
            Sender::Own { sender, driver } => {
                let mut answer = pin!(sender.send_request(message));
                poll_fn(|cx| {
                    drive(driver, cx);
                    answer.as_mut().poll(cx)
                })
                .await
            }
            Sender::Shared(sender) => {
                sender.ready().await?;
                sender.send_request(message).await
            }
        }
    }

    /// Return the next bytes of a body; nothing at its end.
    pub(crate) fn poll_data(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Bytes>>> {
        loop {
            let mut frame = Pin::new(&mut *body).poll_frame(cx);
            if frame.is_pending()
                && let Sender::Own { driver, .. } = &mut self.sender
            {
                drive(driver, cx);
                frame = Pin::new(&mut *body).poll_frame(cx);
            }
            match frame {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers are not passed on.
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    }

    /// Say whether the connection waits for a request: nothing was left to send or read, and nobody ended it.
    pub(crate) fn is_idle(&mut self) -> bool {
        let Sender::Own { sender, driver } = &mut self.sender else {
            return false;
        };
        drive(driver, &mut Context::from_waker(Waker::noop()));
        driver.is_some() && sender.is_ready()
    }
}

/// Let a connection write and read what it can. Its failure is told to whoever waits for its answer.
fn drive(driver: &mut Driver, cx: &mut Context<'_>) {
    if let Some(connection) = driver
        && Pin::new(connection).poll(cx).is_ready()
    {
        *driver = None;
    }
}

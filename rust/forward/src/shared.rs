//! The one HTTP/2 connection of an upstream.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::connect::Target;
use crate::error::Result;
use crate::exchange::{HEAD_BYTES, Link};
use crate::io::{Seen, Watched};

/// What may wait unread of one answer, and of all: readers that stop must not stop others.
const STREAM_BYTES: u32 = 64 << 10;
const CONNECTION_BYTES: u32 = 64 << 20;

#[derive(Default)]
pub(crate) struct Shared {
    current: Mutex<Option<SendRequest<Full<Bytes>>>>,
    /// Held by who connects; others wait for it.
    connecting: tokio::sync::Mutex<()>,
}

impl Shared {
    /// Return the connection, if there is one and it lives.
    pub(crate) fn get(&self) -> Option<Link> {
        let sender = self.current().clone()?;
        (!sender.is_closed()).then(|| Link::share(sender))
    }

    /// Return the connection that somebody made meanwhile, or make one.
    pub(crate) async fn connect(&self, target: &Target) -> Result<Link> {
        let _connecting = self.connecting.lock().await;
        if let Some(link) = self.get() {
            return Ok(link);
        }
        let io = TokioIo::new(Watched::new(target.connect().await?, Seen::default()));
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_BYTES)
            .initial_connection_window_size(CONNECTION_BYTES)
            .max_header_list_size(HEAD_BYTES.try_into().unwrap_or(u32::MAX))
            .handshake(io)
            .await
            .map_err(|error| target.unshaken(&error))?;
        tokio::spawn(connection);
        *self.current() = Some(sender.clone());
        Ok(Link::share(sender))
    }

    /// Use the connection no more: it failed somebody. Those that use it go on.
    pub(crate) fn forget(&self) {
        *self.current() = None;
    }

    fn current(&self) -> MutexGuard<'_, Option<SendRequest<Full<Bytes>>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

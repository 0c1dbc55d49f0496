//! What the thread does for one request.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::task::AtomicWaker;
use xetway_forward::{Answer, Body, Limits, Reading, Request, Upstream};

use super::queue::{Arrived, Content, Outcome, Queue, Ticket, Trouble};
use super::stream::Stream;

/// A request to be sent.
pub(super) struct Job {
    pub(super) upstream: Upstream,
    pub(super) request: Request,
    pub(super) limits: Limits,
    pub(super) ticket: Arc<Ticket>,
    pub(super) queue: Arc<Queue>,
    pub(super) began: Instant,
}

/// Lets Python end a job, or say that there is room again.
#[derive(Default)]
pub(super) struct Control {
    cancelled: AtomicBool,
    waker: AtomicWaker,
}

impl Control {
    /// End the job: what it holds is dropped, its connection closed.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.wake();
    }

    /// Say whether the job was ended by Python.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Have the job look again.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// Ready if the job is to end. Whoever wakes it from now on is heard.
    fn poll_cancelled(&self, cx: &Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        if self.is_cancelled() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Job {
    pub(super) async fn run(self) {
        let control = Arc::clone(&self.ticket.control);
        tokio::select! {
            biased;
            () = poll_fn(|cx| control.poll_cancelled(cx)) => {}
            () = self.forward() => {}
        }
    }

    async fn forward(self) {
        let Self {
            upstream,
            request,
            limits,
            ticket,
            queue,
            began,
        } = self;
        let sent = AssertUnwindSafe(upstream.send(request, limits)).catch_unwind().await;
        let Answer {
            status,
            headers,
            until_close,
            body,
        } = match sent {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return queue.push(ticket, Outcome::Failed(Trouble::Failed(error))),
            Err(_panic) => return queue.push(ticket, Outcome::Failed(Trouble::Panicked)),
        };
        let head_s = began.elapsed().as_secs_f64();
        let arrived = |body| {
            Outcome::Arrived(Arrived {
                status,
                headers,
                until_close,
                body,
                head_s,
            })
        };
        match body {
            Body::Whole(body) => queue.push(ticket, arrived(Content::Whole(body))),
            Body::Open(reading) => {
                let stream = Arc::new(Stream::new(Arc::clone(&ticket.control), Arc::clone(&queue), began));
                queue.push(ticket, arrived(Content::Stream(Arc::clone(&stream))));
                let filled = AssertUnwindSafe(fill(&stream, reading)).catch_unwind().await;
                stream.end(filled.unwrap_or(Err(Trouble::Panicked)));
            }
        }
    }
}

/// Read a body into a stream, no faster than it is taken out.
async fn fill(stream: &Arc<Stream>, mut reading: Reading) -> Result<(), Trouble> {
    loop {
        poll_fn(|_| stream.poll_room()).await;
        match reading.next().await.map_err(Trouble::Failed)? {
            Some(data) => stream.put(&data),
            None => return Ok(()),
        }
    }
}

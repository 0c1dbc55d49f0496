//! Bytes of an answer between the thread that reads them and the event loop that takes them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Instant;

use super::job::Control;
use super::queue::{Outcome, Queue, Ticket, Trouble};

/// What waits at most for who takes it, give or take a frame; and what is taken at once.
pub(super) const PIECE_BYTES: usize = 64 << 10;

/// How much of the end of a body is kept.
const TAIL_BYTES: usize = 4 << 10;

pub(super) struct Stream {
    pub(super) control: Arc<Control>,
    queue: Arc<Queue>,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    buffer: Vec<u8>,
    /// How it ended, once it has.
    end: Option<Result<(), Trouble>>,
    /// Who waits for bytes, until there is something.
    reader: Option<Arc<Ticket>>,
    /// Somebody waits, or was not told yet.
    busy: bool,
    /// The thread waits for room.
    full: bool,
    first_byte_s: Option<f64>,
    seen: Seen,
}

/// What is kept of bytes that are gone: server-sent events, and the end.
#[derive(Clone, Default)]
pub(super) struct Seen {
    pub(super) events: u64,
    line_ended: bool,
    tail: Vec<u8>,
}

impl Seen {
    /// Look at the next bytes.
    pub(super) fn note(&mut self, data: &[u8]) {
        for byte in data {
            match (byte, self.line_ended) {
                (b'\n', true) => {
                    self.events += 1;
                    self.line_ended = false;
                }
                (b'\n', false) => self.line_ended = true,
                (b'\r', _) => {}
                _ => self.line_ended = false,
            }
        }
        if data.len() >= TAIL_BYTES || self.tail.len() + data.len() > 2 * TAIL_BYTES {
            let kept = TAIL_BYTES.saturating_sub(data.len());
            let gone = self.tail.len().saturating_sub(kept);
            self.tail.drain(..gone);
        }
        self.tail.extend_from_slice(last(data));
    }

    /// Return the last bytes.
    pub(super) fn tail(&self) -> &[u8] {
        last(&self.tail)
    }
}

fn last(data: &[u8]) -> &[u8] {
    data.get(data.len().saturating_sub(TAIL_BYTES)..).unwrap_or(data)
}

/// What a reader gets.
pub(super) enum Taken {
    /// The next bytes; none at the end.
    Data(Vec<u8>),
    Failed(Trouble),
    /// Nothing is there yet.
    Nothing,
    /// Somebody else reads.
    Busy,
    /// Python ended the job.
    Closed,
}

impl Stream {
    pub(super) fn new(control: Arc<Control>, queue: Arc<Queue>, began: Instant) -> Self {
        Self {
            control,
            queue,
            began,
            state: Mutex::default(),
        }
    }

    /// Ready once there is room; who takes bytes wakes the job.
    pub(super) fn poll_room(&self) -> Poll<()> {
        let mut state = self.state();
        state.full = state.buffer.len() >= PIECE_BYTES;
        if state.full { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Add bytes that came.
    pub(super) fn put(self: &Arc<Self>, data: &[u8]) {
        let mut state = self.state();
        if state.first_byte_s.is_none() {
            state.first_byte_s = Some(self.began.elapsed().as_secs_f64());
        }
        state.seen.note(data);
        state.buffer.extend_from_slice(data);
        self.tell(state);
    }

    /// Say that there are no more.
    pub(super) fn end(self: &Arc<Self>, how: Result<(), Trouble>) {
        let mut state = self.state();
        state.end = Some(how);
        self.tell(state);
    }

    fn tell(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            self.queue.push(reader, Outcome::Data(Arc::clone(self)));
        }
    }

    /// End the job, and tell who waits.
    pub(super) fn close(self: &Arc<Self>) {
        self.control.cancel();
        self.tell(self.state());
    }

    /// Take what is there; `waited` by who was told that there is something.
    pub(super) fn take(&self, waited: bool) -> Taken {
        let mut state = self.state();
        state.busy &= !waited;
        if state.end.is_none() && self.control.is_cancelled() {
            return Taken::Closed;
        }
        if state.busy {
            return Taken::Busy;
        }
        if state.buffer.is_empty() {
            return match &state.end {
                None => Taken::Nothing,
                Some(Ok(())) => Taken::Data(Vec::new()),
                Some(Err(trouble)) => Taken::Failed(trouble.clone()),
            };
        }
        let rest = if state.buffer.len() > PIECE_BYTES {
            state.buffer.split_off(PIECE_BYTES)
        } else {
            Vec::new()
        };
        let data = std::mem::replace(&mut state.buffer, rest);
        if std::mem::take(&mut state.full) {
            self.control.wake();
        }
        Taken::Data(data)
    }

    /// Have `ticket` told when there is something; at once if there is by now.
    pub(super) fn wait(self: &Arc<Self>, ticket: Arc<Ticket>) {
        let mut state = self.state();
        state.reader = Some(ticket);
        state.busy = true;
        if !state.buffer.is_empty() || state.end.is_some() || self.control.is_cancelled() {
            self.tell(state);
        }
    }

    /// Return what was seen of the body, and when its first byte came.
    pub(super) fn seen(&self) -> (Seen, Option<f64>) {
        let state = self.state();
        (state.seen.clone(), state.first_byte_s)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

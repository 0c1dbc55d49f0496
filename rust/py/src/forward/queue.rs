//! How results reach an event loop: a queue for each, and one byte in a pipe when it was empty.
//!
//! The thread that forwards never waits for the interpreter; the loop takes all that has come at once.
//! A loop that watches no files (of Windows) is told by the courier.

use std::io::{PipeReader, Read};
#[cfg(unix)]
use std::io::{PipeWriter, Write};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use pyo3::exceptions::{PyAttributeError, PyNotImplementedError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};
use xetway_forward::{Error, HeaderMap};

use super::answer::Answer;
use super::job::Control;
use super::stream::Stream;
use crate::errors::{internal_error, later};
use crate::future::call_soon;
use crate::process::InProcess;
use crate::runtime::{Courier, engine};

/// Who waits. What is in it is taken out, or dropped, by threads with the interpreter only.
pub(super) struct Ticket {
    waiting: Mutex<Option<Waiting>>,
    pub(super) control: Arc<Control>,
}

/// A future of an event loop, and what is called if it is cancelled.
struct Waiting {
    future: Py<PyAny>,
    canceller: Py<Canceller>,
}

impl Ticket {
    fn waiting(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What somebody is told.
pub(super) enum Outcome {
    Arrived(Arrived),
    Failed(Trouble),
    /// A stream has bytes, or has ended.
    Data(Arc<Stream>),
}

/// Why there is no answer, or no more of it.
#[derive(Clone)]
pub(super) enum Trouble {
    Failed(Error),
    /// A bug.
    Panicked,
}

impl Trouble {
    /// Make the exception for it.
    pub(super) fn exception(self, py: Python<'_>) -> PyErr {
        match self {
            Self::Failed(error) => later(error)(py),
            Self::Panicked => internal_error(),
        }
    }
}

/// An answer that has come.
pub(super) struct Arrived {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) until_close: bool,
    pub(super) body: Content,
    /// When its head came, after the request.
    pub(super) head_s: f64,
}

/// A body.
pub(super) enum Content {
    Whole(Bytes),
    Stream(Arc<Stream>),
}

/// What one event loop has still to be told.
pub(super) struct Queue {
    waiting: Mutex<Vec<(Arc<Ticket>, Outcome)>>,
    bell: Bell,
}

enum Bell {
    #[cfg(unix)]
    Pipe(PipeWriter),
    Courier(Courier, Arc<Py<PyWeakrefReference>>),
}

impl Queue {
    /// Add a result. Wakes the loop if it has no reason to look yet.
    pub(super) fn push(self: &Arc<Self>, ticket: Arc<Ticket>, outcome: Outcome) {
        let mut waiting = self.waiting();
        let first = waiting.is_empty();
        waiting.push((ticket, outcome));
        drop(waiting);
        if first {
            self.ring();
        }
    }

    /// A failure means that the loop was closed: then nobody waits.
    fn ring(self: &Arc<Self>) {
        match &self.bell {
            #[cfg(unix)]
            Bell::Pipe(pipe) => {
                let mut pipe: &PipeWriter = pipe;
                let _ = pipe.write(&[1]);
            }
            Bell::Courier(courier, event_loop) => {
                let (queue, event_loop) = (Arc::clone(self), Arc::clone(event_loop));
                courier.send(move |py| {
                    if let Some(event_loop) = event_loop.bind(py).upgrade() {
                        let _ = call_soon(&event_loop, Reader { queue, pipe: None });
                    }
                });
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<(Arc<Ticket>, Outcome)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Called in the loop when there is something to be told. Belongs to the loop.
#[pyclass(frozen)]
struct Reader {
    queue: Arc<Queue>,
    pipe: Option<PipeReader>,
}

#[pymethods]
impl Reader {
    fn __call__(&self, py: Python<'_>) {
        if let Some(mut pipe) = self.pipe.as_ref() {
            let _ = pipe.read(&mut [0; 64]);
        }
        let waiting = std::mem::take(&mut *self.queue.waiting());
        for (ticket, outcome) in waiting {
            // None if it was cancelled.
            let waiting = ticket.waiting().take();
            if let Some(waiting) = waiting
                && let Err(error) = waiting.tell(py, outcome)
            {
                // The others are told nevertheless.
                error.write_unraisable(py, None);
            }
        }
    }
}

impl Waiting {
    fn tell(self, py: Python<'_>, outcome: Outcome) -> PyResult<()> {
        let future = self.future.bind(py);
        // It would be called, later and for nothing.
        future.call_method1(intern!(py, "remove_done_callback"), (self.canceller,))?;
        settle(future, made(py, outcome))
    }
}

fn made(py: Python<'_>, outcome: Outcome) -> PyResult<Bound<'_, PyAny>> {
    match outcome {
        Outcome::Arrived(arrived) => Ok(Answer::new(py, arrived).into_pyobject(py)?.into_any()),
        Outcome::Failed(trouble) => Err(trouble.exception(py)),
        Outcome::Data(stream) => stream.data(py, true)?.ok_or_else(internal_error),
    }
}

/// Tell a future of this thread's loop, unless it was cancelled.
pub(super) fn settle(future: &Bound<'_, PyAny>, outcome: PyResult<Bound<'_, PyAny>>) -> PyResult<()> {
    let py = future.py();
    let told = match outcome {
        Ok(value) => future.call_method1(intern!(py, "set_result"), (value,)),
        Err(error) => future.call_method1(intern!(py, "set_exception"), (error.value(py),)),
    };
    match told {
        Err(_) if future.call_method0(intern!(py, "done"))?.is_truthy()? => Ok(()),
        told => told.map(drop),
    }
}

/// Make a future of a loop, and who is told for it; cancelling it ends the job.
pub(super) fn promise<'py>(
    event_loop: &Bound<'py, PyAny>,
    control: Arc<Control>,
) -> PyResult<(Bound<'py, PyAny>, Arc<Ticket>)> {
    let py = event_loop.py();
    let future = event_loop.call_method0(intern!(py, "create_future"))?;
    let ticket = Arc::new(Ticket {
        waiting: Mutex::default(),
        control,
    });
    let canceller = Py::new(py, Canceller(InProcess::new(Arc::clone(&ticket))))?;
    future.call_method1(intern!(py, "add_done_callback"), (&canceller,))?;
    *ticket.waiting() = Some(Waiting {
        future: future.clone().unbind(),
        canceller,
    });
    Ok((future, ticket))
}

/// Called with a future that is done although nobody was told: it was cancelled.
#[pyclass(frozen)]
struct Canceller(InProcess<Arc<Ticket>>);

#[pymethods]
impl Canceller {
    fn __call__(&self, _future: &Bound<'_, PyAny>) {
        if let Some(ticket) = self.0.get() {
            let waiting = ticket.waiting().take();
            drop(waiting);
            ticket.control.cancel();
        }
    }
}

/// A loop that has a queue.
struct Known {
    pid: u32,
    event_loop: Py<PyWeakrefReference>,
    queue: Arc<Queue>,
}

/// Locked only by threads attached to the interpreter, which run no Python code meanwhile.
static LOOPS: Mutex<Vec<Known>> = Mutex::new(Vec::new());

/// Return the queue of an event loop, which is this thread's.
pub(super) fn queue_of(event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Queue>> {
    let this = process::id();
    if let Some(queue) = find(event_loop, this) {
        return Ok(queue);
    }
    let reference = PyWeakrefReference::new(event_loop)?.unbind();
    let queue = open(event_loop, &reference)?;
    let mut loops = LOOPS.lock().unwrap_or_else(PoisonError::into_inner);
    let former = std::mem::take(&mut *loops);
    let (mut kept, gone): (Vec<_>, Vec<_>) = former
        .into_iter()
        .partition(|known| known.pid == this && known.event_loop.bind(event_loop.py()).upgrade().is_some());
    kept.push(Known {
        pid: this,
        event_loop: reference,
        queue: Arc::clone(&queue),
    });
    *loops = kept;
    drop(loops);
    let (gone, inherited): (Vec<_>, Vec<_>) = gone.into_iter().partition(|known| known.pid == this);
    drop(gone);
    // The parent's thread may have held their locks.
    std::mem::forget(inherited);
    Ok(queue)
}

fn find(event_loop: &Bound<'_, PyAny>, pid: u32) -> Option<Arc<Queue>> {
    let loops = LOOPS.lock().unwrap_or_else(PoisonError::into_inner);
    let is_it = |known: &&Known| {
        let reference = known.event_loop.bind(event_loop.py());
        known.pid == pid && reference.upgrade().is_some_and(|known| known.is(event_loop))
    };
    loops.iter().find(is_it).map(|known| Arc::clone(&known.queue))
}

fn open(event_loop: &Bound<'_, PyAny>, reference: &Py<PyWeakrefReference>) -> PyResult<Arc<Queue>> {
    let py = event_loop.py();
    match watched(event_loop) {
        Err(error)
            if error.is_instance_of::<PyNotImplementedError>(py) || error.is_instance_of::<PyAttributeError>(py) =>
        {
            let (_, courier) = engine(py)?;
            Ok(Arc::new(Queue {
                waiting: Mutex::default(),
                bell: Bell::Courier(courier, Arc::new(reference.clone_ref(py))),
            }))
        }
        watched => watched,
    }
}

#[cfg(unix)]
fn watched(event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Queue>> {
    use std::os::fd::AsRawFd;

    let (reader, writer) = std::io::pipe()?;
    let file = reader.as_raw_fd();
    let queue = Arc::new(Queue {
        waiting: Mutex::default(),
        bell: Bell::Pipe(writer),
    });
    let called = Reader {
        queue: Arc::clone(&queue),
        pipe: Some(reader),
    };
    event_loop.call_method1("add_reader", (file, called))?;
    Ok(queue)
}

#[cfg(not(unix))]
fn watched(_: &Bound<'_, PyAny>) -> PyResult<Arc<Queue>> {
    Err(PyNotImplementedError::new_err("pipes cannot be watched here"))
}

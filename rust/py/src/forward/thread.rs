//! The one thread that forwards: an event loop of its own, which never waits for the interpreter.

use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::job::Job;
use crate::process::Started;

/// Longest wait, at the end of the interpreter, for the thread to drop what it does.
const SHUTDOWN: Duration = Duration::from_millis(500);

struct Forwarding {
    jobs: UnboundedSender<Job>,
    /// Disconnects when the thread has ended.
    ended: Receiver<()>,
}

static FORWARDING: Started<Forwarding> = Started::new();

/// Have a job done. Wakes the thread only if it sleeps.
pub(super) fn submit(py: Python<'_>, job: Job) -> PyResult<()> {
    static REGISTERED: PyOnceLock<()> = PyOnceLock::new();
    REGISTERED.get_or_try_init(py, || {
        let shut_down = wrap_pyfunction!(shut_down, py)?;
        py.import("atexit")?.call_method1("register", (shut_down,))?;
        Ok::<_, PyErr>(())
    })?;
    // It cannot fail: the thread ends after this was taken out only.
    FORWARDING.with(start, |forwarding| drop(forwarding.jobs.send(job)))
}

fn start() -> io::Result<Forwarding> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (jobs, taken) = unbounded_channel();
    let (alive, ended) = channel::<()>();
    thread::Builder::new()
        .name("xetway-forward".to_owned())
        .spawn(move || {
            runtime.block_on(work(taken));
            // A name that is being resolved is not waited for.
            runtime.shutdown_background();
            drop(alive);
        })?;
    Ok(Forwarding { jobs, ended })
}

async fn work(mut jobs: UnboundedReceiver<Job>) {
    while let Some(job) = jobs.recv().await {
        tokio::spawn(job.run());
    }
}

/// End all work. Run at exit, while other threads still can have the interpreter.
#[pyfunction]
fn shut_down(py: Python<'_>) {
    let Some(Forwarding { jobs, ended }) = FORWARDING.end() else {
        return;
    };
    py.detach(move || {
        drop(jobs);
        let _ = ended.recv_timeout(SHUTDOWN);
    });
}

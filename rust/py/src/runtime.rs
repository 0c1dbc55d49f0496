//! The threads that do the network's work: one tokio runtime for the process, and one thread that
//! tells Python.
//!
//! Made when first needed, and again after a fork; ended when the interpreter ends. The runtime's
//! threads never wait for the interpreter: what they have to tell goes through the courier, in order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::process::Started;

/// Fewest and most threads for I/O; decoding and hashing have threads of their own.
const WORKER_THREADS: (usize, usize) = (2, 4);

/// Longest wait, at the end of the interpreter, for work that has begun.
const SHUTDOWN: Duration = Duration::from_millis(500);

type Delivery = Box<dyn FnOnce(Python<'_>) + Send>;

/// Runs what it is given with the interpreter, soon, one after the other. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Courier(Sender<Delivery>);

impl Courier {
    /// Have `delivery` run. Never waits, and never fails: at the end of the interpreter nobody listens.
    pub(crate) fn send(&self, delivery: impl FnOnce(Python<'_>) + Send + 'static) {
        let _ = self.0.send(Box::new(delivery));
    }
}

struct Engine {
    runtime: Runtime,
    courier: Courier,
    /// Disconnects when the courier's thread has ended.
    ended: Receiver<()>,
}

static ENGINE: Started<Engine> = Started::new();

/// Return what runs tasks, and what tells Python of their ends.
pub(crate) fn engine(py: Python<'_>) -> PyResult<(Handle, Courier)> {
    end_with_the_interpreter(py)?;
    ENGINE.with(start, |engine| {
        (engine.runtime.handle().clone(), engine.courier.clone())
    })
}

/// Register [`shut_down`], once: children inherit it. Not with [`ENGINE`] locked, as Python code may let others run.
fn end_with_the_interpreter(py: Python<'_>) -> PyResult<()> {
    static REGISTERED: PyOnceLock<()> = PyOnceLock::new();
    REGISTERED
        .get_or_try_init(py, || {
            let shut_down = wrap_pyfunction!(shut_down, py)?;
            py.import("atexit")?.call_method1("register", (shut_down,))?;
            Ok(())
        })
        .copied()
}

/// Return what runs tasks.
pub(crate) fn runtime(py: Python<'_>) -> PyResult<Handle> {
    engine(py).map(|(handle, _)| handle)
}

fn start() -> std::io::Result<Engine> {
    let cores = thread::available_parallelism().map_or(WORKER_THREADS.0, usize::from);
    let runtime = Builder::new_multi_thread()
        .worker_threads(cores.clamp(WORKER_THREADS.0, WORKER_THREADS.1))
        .thread_name("xetway-net")
        .enable_all()
        .build()?;
    let (sender, receiver) = channel();
    let (alive, ended) = channel();
    thread::Builder::new()
        .name("xetway-courier".to_owned())
        .spawn(move || {
            deliver(&receiver);
            drop::<Sender<()>>(alive);
        })?;
    Ok(Engine {
        runtime,
        courier: Courier(sender),
        ended,
    })
}

fn deliver(deliveries: &Receiver<Delivery>) {
    while let Ok(first) = deliveries.recv() {
        let attached = Python::try_attach(|py| {
            run(py, first);
            while let Ok(next) = deliveries.try_recv() {
                run(py, next);
            }
        });
        if attached.is_none() {
            // The interpreter has ended.
            return;
        }
    }
}

/// A panic is a bug, but not one that others have to wait for.
fn run(py: Python<'_>, delivery: Delivery) {
    let _ = catch_unwind(AssertUnwindSafe(|| delivery(py)));
}

/// End all work. Run at exit, while other threads still can have the interpreter.
#[pyfunction]
fn shut_down(py: Python<'_>) {
    let Some(engine) = ENGINE.end() else { return };
    py.detach(|| {
        let Engine {
            runtime,
            courier,
            ended,
        } = engine;
        // Tasks end where they next wait, and with them what they hold of the courier.
        runtime.shutdown_timeout(SHUTDOWN);
        drop(courier);
        let _ = ended.recv_timeout(SHUTDOWN);
    });
}

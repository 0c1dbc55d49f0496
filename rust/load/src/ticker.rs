//! Wakes a poll at times finer than the milliseconds it counts in: a thread that sleeps, about 0.05 ms late.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use mio::Waker;

pub(crate) struct Ticker {
    running: Arc<AtomicBool>,
    thread: Thread,
}

impl Ticker {
    /// One that wakes `every` so often, once it is told to run.
    pub(crate) fn new(waker: Waker, every: Duration) -> io::Result<Self> {
        let running = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&running);
        let thread = thread::Builder::new().name("ticker".into()).spawn(move || {
            let mut due = Instant::now();
            loop {
                while !told.load(Ordering::Relaxed) {
                    thread::park();
                    due = Instant::now();
                }
                due += every;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if waker.wake().is_err() {
                    return;
                }
            }
        })?;
        Ok(Self {
            running,
            thread: thread.thread().clone(),
        })
    }

    pub(crate) fn run(&self, wanted: bool) {
        if self.running.swap(wanted, Ordering::Relaxed) != wanted {
            self.thread.unpark();
        }
    }
}

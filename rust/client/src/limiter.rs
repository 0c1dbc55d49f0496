//! How many bodies are read at a time: a number that follows the goodput.
//!
//! Slots are given out first come first served. What to do with a measurement is decided in
//! [`control`], which knows no clock; this module measures.

mod control;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::options::Concurrency;
use control::{Control, Measured};

/// How long goodput is measured before anything is concluded from it.
const WINDOW: Duration = Duration::from_millis(500);

/// A window that took as many times longer held a pause, and says nothing about the goodput.
const LONGEST_WINDOWS: u32 = 3;

/// Gives out slots to read bodies in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Limiter(Arc<Shared>);

/// The right to read one body, given back when dropped.
#[derive(Debug)]
pub struct Slot {
    limiter: Limiter,
}

#[derive(Debug)]
struct Shared {
    begin: Instant,
    /// When the window ends, in microseconds since the beginning: read without the lock.
    window_end_us: AtomicU64,
    bytes: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    in_use: usize,
    waiters: VecDeque<oneshot::Sender<Slot>>,
    /// `None` when the number is fixed.
    control: Option<Control>,
    window_start: Duration,
    /// Whether somebody had to wait for a slot in this window.
    wanted_more: bool,
    failures: u32,
    latency_sum: Duration,
    latencies: u32,
}

impl Limiter {
    /// Make a limiter.
    pub fn new(concurrency: Concurrency) -> Self {
        let (limit, control) = match concurrency {
            Concurrency::Fixed(limit) => (limit.max(1), None),
            Concurrency::Adaptive { initial, max } => {
                let control = Control::new(initial, max);
                (control.limit(), Some(control))
            }
        };
        Self(Arc::new(Shared {
            begin: Instant::now(),
            window_end_us: AtomicU64::new(micros(WINDOW)),
            bytes: AtomicU64::new(0),
            state: Mutex::new(State {
                limit,
                in_use: 0,
                waiters: VecDeque::new(),
                control,
                window_start: Duration::ZERO,
                wanted_more: false,
                failures: 0,
                latency_sum: Duration::ZERO,
                latencies: 0,
            }),
        }))
    }

    /// Return how many slots may be out now.
    pub fn limit(&self) -> usize {
        self.state().limit
    }

    /// Return how many slots are out now.
    pub fn in_use(&self) -> usize {
        self.state().in_use
    }

    /// Wait for a slot.
    pub async fn acquire(&self) -> Slot {
        loop {
            let turn = {
                let mut state = self.state();
                if state.in_use < state.limit && state.waiters.is_empty() {
                    state.in_use += 1;
                    return self.slot();
                }
                state.wanted_more = true;
                let (sender, turn) = oneshot::channel();
                state.waiters.push_back(sender);
                turn
            };
            // A sender is dropped unused only if the limiter is, and `self` keeps it.
            if let Ok(slot) = turn.await {
                return slot;
            }
        }
    }

    /// Note bytes of a body that arrived.
    pub(crate) fn received(&self, bytes: usize, now: Instant) {
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let at = now.saturating_duration_since(self.0.begin);
        if micros(at) >= self.0.window_end_us.load(Ordering::Relaxed) {
            self.end_window(at);
        }
    }

    /// Note how long the head of an answer took.
    pub(crate) fn answered(&self, latency: Duration) {
        let mut state = self.state();
        state.latency_sum += latency;
        state.latencies = state.latencies.saturating_add(1);
    }

    /// Note a failure that tells of overload: refused for rate, timed out, stalled.
    pub(crate) fn overloaded(&self, now: Instant) {
        self.state().failures += 1;
        let at = now.saturating_duration_since(self.0.begin);
        if micros(at) >= self.0.window_end_us.load(Ordering::Relaxed) {
            self.end_window(at);
        }
    }

    fn end_window(&self, at: Duration) {
        let granted = {
            let mut state = self.state();
            let elapsed = at.saturating_sub(state.window_start);
            if elapsed < WINDOW {
                // Another thread was faster.
                return;
            }
            let bytes = self.0.bytes.swap(0, Ordering::Relaxed);
            #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
            let measured = Measured {
                goodput_bytes_s: bytes as f64 / elapsed.as_secs_f64(),
                wanted_more: (std::mem::take(&mut state.wanted_more) || !state.waiters.is_empty())
                    && elapsed < WINDOW * LONGEST_WINDOWS,
                failures: std::mem::take(&mut state.failures),
                latency: state.latency_sum.checked_div(state.latencies),
            };
            state.latency_sum = Duration::ZERO;
            state.latencies = 0;
            state.window_start = at;
            self.0.window_end_us.store(micros(at + WINDOW), Ordering::Relaxed);
            if let Some(control) = &mut state.control {
                state.limit = control.observe(&measured);
            }
            self.grant(&mut state)
        };
        deliver(granted);
    }

    /// Take waiters off the queue as far as there are slots. Slots are sent without the lock, because
    /// one whose waiter has left is dropped on the spot.
    fn grant(&self, state: &mut State) -> Vec<(oneshot::Sender<Slot>, Slot)> {
        let mut granted = Vec::new();
        while state.in_use < state.limit {
            let Some(waiter) = state.waiters.pop_front() else { break };
            state.in_use += 1;
            granted.push((waiter, self.slot()));
        }
        granted
    }

    fn slot(&self) -> Slot {
        Slot { limiter: self.clone() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let granted = {
            let mut state = self.limiter.state();
            state.in_use = state.in_use.saturating_sub(1);
            self.limiter.grant(&mut state)
        };
        deliver(granted);
    }
}

fn deliver(granted: Vec<(oneshot::Sender<Slot>, Slot)>) {
    for (waiter, slot) in granted {
        // A waiter that has left gives the slot back as the error is dropped.
        drop(waiter.send(slot));
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Limiter, WINDOW};
    use crate::options::Concurrency;

    #[tokio::test]
    async fn slots_are_bounded_and_go_to_the_first_in_line() {
        let limiter = Limiter::new(Concurrency::Fixed(2));
        let one = limiter.acquire().await;
        let two = limiter.acquire().await;
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let limiter = limiter.clone();
                tokio::spawn(async move { limiter.acquire().await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(waiting.iter().all(|task| !task.is_finished()));
        let mut waiting = waiting.into_iter();
        // The first leaves the line; its slot must not be lost.
        waiting.next().unwrap().abort();
        tokio::task::yield_now().await;
        drop(one);
        let third = waiting.next().unwrap().await.unwrap();
        assert_eq!(limiter.in_use(), 2);
        drop((two, third));
        waiting.next().unwrap().await.unwrap();
        assert_eq!(limiter.in_use(), 0);
    }

    #[tokio::test]
    async fn a_raised_limit_lets_waiters_in() {
        let limiter = Limiter::new(Concurrency::Adaptive { initial: 1, max: 4 });
        let _held = limiter.acquire().await;
        let waiter = tokio::spawn({
            let limiter = limiter.clone();
            async move { limiter.acquire().await }
        });
        tokio::task::yield_now().await;
        let begin = Instant::now();
        for window in 1..=8 {
            limiter.received(1 << 20, begin + (WINDOW + Duration::from_millis(1)) * window);
        }
        let _slot = waiter.await.unwrap();
        assert!(limiter.limit() > 1);
    }

    #[tokio::test]
    async fn a_fixed_limit_stays() {
        let limiter = Limiter::new(Concurrency::Fixed(3));
        let begin = Instant::now();
        for window in 1..=20 {
            limiter.overloaded(begin + WINDOW * 2 * window);
        }
        assert_eq!(limiter.limit(), 3);
    }
}

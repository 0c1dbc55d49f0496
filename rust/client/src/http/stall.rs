//! When a body that still trickles has stalled: bytes per time spent waiting, no fixed time-out.

use std::time::{Duration, Instant};

use crate::error::{Error, TransportKind};
use crate::options::StallPolicy;

/// Watches how much comes in the time spent waiting for it.
pub(super) struct Stall {
    policy: StallPolicy,
    waited: Duration,
    received: u64,
    /// When the wait for the next piece began. Kept when the future that waits is dropped: who asks
    /// again and again would never find out otherwise.
    since: Option<Instant>,
}

impl Stall {
    pub(super) fn new(policy: StallPolicy) -> Self {
        Self {
            policy,
            waited: Duration::ZERO,
            received: 0,
            since: None,
        }
    }

    /// Begin or go on waiting; returns how long at most.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        let since = *self.since.get_or_insert(now);
        let waited = self.waited.saturating_add(now.saturating_duration_since(since));
        self.policy.window.saturating_sub(waited)
    }

    /// Count a piece; says whether the window is over and held too little.
    pub(super) fn is_stalled(&mut self, now: Instant, bytes: usize) -> bool {
        if let Some(since) = self.since.take() {
            self.waited += now.saturating_duration_since(since);
        }
        self.received += bytes as u64;
        if self.received >= self.policy.min_bytes {
            self.waited = Duration::ZERO;
            self.received = 0;
            return false;
        }
        self.waited >= self.policy.window
    }

    /// Make the error for an answer of `host` that stalled at byte `position`.
    pub(super) fn error(&self, host: &str, position: u64) -> Error {
        let StallPolicy { window, min_bytes } = self.policy;
        let seconds = window.as_secs_f64();
        let message = format!(
            "the answer of {host} came to a halt at byte {position}: fewer than {min_bytes} bytes in {seconds} s"
        );
        Error::transport(TransportKind::Stalled, host, message)
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Instant, Stall, StallPolicy};

    #[test]
    fn a_trickle_is_a_stall_and_a_slow_reader_is_not() {
        let policy = StallPolicy {
            window: Duration::from_secs(10),
            min_bytes: 1000,
        };
        let begin = Instant::now();
        // Pieces of so many bytes that are each waited for so long, in milliseconds, an hour apart.
        let stalls = |pieces: u32, bytes: usize, wait_ms: u64| {
            let mut stall = Stall::new(policy);
            (1..=pieces).any(|piece| {
                let asked = begin + Duration::from_secs(3600) * piece;
                stall.wait(asked);
                stall.is_stalled(asked + Duration::from_millis(wait_ms), bytes)
            })
        };
        assert!(!stalls(9, 100, 1000));
        assert!(stalls(10, 99, 1000));
        assert!(!stalls(1000, 101, 1000));
        assert!(!stalls(1000, 1, 1));
    }

    #[test]
    fn waiting_goes_on_when_a_future_is_dropped() {
        let policy = StallPolicy {
            window: Duration::from_secs(10),
            min_bytes: 1000,
        };
        let begin = Instant::now();
        let mut stall = Stall::new(policy);
        assert_eq!(stall.wait(begin), policy.window);
        assert_eq!(stall.wait(begin + Duration::from_secs(4)), Duration::from_secs(6));
        assert_eq!(stall.wait(begin + Duration::from_secs(40)), Duration::ZERO);
    }
}

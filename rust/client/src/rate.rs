//! A limit on bytes per second: a token bucket that may go into debt.
//!
//! What has arrived cannot be sent back, so bytes are counted when they are here and the next read
//! waits until the debt is paid.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest stretch of silence that may be made up for by a burst.
const BURST: Duration = Duration::from_millis(100);

/// A limit shared by all bodies of a client.
#[derive(Debug)]
pub(crate) struct Rate {
    bytes_s: f64,
    /// When everything counted so far is paid for.
    paid: Mutex<Option<Instant>>,
}

impl Rate {
    pub(crate) fn new(bytes_s: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
        let bytes_s = bytes_s.max(1) as f64;
        Self {
            bytes_s,
            paid: Mutex::new(None),
        }
    }

    /// Count `bytes` that came at `now`; returns when the next bytes may be read.
    pub(crate) fn count(&self, bytes: usize, now: Instant) -> Instant {
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_s);
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let start = paid.map_or(earliest, |paid| paid.max(earliest));
        let next = start + cost;
        *paid = Some(next);
        next
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{BURST, Rate};

    #[test]
    fn follows_the_rate_over_time() {
        let rate = Rate::new(1_000_000);
        let begin = Instant::now();
        let mut now = begin;
        for _ in 0..100 {
            now = now.max(rate.count(100_000, now));
        }
        let spent = now - begin;
        assert_eq!(spent + BURST, Duration::from_secs(10));
    }

    #[test]
    fn silence_earns_no_more_than_a_burst() {
        let rate = Rate::new(1000);
        let begin = Instant::now();
        rate.count(100, begin);
        let later = begin + Duration::from_secs(60);
        assert_eq!(rate.count(1000, later) - later + BURST, Duration::from_secs(1));
    }
}

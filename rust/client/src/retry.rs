//! When to try again: jittered exponential pauses, and those the other side asks for.
//!
//! Source: RFC 9110, "Retry-After" and "Date/Time Formats".

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};

/// Longest pause taken because the other side asks for it; beyond it the failure is final.
const LONGEST_RETRY_AFTER_S: u64 = 300;

/// Return the pause after failed attempt `attempt` (from 1): between half and all of
/// `base * 2^(attempt - 1)`, at most `cap`. `random` is in `0.0..1.0`.
pub(crate) fn pause(attempt: u32, base: Duration, cap: Duration, random: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(30);
    let longest = base.saturating_mul(1 << doublings).min(cap);
    longest.mul_f64(random.mul_add(0.5, 0.5))
}

/// Combine our own pause with the one asked for; `None` if that is longer than a transfer should wait.
pub(crate) fn wait(own: Duration, asked_s: Option<u64>) -> Option<Duration> {
    match asked_s {
        Some(asked_s) if asked_s > LONGEST_RETRY_AFTER_S => None,
        Some(asked_s) => Some(own.max(Duration::from_secs(asked_s))),
        None => Some(own),
    }
}

/// Return a random number in `0.0..1.0`.
pub(crate) fn random() -> f64 {
    let mut bytes = [0_u8; 4];
    // Without randomness all pauses are as long as they can be.
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
        Err(_) => 1.0,
    }
}

/// Read `Retry-After`: seconds, or an HTTP date. Returns seconds from `now`.
pub(crate) fn retry_after_s(value: &str, now: SystemTime) -> Option<u64> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(seconds);
    }
    let now_s = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(http_date_s(value)?.saturating_sub(now_s))
}

/// Read a date such as `Sun, 06 Nov 1994 08:49:37 GMT`; returns seconds since 1970.
fn http_date_s(text: &str) -> Option<u64> {
    let (_weekday, rest) = text.split_once(", ")?;
    let mut parts = rest.split(' ');
    let day: u64 = parts.next()?.parse().ok()?;
    let month = match parts.next()? {
        "Jan" => 1,
        "Feb" => 2,
        "Mar" => 3,
        "Apr" => 4,
        "May" => 5,
        "Jun" => 6,
        "Jul" => 7,
        "Aug" => 8,
        "Sep" => 9,
        "Oct" => 10,
        "Nov" => 11,
        "Dec" => 12,
        _ => return None,
    };
    let year: u64 = parts.next()?.parse().ok()?;
    let mut clock = parts.next()?.split(':');
    let mut field = |limit: u64| clock.next()?.parse::<u64>().ok().filter(|value| *value < limit);
    let (hour, minute, second) = (field(24)?, field(60)?, field(61)?);
    if parts.next() != Some("GMT") || !(1970..10_000).contains(&year) || !(1..=31).contains(&day) {
        return None;
    }
    Some(days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Count days in the Gregorian calendar. March comes first, so that leap days come last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{pause, random, retry_after_s, wait};

    #[test]
    fn pauses_double_up_to_the_cap_and_are_jittered() {
        let (base, cap) = (Duration::from_millis(100), Duration::from_secs(1));
        let longest = |attempt| pause(attempt, base, cap, 1.0).as_millis();
        assert_eq!([1, 2, 3, 4, 5, 60].map(longest), [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(pause(3, base, cap, 0.0).as_millis(), 200);
        let drawn: Vec<f64> = (0..100).map(|_| random()).collect();
        assert!(drawn.iter().all(|value| (0.0..1.0).contains(value)));
        assert!(drawn.iter().any(|value| *value < 0.5) && drawn.iter().any(|value| *value >= 0.5));
    }

    #[test]
    fn a_pause_asked_for_is_kept_within_reason() {
        let own = Duration::from_secs(2);
        assert_eq!(wait(own, None), Some(own));
        assert_eq!(wait(own, Some(1)), Some(own));
        assert_eq!(wait(own, Some(300)), Some(Duration::from_secs(300)));
        assert_eq!(wait(own, Some(301)), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(retry_after_s(" 17 ", at(0)), Some(17));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(retry_after_s(date, at(784_111_777 - 5)), Some(5));
        assert_eq!(retry_after_s(date, at(784_111_777 + 5)), Some(0));
        assert_eq!(
            retry_after_s("Thu, 29 Feb 2024 00:00:00 GMT", at(0)),
            Some(1_709_164_800)
        );
        assert_eq!(retry_after_s("Thu, 01 Jan 1970 00:00:10 GMT", at(0)), Some(10));
        for bad in [
            "",
            "soon",
            "-1",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 99:49:37 GMT",
        ] {
            assert_eq!(retry_after_s(bad, at(0)), None, "{bad}");
        }
    }
}

//! Figures of a run, as JSON.

use std::fmt::Write;
use std::time::Duration;

/// Times of single requests or events; all are kept.
#[derive(Default)]
pub(crate) struct Times(Vec<u32>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(u32::try_from(time.as_nanos()).unwrap_or(u32::MAX));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// `"NAME_p50_ms": ...` and so on.
    pub(crate) fn quantiles(&mut self, name: &str) -> String {
        self.0.sort_unstable();
        let mut text = String::new();
        for (label, per_mille) in [("p50", 500), ("p95", 950), ("p99", 990)] {
            let place = self.0.len().saturating_sub(1) * per_mille / 1000;
            let ms = f64::from(self.0.get(place).copied().unwrap_or(0)) / 1e6;
            let _ = write!(text, r#""{name}_{label}_ms": {ms:.4}, "#);
        }
        text
    }
}

/// A count for each second of `during`.
#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
pub(crate) fn per_second(count: usize, during: Duration) -> f64 {
    count as f64 / during.as_secs_f64()
}

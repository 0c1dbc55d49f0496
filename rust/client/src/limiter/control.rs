//! The decisions of the limiter, one per measured window; no clock, no threads.
//!
//! It doubles while goodput grows, goes back one step when it does not, and from then on tries a
//! little more and a little less now and then, keeping what pays: more streams only for more
//! goodput, fewer streams whenever they carry as much. Overload takes a third off.

use std::time::Duration;

/// What a window showed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) goodput_bytes_s: f64,
    /// Whether somebody waited for a slot: otherwise the number limits nothing and teaches nothing.
    pub(super) wanted_more: bool,
    /// Failures that tell of overload.
    pub(super) failures: u32,
    /// Mean time to the head of an answer.
    pub(super) latency: Option<Duration>,
}

/// Windows ignored after a change: connections must open first.
const SETTLE_WINDOWS: u32 = 1;
/// Windows averaged after that.
const MEASURE_WINDOWS: u32 = 2;
/// Windows between trials.
const HOLD_WINDOWS: u32 = 10;
/// Longest pause between trials that keep failing.
const HOLD_MAX_WINDOWS: u32 = 80;
/// Gain that pays for twice the streams.
const DOUBLING_GAIN: f64 = 1.15;
/// Gain that pays for a quarter more.
const STEP_GAIN: f64 = 1.05;
/// Loss that fewer streams may cost.
const STEP_LOSS: f64 = 0.98;
/// Answers this many times slower mean a queue, not bandwidth, was filled.
const LATENCY_GROWTH: f64 = 4.0;
/// Trials of fewer streams stop here.
const FEWEST_TRIED: usize = 4;

#[derive(Debug)]
pub(super) struct Control {
    limit: usize,
    max: usize,
    fewest: usize,
    phase: Phase,
    average: Average,
    /// Shortest mean latency seen.
    quick: Option<Duration>,
    hold_windows: u32,
    try_more: bool,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Measuring after a doubling from `from`, which carried `goodput`.
    Doubling { from: usize, goodput: f64 },
    /// Staying for some windows.
    Holding { left: u32 },
    /// Measuring after a step from `from`, which carried `goodput`.
    Trial { from: usize, goodput: f64 },
}

/// The mean of the windows since the last change.
#[derive(Clone, Copy, Debug, Default)]
struct Average {
    windows: u32,
    sum: f64,
    latency: Option<Duration>,
}

impl Control {
    pub(super) fn new(initial: usize, max: usize) -> Self {
        let max = max.max(1);
        let limit = initial.clamp(1, max);
        Self {
            limit,
            max,
            fewest: FEWEST_TRIED.min(limit),
            phase: Phase::Doubling {
                from: limit,
                goodput: 0.0,
            },
            average: Average::default(),
            quick: None,
            hold_windows: HOLD_WINDOWS,
            try_more: true,
        }
    }

    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    /// Learn from a window; returns the new limit.
    pub(super) fn observe(&mut self, measured: &Measured) -> usize {
        if measured.failures > 0 {
            self.limit = (self.limit * 2 / 3).max(1);
            self.hold(HOLD_WINDOWS);
            return self.limit;
        }
        if !measured.wanted_more {
            return self.limit;
        }
        let Some((goodput, latency)) = self.average.add(measured) else {
            return self.limit;
        };
        let slower = self.is_slower(latency);
        match self.phase {
            Phase::Doubling { from, goodput: before } => {
                if goodput < before * DOUBLING_GAIN || (slower && goodput < before * 2.0 * STEP_LOSS) {
                    self.limit = from;
                    self.hold(HOLD_WINDOWS);
                } else if self.limit < self.max {
                    self.phase = Phase::Doubling {
                        from: self.limit,
                        goodput,
                    };
                    self.change(self.limit.saturating_mul(2));
                } else {
                    self.hold(HOLD_WINDOWS);
                }
            }
            Phase::Holding { left } if left > MEASURE_WINDOWS => {
                self.phase = Phase::Holding {
                    left: left - MEASURE_WINDOWS,
                };
                // Keep measuring, without settling again.
                self.average.windows = SETTLE_WINDOWS;
                self.average.sum = 0.0;
            }
            Phase::Holding { .. } => self.begin_trial(goodput),
            Phase::Trial { from, goodput: before } => {
                let pays = if self.limit > from {
                    goodput > before * STEP_GAIN && !slower
                } else {
                    goodput > before * STEP_LOSS
                };
                if pays {
                    self.hold_windows = HOLD_WINDOWS;
                    self.begin_trial(goodput);
                } else {
                    self.limit = from;
                    self.try_more = !self.try_more;
                    self.hold_windows = (self.hold_windows * 2).min(HOLD_MAX_WINDOWS);
                    self.hold(self.hold_windows);
                }
            }
        }
        self.limit
    }

    /// Move a quarter in the direction that is due, or in the other at the end of the scale.
    fn begin_trial(&mut self, goodput: f64) {
        let step = (self.limit / 4).max(1);
        let more = (self.limit + step).min(self.max);
        let fewer = (self.limit - step.min(self.limit)).max(self.fewest).min(self.limit);
        let target = if self.try_more { more } else { fewer };
        if target == self.limit {
            self.try_more = !self.try_more;
            self.hold(self.hold_windows);
            return;
        }
        self.phase = Phase::Trial {
            from: self.limit,
            goodput,
        };
        self.change(target);
    }

    fn hold(&mut self, windows: u32) {
        self.phase = Phase::Holding { left: windows };
        self.average = Average::default();
    }

    fn change(&mut self, limit: usize) {
        self.limit = limit.clamp(1, self.max);
        self.average = Average::default();
    }

    fn is_slower(&mut self, latency: Option<Duration>) -> bool {
        let Some(latency) = latency else { return false };
        let quick = self.quick.map_or(latency, |quick| quick.min(latency));
        self.quick = Some(quick);
        latency > quick.mul_f64(LATENCY_GROWTH)
    }
}

impl Average {
    /// Add a window; returns the mean once there are enough.
    fn add(&mut self, measured: &Measured) -> Option<(f64, Option<Duration>)> {
        self.windows += 1;
        if self.windows <= SETTLE_WINDOWS {
            return None;
        }
        self.sum += measured.goodput_bytes_s;
        self.latency = measured.latency.or(self.latency);
        (self.windows >= SETTLE_WINDOWS + MEASURE_WINDOWS)
            .then(|| (self.sum / f64::from(MEASURE_WINDOWS), self.latency))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Control, Measured};

    fn window(goodput_bytes_s: f64) -> Measured {
        Measured {
            goodput_bytes_s,
            wanted_more: true,
            failures: 0,
            latency: None,
        }
    }

    /// Run against a link whose goodput depends on the number of streams.
    fn run(control: &mut Control, windows: usize, link: impl Fn(f64) -> f64) -> Vec<usize> {
        (0..windows)
            .map(|_| {
                let streams = u32::try_from(control.limit()).unwrap();
                control.observe(&window(link(f64::from(streams))))
            })
            .collect()
    }

    #[test]
    fn rises_to_the_top_quickly_while_it_pays() {
        let mut control = Control::new(8, 64);
        run(&mut control, 9, |streams| streams * 1e6);
        assert_eq!(control.limit(), 64);
        run(&mut control, 500, |streams| streams * 1e6);
        assert_eq!(control.limit(), 64);
    }

    #[test]
    fn stays_low_on_a_link_that_few_streams_fill() {
        let mut control = Control::new(8, 64);
        let seen = run(&mut control, 1000, |streams| (streams * 2e6).min(1e7));
        assert!(*seen.iter().max().unwrap() <= 16, "{seen:?}");
        assert!((4..=8).contains(&control.limit()), "{}", control.limit());
    }

    #[test]
    fn backs_out_of_a_collapse() {
        let mut control = Control::new(8, 64);
        run(
            &mut control,
            600,
            |streams| if streams <= 12.0 { streams * 1e6 } else { 3e6 },
        );
        assert!((8..=12).contains(&control.limit()), "{}", control.limit());
    }

    #[test]
    fn follows_a_link_that_gets_wider() {
        let mut control = Control::new(8, 64);
        run(&mut control, 200, |streams| streams.min(6.0) * 1e6);
        run(&mut control, 3000, |streams| streams.min(40.0) * 1e6);
        assert!(control.limit() >= 30, "{}", control.limit());
    }

    #[test]
    fn overload_takes_a_third_off_down_to_one() {
        let mut control = Control::new(9, 64);
        let failing = Measured {
            failures: 3,
            ..window(1e6)
        };
        assert_eq!(control.observe(&failing), 6);
        assert_eq!(control.observe(&failing), 4);
        for _ in 0..5 {
            control.observe(&failing);
        }
        assert_eq!(control.limit(), 1);
        run(&mut control, 2000, |streams| streams * 1e6);
        assert!(control.limit() > 16);
    }

    #[test]
    fn learns_nothing_when_nobody_waits() {
        let mut control = Control::new(8, 64);
        let idle = Measured {
            wanted_more: false,
            ..window(1e9)
        };
        assert!((0..100).all(|_| control.observe(&idle) == 8));
    }

    #[test]
    fn slower_answers_without_goodput_end_the_rise() {
        let mut control = Control::new(8, 64);
        for _ in 0..30 {
            let streams = control.limit();
            let latency = Duration::from_millis(if streams <= 8 { 10 } else { 100 });
            let goodput = if streams <= 8 { 1e6 } else { 1.3e6 };
            control.observe(&Measured {
                latency: Some(latency),
                ..window(goodput)
            });
        }
        assert!(control.limit() <= 10, "{}", control.limit());
    }
}

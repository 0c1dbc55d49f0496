//! Rates: the generic cell rate algorithm, one word of state for each name.
//!
//! The word is the theoretical arrival time (TAT): when the bucket will be full again, in nanoseconds of a clock that
//! all processes share. A request of cost `c` moves it `c` intervals further from now or from where it is, and is
//! allowed if it then is no further away than the tolerance. One compare-and-swap decides, so any number of processes
//! together admit exactly what one would.
//!
//! | line of a group | words |
//! |---|---|
//! | 0 | lock, seven names |
//! | 1 | unused, seven TATs |
//!
//! A bucket whose TAT is past is full, which is what an unknown name has: its slot may be given away. When all
//! seven are in use the fullest is given away: it has the least to forget. So who comes from ever new addresses
//! takes slots from others that hardly used theirs, and a busy name keeps its own.
//!
//! Giving a slot away: its TAT becomes `GONE`, which fails all swaps that are under way; then come the name and its
//! TAT. A swap that was under way all that time mistakes the new TAT for the old only if both are one to the
//! nanosecond.
//!
//! Source: ITU-T I.371, annex A (virtual scheduling).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Table;
use crate::group::{self, Claim, EMPTY, WAYS};

const GONE: u64 = u64::MAX;

/// One unit comes back each interval; the tolerance is that of a full bucket: units at once, times the interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds, at least 1.
    pub interval_ns: u64,
    /// Nanoseconds.
    pub tolerance_ns: u64,
}

/// What became of a request for units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the units were taken.
    pub allowed: bool,
    /// Units that could be taken now.
    pub remaining: u64,
    /// When the same request would be allowed; 0 if it was, `u64::MAX` if it never will be.
    pub retry_after_ns: u64,
    /// When the bucket will be full.
    pub reset_ns: u64,
}

impl Rate {
    fn decide(self, tat: u64, cost: u64, now_ns: u64) -> (u64, Decision) {
        let interval = self.interval_ns.max(1);
        let wanted = cost.saturating_mul(interval);
        let waiting = tat.saturating_sub(now_ns);
        let ahead = waiting.saturating_add(wanted);
        let allowed = ahead <= self.tolerance_ns;
        let reset_ns = if allowed { ahead } else { waiting };
        let retry_after_ns = match ahead.checked_sub(self.tolerance_ns) {
            None | Some(0) => 0,
            Some(_) if wanted > self.tolerance_ns => u64::MAX,
            Some(later) => later,
        };
        let decision = Decision {
            allowed,
            remaining: self.tolerance_ns.saturating_sub(reset_ns) / interval,
            retry_after_ns,
            reset_ns,
        };
        let moved = if allowed && wanted > 0 {
            later(now_ns, ahead)
        } else {
            tat
        };
        (moved, decision)
    }
}

fn later(now_ns: u64, ahead_ns: u64) -> u64 {
    now_ns.saturating_add(ahead_ns).min(GONE - 1)
}

struct Group<'a> {
    lock: &'a AtomicU64,
    names: &'a [AtomicU64; WAYS],
    tats: &'a [AtomicU64; WAYS],
}

impl Table<'_> {
    /// Take units from the bucket of a name, all or none.
    pub fn take(&self, name: u64, cost: u64, rate: Rate, now_ns: u64) -> Decision {
        self.update(name, now_ns, |tat| rate.decide(tat, cost, now_ns))
    }

    /// Give units back, up to a full bucket.
    pub fn refund(&self, name: u64, cost: u64, interval_ns: u64, now_ns: u64) {
        let units = cost.saturating_mul(interval_ns);
        self.update(name, now_ns, |tat| (tat.min(tat.saturating_sub(units).max(now_ns)), ()));
    }

    /// Take units that were used already: the bucket may go into debt.
    pub fn charge(&self, name: u64, cost: u64, interval_ns: u64, now_ns: u64) {
        let units = cost.saturating_mul(interval_ns);
        self.update(name, now_ns, |tat| (later(tat.max(now_ns), units), ()));
    }

    /// Move a TAT; that of an unknown name is 0, and it stays unknown if that doesn't change.
    fn update<T>(&self, name: u64, now_ns: u64, change: impl Fn(u64) -> (u64, T)) -> T {
        let (fresh, answer) = change(0);
        let name = group::usable(name);
        let Some(group) = self.bucket_group(name) else {
            return answer;
        };
        loop {
            while let Some((slot, tat)) = group.find(name) {
                let (moved, answer) = change(tat);
                if moved == tat
                    || slot
                        .compare_exchange(tat, moved, Ordering::AcqRel, Ordering::Acquire)
                        .is_ok()
                {
                    return answer;
                }
            }
            if fresh == 0 {
                return answer;
            }
            // Without the lock the name is not limited: a process was killed in here less than a second ago.
            let Some(_claim) = Claim::take(group.lock, now_ns) else {
                return answer;
            };
            if group.find(name).is_none() && group.put(name, fresh) {
                return answer;
            }
        }
    }

    fn bucket_group(&self, name: u64) -> Option<Group<'_>> {
        let (groups, _) = self.buckets.as_chunks::<2>();
        let [[lock, names @ ..], [_, tats @ ..]] = groups.get(group::home(name, groups.len()))?;
        Some(Group { lock, names, tats })
    }
}

impl Group<'_> {
    /// The TAT of a name, and where it is.
    fn find(&self, name: u64) -> Option<(&AtomicU64, u64)> {
        self.names.iter().zip(self.tats).find_map(|(found, slot)| {
            if found.load(Ordering::Acquire) != name {
                return None;
            }
            let tat = slot.load(Ordering::Acquire);
            // Looked at again, as the name may have left between the two; if it leaves later, the swap fails.
            (tat != GONE && found.load(Ordering::Acquire) == name).then_some((slot, tat))
        })
    }

    /// Give the slot that is empty or fullest to a name, under the lock; false if it is being used.
    fn put(&self, name: u64, fresh: u64) -> bool {
        let worth = |&(found, slot): &(&AtomicU64, &AtomicU64)| match slot.load(Ordering::Acquire) {
            GONE => 0,
            _ if found.load(Ordering::Acquire) == EMPTY => 0,
            tat => tat,
        };
        let Some((found, slot)) = self.names.iter().zip(self.tats).min_by_key(worth) else {
            return false;
        };
        let leaving = found.load(Ordering::Acquire);
        let tat = slot.load(Ordering::Acquire);
        let swap = |word: &AtomicU64, old, new| {
            word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        };
        swap(slot, tat, GONE) && swap(found, leaving, name) && swap(slot, GONE, fresh)
    }
}

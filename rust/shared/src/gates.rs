//! Concurrency: how many are inside of each name's gate, counted for each worker apart.
//!
//! | line of a group | words |
//! |---|---|
//! | 0 | lock, seven names |
//! | 1 + worker | unused, seven counts: those inside x 2^32 + those at the door |
//!
//! Who wants to enter first stands at the door, then looks at the counts of all workers, then enters or leaves. So
//! two who want the last place see each other: neither goes in beside the other, and neither is refused because of
//! the other, but looks again. A worker that is killed leaves its counts behind; `release_worker` takes them away.
//!
//! A gate that nobody is in may get another name: it is `RETIRED` first, and gets its name back if somebody stands
//! at the door by then. Who stands there looks at the name again before entering. When all seven gates of a group are
//! in use, further names are not limited.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Table;
use crate::group::{self, Claim, EMPTY, RETIRED, WAYS};
use crate::layout::Line;

const DOOR: u64 = 1;
const INSIDE: u64 = 1 << 32;

/// What became of a wish to enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// In: the number of the gate, for `leave`.
    Entered(u64),
    /// As many as may be are inside.
    Full,
    /// There is no gate left for this name, which is not limited.
    Untracked,
}

struct Group<'a> {
    lock: &'a AtomicU64,
    names: &'a [AtomicU64; WAYS],
    counts: &'a [Line],
    first: u64,
}

impl Table<'_> {
    /// Enter the gate of a name unless `limit` are inside. A worker that the table doesn't have is not limited.
    pub fn enter(&self, name: u64, worker: usize, limit: u64, now_ns: u64) -> Entry {
        let name = group::usable(name);
        let Some(group) = self.gate_group(name).filter(|_| worker < self.workers) else {
            return Entry::Untracked;
        };
        let mut attempt = 0;
        loop {
            match group.find(name) {
                None if !group.put(name, now_ns) => return Entry::Untracked,
                None => {}
                Some(way) => match group.enter(name, way, worker, limit) {
                    Some(entry) => return entry,
                    None if !group::wait(attempt) => return Entry::Full,
                    None => attempt += 1,
                },
            }
        }
    }

    /// Leave a gate that was entered by the same worker.
    pub fn leave(&self, gate: u64, worker: usize) {
        let ways = WAYS as u64;
        let stride = self.workers + 1;
        let count = usize::try_from(gate / ways)
            .ok()
            .and_then(|group| {
                self.gates
                    .get(group.checked_mul(stride)?..)?
                    .get(1..stride)?
                    .get(worker)
            })
            .and_then(|[_, counts @ ..]| counts.get(usize::try_from(gate % ways).ok()?));
        if let Some(count) = count {
            // Nothing to leave where `release_worker` has been.
            let _ = count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(INSIDE));
        }
    }

    /// How many are inside.
    pub fn inside(&self, name: u64) -> u64 {
        let name = group::usable(name);
        self.gate_group(name)
            .and_then(|group| group.find(name).map(|way| group.sums(way).0))
            .unwrap_or_default()
    }

    /// Forget those who entered by a worker: when its process has ended, and before another has its number.
    pub fn release_worker(&self, worker: usize) {
        for group in self.gates.chunks_exact(self.workers + 1) {
            if let Some([_, counts @ ..]) = group.get(1..).and_then(|columns| columns.get(worker)) {
                for count in counts {
                    count.store(0, Ordering::SeqCst);
                }
            }
        }
    }

    fn gate_group(&self, name: u64) -> Option<Group<'_>> {
        let stride = self.workers + 1;
        let home = group::home(name, self.gates.len() / stride);
        let (head, counts) = self.gates.get(home * stride..(home + 1) * stride)?.split_first()?;
        let [lock, names @ ..] = head;
        Some(Group {
            lock,
            names,
            counts,
            first: (home * WAYS) as u64,
        })
    }
}

impl Group<'_> {
    fn find(&self, name: u64) -> Option<usize> {
        self.names.iter().position(|found| found.load(Ordering::SeqCst) == name)
    }

    fn name(&self, way: usize) -> u64 {
        self.names.get(way).map_or(EMPTY, |name| name.load(Ordering::SeqCst))
    }

    /// Those inside, and those at the door.
    fn sums(&self, way: usize) -> (u64, u64) {
        let columns = self.counts.iter().filter_map(|[_, counts @ ..]| counts.get(way));
        columns.fold((0, 0), |(inside, door), count| {
            let count = count.load(Ordering::SeqCst);
            (inside + count / INSIDE, door + count % INSIDE)
        })
    }

    /// Try to enter; nothing if that has to be tried again.
    fn enter(&self, name: u64, way: usize, worker: usize, limit: u64) -> Option<Entry> {
        let [_, counts @ ..] = self.counts.get(worker)?;
        let count = counts.get(way)?;
        count.fetch_add(DOOR, Ordering::SeqCst);
        let (inside, door) = self.sums(way);
        let is_its_gate = self.name(way) == name;
        if is_its_gate && inside + door <= limit {
            count.fetch_add(INSIDE - DOOR, Ordering::SeqCst);
            return Some(Entry::Entered(self.first + way as u64));
        }
        count.fetch_sub(DOOR, Ordering::SeqCst);
        (is_its_gate && inside >= limit).then_some(Entry::Full)
    }

    /// Give a gate that nobody is in to a name; false if there is none.
    fn put(&self, name: u64, now_ns: u64) -> bool {
        let Some(_claim) = Claim::take(self.lock, now_ns) else {
            return false;
        };
        // Those that never had a name first, as names come back.
        self.find(name).is_some()
            || (0..WAYS).any(|way| self.name(way) == EMPTY && self.give(way, name))
            || (0..WAYS).any(|way| self.give(way, name))
    }

    /// Give a gate to a name, under the lock; false if somebody is in it or at its door.
    fn give(&self, way: usize, name: u64) -> bool {
        let is_empty = || self.sums(way) == (0, 0);
        let leaving = self.name(way);
        if !is_empty() || !self.rename(way, leaving, RETIRED) {
            return false;
        }
        let given = is_empty();
        self.rename(way, RETIRED, if given { name } else { leaving }) && given
    }

    fn rename(&self, way: usize, old: u64, new: u64) -> bool {
        self.names.get(way).is_some_and(|name| {
            name.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
        })
    }
}

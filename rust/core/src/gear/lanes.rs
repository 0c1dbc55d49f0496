//! All positions of a block where a cut is allowed, found in several places of it at once.
//!
//! One step of the gear hash waits for the step before it; steps in other places do not. So the
//! block is divided into lanes that take steps in turn: the hash depends on [`WINDOW_BYTES`] bytes
//! only, and each lane starts with the hash of those before it. A lane that is done takes half of
//! what the longest has left. [`super::find`] is the definition that the tests compare this with.

use std::array;

use super::{GROUP_BYTES, LIMIT, WINDOW_BYTES, step, update};

/// How many lanes are fastest: with more, x86-64 runs out of registers.
pub const LANES: usize = 3;

/// A lane with less left than this is not worth dividing.
const MIN_DIVIDED_BYTES: usize = 16 * WINDOW_BYTES;

/// A position where a cut is allowed, and how far beyond it nobody looked for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The number of bytes up to the cut.
    pub end: usize,
    /// Cuts after `end`, up to and with this one, were not searched for; at least `end`.
    pub unsearched: usize,
}

/// A part of the block: `hash` is that of the [`WINDOW_BYTES`] bytes before `position`.
#[derive(Clone, Copy)]
struct Lane {
    position: usize,
    end: usize,
    hash: u64,
}

impl Lane {
    fn new(data: &[u8], position: usize, end: usize) -> Self {
        let window = data.get(position.saturating_sub(WINDOW_BYTES)..position);
        let hash = update(0, window.unwrap_or_default());
        Self { position, end, hash }
    }

    const fn left(&self) -> usize {
        self.end.saturating_sub(self.position)
    }

    /// Step through at most `bytes`, one at a time, up to a candidate.
    fn walk(&mut self, data: &[u8], bytes: usize, skipped: usize, found: &mut Vec<Candidate>) {
        let stop = self.end.min(self.position.saturating_add(bytes));
        let bytes = data.get(self.position..stop).unwrap_or_default();
        for (index, byte) in bytes.iter().enumerate() {
            self.hash = step(self.hash, *byte);
            if self.hash < LIMIT {
                let end = self.position + index + 1;
                let unsearched = self.end.min(end.saturating_add(skipped));
                found.push(Candidate { end, unsearched });
                *self = Self::new(data, unsearched, self.end);
                return;
            }
        }
        self.position = stop;
    }
}

/// Add to `found` all positions after the first [`WINDOW_BYTES`] of `data` where a cut is allowed, in order.
///
/// After each, `skipped` bytes are passed over: the caller expects no cut there, and looks for
/// himself if it comes otherwise.
pub fn search<const LANES: usize>(data: &[u8], skipped: usize, found: &mut Vec<Candidate>) {
    let Some(bytes) = data.len().checked_sub(WINDOW_BYTES) else {
        return;
    };
    let before = found.len();
    let edge = |lane: usize| WINDOW_BYTES + bytes / LANES * lane + bytes % LANES * lane / LANES;
    let mut lanes: [Lane; LANES] = array::from_fn(|lane| Lane::new(data, edge(lane), edge(lane + 1)));
    loop {
        let groups = lanes.iter().map(Lane::left).min().unwrap_or(0) / GROUP_BYTES;
        if groups == 0 {
            if !divide(data, &mut lanes, skipped, found) {
                break;
            }
            continue;
        }
        let passed = pass(data, &mut lanes, groups);
        if passed < groups {
            for lane in &mut lanes {
                lane.walk(data, GROUP_BYTES, skipped, found);
            }
        }
    }
    for lane in &mut lanes {
        while lane.left() > 0 {
            lane.walk(data, usize::MAX, skipped, found);
        }
    }
    if let Some(found) = found.get_mut(before..) {
        found.sort_unstable_by_key(|candidate| candidate.end);
    }
}

/// End the shortest lane and give it half of the longest; says whether that one was long enough.
fn divide(data: &[u8], lanes: &mut [Lane], skipped: usize, found: &mut Vec<Candidate>) -> bool {
    lanes.sort_unstable_by_key(Lane::left);
    let [shortest, .., longest] = lanes else {
        return false;
    };
    while shortest.left() > 0 {
        shortest.walk(data, usize::MAX, skipped, found);
    }
    if longest.left() < MIN_DIVIDED_BYTES {
        return false;
    }
    let middle = longest.position + longest.left() / 2;
    *shortest = Lane::new(data, middle, longest.end);
    longest.end = middle;
    true
}

/// Move all lanes on by at most `groups` groups of bytes, and stop before one with a candidate.
///
/// Returns the number of groups passed. Hot: look at the generated code after any change.
#[inline(never)]
#[expect(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "all rows have one length, and lanes take turns within a group"
)]
fn pass<const LANES: usize>(data: &[u8], lanes: &mut [Lane; LANES], groups: usize) -> usize {
    let rows = lanes.map(|lane| {
        data.get(lane.position..)
            .unwrap_or_default()
            .as_chunks::<GROUP_BYTES>()
            .0
    });
    let groups = rows.iter().fold(groups, |groups, row| groups.min(row.len()));
    let rows = rows.map(|row| &row[..groups]);
    let mut hashes = lanes.map(|lane| lane.hash);
    let mut passed = 0;
    'groups: while passed < groups {
        for byte in 0..GROUP_BYTES {
            for lane in 0..LANES {
                hashes[lane] = step(hashes[lane], rows[lane][passed][byte]);
                if hashes[lane] < LIMIT {
                    break 'groups;
                }
            }
        }
        passed += 1;
    }
    for (lane, hash) in lanes.iter_mut().zip(hashes) {
        lane.position += passed * GROUP_BYTES;
        lane.hash = hash;
        if passed < groups {
            *lane = Lane::new(data, lane.position, lane.end);
        }
    }
    passed
}

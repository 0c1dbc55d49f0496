//! What is known and held of the chunks of one xorb, in memory. No files here.
//!
//! Chunks are kept in order of index, which is also their order by offset: what would break that is
//! refused. Replaying the records of the sidecar files goes through the same functions as new content.

use std::ops::Range;

use xetway_core::Hash;
use xetway_core::merkle::MerkleHasher;
use xetway_core::xorb::{ChunkHeader, MAX_CHUNKS};

use crate::error::{Error, Result};
use crate::kinds::ChunkInfo;
use crate::records::{OnDisk, Placed};

/// Shortest chunk: a header and one byte.
const SHORTEST_BYTES: usize = ChunkHeader::BYTES + 1;

/// Bytes on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) check: u64,
    /// Tells these bytes from those that were held here before.
    pub(crate) epoch: u64,
}

/// One known chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) placed: Placed,
    pub(crate) proven: bool,
    pub(crate) held: Option<Held>,
}

impl Slot {
    pub(crate) fn info(&self) -> ChunkInfo {
        ChunkInfo {
            index: self.placed.index,
            hash: self.placed.hash,
            raw_bytes: self.placed.raw_bytes,
            start: u64::from(self.placed.start),
            end: u64::from(self.placed.end),
            proven: self.proven,
            held: self.held.is_some(),
        }
    }
}

/// All known chunks of one xorb.
#[derive(Debug, Default)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    /// Number of chunks of the xorb, once proven.
    count: Option<u32>,
    epoch: u64,
}

impl Table {
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(crate) const fn count(&self) -> Option<u32> {
        self.count
    }

    /// Positions of the known ones of `chunks`.
    fn positions(&self, chunks: &Range<u32>) -> Range<usize> {
        let position = |index: u32| self.slots.partition_point(|slot| slot.placed.index < index);
        let start = position(chunks.start);
        start..position(chunks.end).max(start)
    }

    /// The known ones of `chunks`, in order.
    pub(crate) fn range(&self, chunks: &Range<u32>) -> &[Slot] {
        self.slots.get(self.positions(chunks)).unwrap_or_default()
    }

    fn range_mut(&mut self, chunks: &Range<u32>) -> &mut [Slot] {
        let positions = self.positions(chunks);
        self.slots.get_mut(positions).unwrap_or_default()
    }

    /// The chunk with this index, if it is known.
    pub(crate) fn get(&self, index: u32) -> Option<&Slot> {
        self.range(&(index..index.saturating_add(1))).first()
    }

    /// The known chunk that `byte` lies in, and those after it.
    pub(crate) fn at_byte(&self, byte: u64) -> &[Slot] {
        let position = self.slots.partition_point(|slot| u64::from(slot.placed.end) <= byte);
        self.slots
            .get(position..)
            .filter(|slots| slots.first().is_some_and(|slot| u64::from(slot.placed.start) <= byte))
            .unwrap_or_default()
    }

    /// The chunks that `bytes` touch, with unknown ones between known ones.
    pub(crate) fn touched_by(&self, bytes: &Range<u64>) -> Range<u32> {
        let first = self
            .slots
            .partition_point(|slot| u64::from(slot.placed.end) <= bytes.start);
        let end = self
            .slots
            .partition_point(|slot| u64::from(slot.placed.start) < bytes.end);
        match self.slots.get(first..end) {
            Some([first, .., last]) => first.placed.index..last.placed.index + 1,
            Some([only]) => only.placed.index..only.placed.index + 1,
            _ => 0..0,
        }
    }

    /// The run of held chunks, without a gap, that begins with the one `byte` lies in.
    pub(crate) fn held_from(&self, byte: u64) -> impl Iterator<Item = (&Placed, Held, bool)> {
        let slots = self.at_byte(byte);
        let mut next = slots.first().map_or(0, |slot| slot.placed.index);
        slots.iter().map_while(move |slot| {
            let held = slot.held.filter(|_| slot.placed.index == next)?;
            next = next.saturating_add(1);
            Some((&slot.placed, held, slot.proven))
        })
    }

    /// Check that `run`, chunks that follow one another, fits what is known.
    pub(crate) fn check_run(&self, xorb: &Hash, run: &[Placed]) -> Result<()> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            return Ok(());
        };
        let impossible = |wanted: String, actual: String| Error::Integrity {
            what: format!("the place of chunk {} of xorb {xorb}", first.index),
            expected: wanted,
            actual,
        };
        if first.index == 0 && first.start != 0 {
            return Err(impossible("byte 0".to_owned(), format!("byte {}", first.start)));
        }
        let earliest = (first.index as usize).saturating_mul(SHORTEST_BYTES);
        if (first.start as usize) < earliest {
            return Err(impossible(
                format!("byte {earliest} or later"),
                format!("byte {}", first.start),
            ));
        }
        let count = self.count.map_or(MAX_CHUNKS, |count| count as usize);
        if last.index as usize >= count {
            return Err(impossible(
                format!("at most {count} chunks"),
                format!("chunk {}", last.index),
            ));
        }
        let positions = self.positions(&(first.index..last.index.saturating_add(1)));
        let before = positions
            .start
            .checked_sub(1)
            .and_then(|position| self.slots.get(position));
        let after = self.slots.get(positions.end);
        for (slot, fits) in [
            (before, before.is_none_or(|slot| follows(&slot.placed, first))),
            (after, after.is_none_or(|slot| follows(last, &slot.placed))),
        ] {
            if let Some(slot) = slot.filter(|_| !fits) {
                return Err(differs(
                    xorb,
                    slot,
                    &(if slot.placed.index < first.index { *first } else { *last }),
                ));
            }
        }
        for slot in self.slots.get(positions).unwrap_or_default() {
            let new = run.get((slot.placed.index.saturating_sub(first.index)) as usize);
            if let Some(new) = new.filter(|new| **new != slot.placed) {
                return Err(differs(xorb, slot, new));
            }
        }
        Ok(())
    }

    /// Add the chunks of a run that passed [`Self::check_run`].
    pub(crate) fn insert_run(&mut self, run: &[Placed]) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            return;
        };
        let positions = self.positions(&(first.index..last.index.saturating_add(1)));
        let mut known = self.slots.get(positions.clone()).unwrap_or_default().iter().peekable();
        let merged: Vec<Slot> = run
            .iter()
            .map(|placed| match known.next_if(|slot| slot.placed.index == placed.index) {
                Some(slot) => *slot,
                None => Slot {
                    placed: *placed,
                    proven: false,
                    held: None,
                },
            })
            .collect();
        self.slots.splice(positions, merged);
    }

    /// Note that these chunks are on disk, as far as they are known as described.
    pub(crate) fn hold(&mut self, chunks: &[OnDisk]) {
        self.epoch += 1;
        let epoch = self.epoch;
        for chunk in chunks {
            let slots = self.range_mut(&(chunk.index..chunk.index.saturating_add(1)));
            if let Some(slot) = slots.first_mut()
                && (slot.placed.start, slot.placed.end) == (chunk.start, chunk.end)
            {
                slot.held = Some(Held {
                    check: chunk.check,
                    epoch,
                });
            }
        }
    }

    /// Note that the bytes of these chunks are gone, unless newer than `epoch`.
    ///
    /// Returns whether anything changed.
    pub(crate) fn drop_held(&mut self, chunks: &Range<u32>, epoch: u64) -> bool {
        let mut changed = false;
        for slot in self.range_mut(chunks) {
            if slot.held.is_some_and(|held| held.epoch <= epoch) {
                slot.held = None;
                changed = true;
            }
        }
        changed
    }

    /// Mark the known ones of these chunks as proven; returns whether anything changed.
    pub(crate) fn prove(&mut self, chunks: &Range<u32>) -> bool {
        let mut changed = false;
        for slot in self.range_mut(chunks) {
            changed |= !slot.proven;
            slot.proven = true;
        }
        changed
    }

    /// Forget those of these chunks that are not proven; returns whether anything changed.
    pub(crate) fn forget(&mut self, chunks: &Range<u32>) -> bool {
        let before = self.slots.len();
        self.slots
            .retain(|slot| slot.proven || !chunks.contains(&slot.placed.index));
        self.slots.len() != before
    }

    /// Note that the xorb has `count` chunks; returns whether all of them are known, and proves them.
    pub(crate) fn set_whole(&mut self, count: u32) -> bool {
        let known = u32::try_from(self.slots.len()).ok() == Some(count)
            && self.slots.last().is_none_or(|slot| slot.placed.index < count);
        if known {
            self.count = Some(count);
            self.prove(&(0..count));
        }
        known
    }

    /// Number of chunks, if those known have no gap and hash to `xorb`.
    pub(crate) fn whole_count(&self, xorb: &Hash) -> Option<u32> {
        let last = self.slots.last()?;
        let count = last.placed.index.checked_add(1)?;
        if count as usize != self.slots.len() {
            return None;
        }
        let mut hasher = MerkleHasher::new();
        for slot in &self.slots {
            hasher.push(slot.placed.hash, u64::from(slot.placed.raw_bytes));
        }
        (hasher.root() == *xorb).then_some(count)
    }

    pub(crate) fn any_held(&self) -> bool {
        self.slots.iter().any(|slot| slot.held.is_some())
    }
}

/// Say whether `next` may stand after `chunk`: at its end if it is the next one, else later.
const fn follows(chunk: &Placed, next: &Placed) -> bool {
    if chunk.index + 1 == next.index {
        chunk.end == next.start
    } else {
        chunk.end < next.start
    }
}

fn differs(xorb: &Hash, known: &Slot, new: &Placed) -> Error {
    let describe = |chunk: &Placed| {
        format!(
            "chunk {} {} of {} bytes at [{}, {})",
            chunk.index, chunk.hash, chunk.raw_bytes, chunk.start, chunk.end
        )
    };
    let what = format!("chunk {} of xorb {xorb}", new.index);
    if known.proven {
        Error::Integrity {
            what,
            expected: describe(&known.placed),
            actual: describe(new),
        }
    } else {
        Error::Conflict {
            what,
            known: describe(&known.placed),
            actual: describe(new),
        }
    }
}

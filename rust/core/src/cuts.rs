//! Which of the positions where the gear hash allows a cut are cuts: the size rules.
//!
//! The positions of a block depend on its bytes alone and can be found anywhere, in any order;
//! this is the part that goes from the first block to the last, and touches few bytes.

use crate::chunker::{MAX_CHUNK_BYTES, MIN_CHUNK_BYTES};
use crate::gear::{self, Candidate, WINDOW_BYTES};

const MIN_BYTES: u64 = MIN_CHUNK_BYTES as u64;
const MAX_BYTES: u64 = MAX_CHUNK_BYTES as u64;

/// Find the candidates of a block; its first [`WINDOW_BYTES`] bytes belong to the one before it.
///
/// What cannot be a cut if the last candidate is one is not searched.
pub(crate) fn candidates(block: &[u8], found: &mut Vec<Candidate>) {
    gear::search::<{ gear::LANES }>(block, MIN_CHUNK_BYTES - 1, found);
}

/// Applies the size rules to the blocks of a stream, in order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cuts {
    start: u64,
}

impl Cuts {
    /// Begin in a chunk that starts at `start`.
    pub(crate) const fn new(start: u64) -> Self {
        Self { start }
    }

    /// Return where the chunk that has not ended yet starts.
    pub(crate) const fn start(self) -> u64 {
        self.start
    }

    /// Search the block whose bytes after the first [`WINDOW_BYTES`] start at `position`.
    ///
    /// Calls `emit` with the end of each chunk that ends in it; returns where the block ends.
    pub(crate) fn push(&mut self, position: u64, block: &[u8], emit: &mut impl FnMut(u64)) -> u64 {
        let mut found = Vec::new();
        candidates(block, &mut found);
        self.choose(position, block, &found, emit)
    }

    /// Choose the cuts among all candidates of a block: [`Cuts::push`] without the search.
    pub(crate) fn choose(
        &mut self,
        position: u64,
        block: &[u8],
        found: &[Candidate],
        emit: &mut impl FnMut(u64),
    ) -> u64 {
        let before = |end: usize| position.saturating_add(end.saturating_sub(WINDOW_BYTES) as u64);
        for candidate in found {
            self.force(before(candidate.end).saturating_sub(1), emit);
            if let Some(end) = self.first_cut(candidate, block, before) {
                self.start = end;
                emit(end);
            }
        }
        let end = before(block.len());
        self.force(end, emit);
        end
    }

    /// End chunks of the maximum size up to `position`.
    fn force(&mut self, position: u64, emit: &mut impl FnMut(u64)) {
        while position.saturating_sub(self.start) >= MAX_BYTES {
            self.start += MAX_BYTES;
            emit(self.start);
        }
    }

    /// Return the first cut from `candidate` on, up to where the search went on.
    fn first_cut(self, candidate: &Candidate, block: &[u8], before: impl Fn(usize) -> u64) -> Option<u64> {
        let early = self
            .start
            .saturating_add(MIN_BYTES)
            .saturating_sub(before(candidate.end));
        if early == 0 {
            return Some(before(candidate.end));
        }
        // Too early to be a cut: what was not searched because of it may hold one.
        let first = candidate.end.saturating_add(usize::try_from(early).ok()?);
        let tested = block.get(first - 1..candidate.unsearched)?;
        let mut hash = gear::update(0, block.get(first - 1 - WINDOW_BYTES..first - 1)?);
        gear::find(&mut hash, tested).map(|used| before(first - 1 + used))
    }
}

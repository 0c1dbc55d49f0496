//! The chunks of one content and their hashes, on all threads of a pool.
//!
//! Exact: the positions where the gear hash allows a cut depend on the 64 bytes before them, so
//! each block is searched on its own. The size rules are applied from block to block as soon as
//! those before are searched; then whoever searched a block hashes the chunks that end in it,
//! while they are in that processor's cache. No task waits for another.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rayon::{Scope, ThreadPool};

use crate::MAX_CHUNK_BYTES;
use crate::cuts::{self, Cuts};
use crate::gear::{Candidate, WINDOW_BYTES};
use crate::hash::{Hash, chunk_hash, chunk_hash_of_two};

/// Distance of two blocks: small enough that a block stays in a processor's own cache.
pub const BLOCK_BYTES: usize = 512 * 1024;

/// A block has the first bytes of the next.
pub const LOADED_BYTES: usize = BLOCK_BYTES + WINDOW_BYTES;

/// Less content is one block, which one thread does best.
pub const MIN_PARALLEL_BYTES: usize = BLOCK_BYTES;

/// A thread looks for the work of others after so many blocks on average.
pub const ROUND_BLOCKS: u64 = 64;

/// Tasks for each thread of the pool: one it works on, one whose block waits for its turn.
const TASKS_PER_THREAD: usize = 2;

// A chunk spans two blocks at most.
const _: () = assert!(MAX_CHUNK_BYTES <= BLOCK_BYTES);

/// Cut `data` into chunks; returns the hash and length of each, in order.
pub fn hash_chunks(pool: &ThreadPool, data: &[u8]) -> Vec<(Hash, usize)> {
    let mut chunks = Vec::with_capacity(data.len() / crate::TARGET_CHUNK_BYTES + 1);
    let load = |index: u64| {
        let start =
            usize::try_from(index).map_or(data.len(), |index| index.saturating_mul(BLOCK_BYTES).min(data.len()));
        let end = data.len().min(start.saturating_add(LOADED_BYTES));
        Ok::<_, Infallible>(data.get(start..end).unwrap_or_default())
    };
    match hash_blocks(pool, load, |hash, bytes| chunks.push((hash, bytes))) {
        Ok(()) => chunks,
    }
}

/// Cut content that is loaded in blocks, and pass on the hash and length of each chunk, in order.
///
/// `load` returns up to [`LOADED_BYTES`] from [`BLOCK_BYTES`] times the index on; the content ends
/// in the first block with fewer. It is called on many threads, also for blocks beyond the end,
/// and its first error ends the work. In memory are at most four blocks for each thread of the pool, and one.
/// Called from outside the pool, it lets others have their turn every [`ROUND_BLOCKS`].
pub fn hash_blocks<B, E>(
    pool: &ThreadPool,
    load: impl Fn(u64) -> Result<B, E> + Sync,
    emit: impl FnMut(Hash, usize) + Send,
) -> Result<(), E>
where
    B: AsRef<[u8]> + Send + Sync,
    E: Send,
{
    let work = Work {
        load,
        state: Mutex::new(State {
            next: 0,
            stop: 0,
            outcome: Ok(()),
            ended: false,
            searched: BTreeMap::new(),
            chosen: 0,
            cuts: Cuts::default(),
            previous: None,
            chunks: 0,
            emitted: 0,
            hashed: VecDeque::new(),
            emit,
        }),
    };
    let threads = pool.current_num_threads();
    while work.state().begin_round(threads) {
        pool.in_place_scope(|scope| {
            for _ in 0..threads * TASKS_PER_THREAD {
                scope.spawn(|scope| work.go_on(scope, None));
            }
        });
    }
    work.state.into_inner().unwrap_or_else(PoisonError::into_inner).outcome
}

struct Work<L, B, E, F> {
    load: L,
    state: Mutex<State<B, E, F>>,
}

impl<L, B, E, F> Work<L, B, E, F>
where
    L: Fn(u64) -> Result<B, E> + Sync,
    B: AsRef<[u8]> + Send + Sync,
    E: Send,
    F: FnMut(Hash, usize) + Send,
{
    /// Hash the chunks of `job`, then load and search the next block, and so on.
    ///
    /// Ends without a job: whoever searches the block that is missing starts it again.
    fn go_on<'scope>(&'scope self, scope: &Scope<'scope>, mut job: Option<Job<B>>) {
        loop {
            if let Some(job) = job.take() {
                let (first, hashes) = (job.first, job.hashes());
                drop(job);
                self.state().pass_on(first, hashes);
            }
            let Some(index) = self.state().claim() else {
                return;
            };
            let block = match (self.load)(index) {
                Ok(block) => block,
                Err(error) => return self.state().fail(error),
            };
            let mut found = Vec::new();
            cuts::candidates(block.as_ref(), &mut found);
            let mut jobs = self.state().choose(index, block, found).into_iter();
            job = jobs.next();
            for job in jobs {
                scope.spawn(move |scope| self.go_on(scope, Some(job)));
            }
            if job.is_none() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State<B, E, F>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The chunks that end in one block. `block` starts at `position` of the content.
struct Job<B> {
    first: u64,
    start: u64,
    ends: Vec<u64>,
    position: u64,
    block: Arc<B>,
    previous: Option<Arc<B>>,
}

impl<B: AsRef<[u8]>> Job<B> {
    fn hashes(&self) -> Vec<(Hash, usize)> {
        let mut start = self.start;
        let chunks = self.ends.iter().map(|end| {
            let chunk = self.hash(start, *end);
            start = *end;
            chunk
        });
        chunks.collect()
    }

    fn hash(&self, start: u64, end: u64) -> (Hash, usize) {
        let within = |position: u64| usize::try_from(position.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let block = (*self.block).as_ref();
        let rest = block.get(within(start)..within(end)).unwrap_or_default();
        let earlier = usize::try_from(self.position.saturating_sub(start)).unwrap_or_default();
        if earlier == 0 {
            return (chunk_hash(rest), rest.len());
        }
        let previous = self.previous.as_ref().map_or(&[][..], |previous| (**previous).as_ref());
        let previous = previous.get(..BLOCK_BYTES).unwrap_or_default();
        let begun = previous.get(BLOCK_BYTES.saturating_sub(earlier)..).unwrap_or_default();
        (chunk_hash_of_two(begun, rest), begun.len() + rest.len())
    }
}

struct State<B, E, F> {
    /// The block to load next.
    next: u64,
    /// Where the round ends.
    stop: u64,
    outcome: Result<(), E>,
    /// Nothing more is loaded: the end was seen, or an error.
    ended: bool,
    /// Blocks after `chosen`, with their candidates.
    searched: BTreeMap<u64, (B, Vec<Candidate>)>,
    /// The block to choose cuts in next.
    chosen: u64,
    cuts: Cuts,
    previous: Option<Arc<B>>,
    /// The chunks found so far.
    chunks: u64,
    /// The chunks passed on.
    emitted: u64,
    /// The chunks after those.
    hashed: VecDeque<Option<(Hash, usize)>>,
    emit: F,
}

impl<B: AsRef<[u8]>, E, F: FnMut(Hash, usize)> State<B, E, F> {
    /// Allow more blocks to be loaded; false if there are no more.
    const fn begin_round(&mut self, threads: usize) -> bool {
        self.stop = self.next.saturating_add(ROUND_BLOCKS.saturating_mul(threads as u64));
        !self.ended
    }

    /// Return the index of a block to load.
    const fn claim(&mut self) -> Option<u64> {
        if self.ended || self.next >= self.stop {
            return None;
        }
        self.next += 1;
        Some(self.next - 1)
    }

    fn fail(&mut self, error: E) {
        self.ended = true;
        self.outcome = Err(error);
    }

    /// Add a block that was searched, and choose the cuts in all blocks whose turn has come.
    fn choose(&mut self, index: u64, block: B, found: Vec<Candidate>) -> Vec<Job<B>> {
        self.ended |= block.as_ref().len() < LOADED_BYTES;
        self.searched.insert(index, (block, found));
        let mut jobs = Vec::new();
        while let Some((block, found)) = self.searched.remove(&self.chosen) {
            let position = self.chosen.saturating_mul(BLOCK_BYTES as u64);
            let start = self.cuts.start();
            let mut ends = Vec::new();
            let window = position.saturating_add(WINDOW_BYTES as u64);
            let bytes = block.as_ref();
            self.cuts.choose(window, bytes, &found, &mut |end| ends.push(end));
            let last = bytes.len() < LOADED_BYTES;
            let end = position.saturating_add(bytes.len() as u64);
            if last && self.cuts.start() < end {
                ends.push(end);
            }
            if last {
                self.ended = true;
                self.chosen = u64::MAX;
            } else {
                self.chosen += 1;
            }
            let block = Arc::new(block);
            let first = self.chunks;
            self.chunks += ends.len() as u64;
            jobs.push(Job {
                first,
                start,
                position,
                block: Arc::clone(&block),
                previous: self.previous.replace(block),
                ends,
            });
        }
        jobs
    }

    /// Keep the chunks from number `first` on, and pass on all whose turn has come.
    fn pass_on(&mut self, first: u64, hashes: Vec<(Hash, usize)>) {
        let place = usize::try_from(first.saturating_sub(self.emitted)).unwrap_or(usize::MAX);
        let wanted = self.hashed.len().max(place.saturating_add(hashes.len()));
        self.hashed.resize(wanted, None);
        for (slot, chunk) in self.hashed.iter_mut().skip(place).zip(hashes) {
            *slot = Some(chunk);
        }
        while let Some((hash, bytes)) = self.hashed.front().copied().flatten() {
            self.hashed.pop_front();
            self.emitted += 1;
            (self.emit)(hash, bytes);
        }
    }
}

//! Cut a stream of bytes into chunks by its content.
//!
//! Holds no bytes: it is fed the stream in pieces of any size and says where the chunks end.
//! Hashing and storing them is the caller's work.
//!
//! Source: draft-denis-xet-03, "Content-Defined Chunking", with two points from the deployed
//! client: bytes too early in a chunk to influence a cut are not hashed at all, and a match
//! before the minimum size is not a cut and does not end the search.

use crate::cuts::Cuts;
use crate::gear::{self, WINDOW_BYTES};

/// Mean distance of the positions where a cut is allowed.
pub const TARGET_CHUNK_BYTES: usize = 64 * 1024;

/// No chunk but the last of a stream is smaller.
pub const MIN_CHUNK_BYTES: usize = TARGET_CHUNK_BYTES / 8;

/// No chunk is larger.
pub const MAX_CHUNK_BYTES: usize = TARGET_CHUNK_BYTES * 2;

/// The first cut test needs the hash of the [`WINDOW_BYTES`] bytes before it; nothing earlier in
/// the chunk can change that hash.
const SKIPPED_BYTES: usize = MIN_CHUNK_BYTES - WINDOW_BYTES;

/// Smaller pieces are searched from cut to cut: what is passed over after a cut is more than the
/// search in lanes gains.
const MIN_SEARCHED_BYTES: usize = 64 * 1024;

/// Larger pieces are searched block by block, so that an answer does not wait for the last byte.
const BLOCK_BYTES: usize = 1024 * 1024;

/// Finds chunk boundaries in a stream that arrives in pieces.
///
/// The boundaries depend on the stream alone, not on how it was split into pieces.
///
/// ```
/// let mut ends = Vec::new();
/// let mut chunker = xetway_core::Chunker::new();
/// for piece in [&[0_u8; 100_000][..], &[0_u8; 31_073][..]] {
///     chunker.push(piece, &mut |end| ends.push(end));
/// }
/// chunker.finish(&mut |end| ends.push(end));
/// assert_eq!(ends, [131_072, 131_073]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Chunker {
    position: u64,
    chunk_bytes: usize,
    hash: u64,
}

impl Chunker {
    /// Make a chunker at the start of a stream.
    pub const fn new() -> Self {
        Self {
            position: 0,
            chunk_bytes: 0,
            hash: 0,
        }
    }

    /// Return the number of bytes fed so far.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Return the number of bytes fed since the last boundary; always less than
    /// [`MAX_CHUNK_BYTES`].
    pub const fn pending_bytes(&self) -> usize {
        self.chunk_bytes
    }

    /// Feed the next bytes of the stream.
    ///
    /// Calls `emit` with the absolute end offset of each chunk that ends in them.
    pub fn push(&mut self, data: &[u8], emit: &mut impl FnMut(u64)) {
        if data.len() < MIN_SEARCHED_BYTES {
            return self.walk(data, emit);
        }
        let (window, rest) = data.split_at(WINDOW_BYTES);
        self.walk(window, emit);
        let mut cuts = Cuts::new(self.position.saturating_sub(self.chunk_bytes as u64));
        for start in (0..rest.len()).step_by(BLOCK_BYTES) {
            let end = data.len().min(start + WINDOW_BYTES + BLOCK_BYTES);
            self.position = cuts.push(self.position, data.get(start..end).unwrap_or_default(), emit);
        }
        self.chunk_bytes = usize::try_from(self.position.saturating_sub(cuts.start())).unwrap_or_default();
        self.hash = gear::update(
            0,
            data.last_chunk::<WINDOW_BYTES>()
                .map_or(&[], |window| window.as_slice()),
        );
    }

    /// Feed the next bytes of the stream, from cut to cut.
    fn walk(&mut self, data: &[u8], emit: &mut impl FnMut(u64)) {
        let mut rest = data;
        while !rest.is_empty() {
            let (used, cut) = self.advance(rest);
            self.position = self.position.saturating_add(used as u64);
            self.chunk_bytes += used;
            rest = rest.get(used..).unwrap_or_default();
            if cut {
                self.chunk_bytes = 0;
                self.hash = 0;
                emit(self.position);
            }
        }
    }

    /// End the stream: calls `emit` with its length if a last, unfinished chunk is left.
    pub fn finish(self, emit: &mut impl FnMut(u64)) {
        if self.chunk_bytes > 0 {
            emit(self.position);
        }
    }

    /// Go through `data` to the end of the current chunk or the end of `data`.
    ///
    /// Returns the bytes used and whether the chunk ends after them.
    fn advance(&mut self, data: &[u8]) -> (usize, bool) {
        let skipped = SKIPPED_BYTES.saturating_sub(self.chunk_bytes).min(data.len());
        let warmed = (MIN_CHUNK_BYTES - 1).saturating_sub(self.chunk_bytes).min(data.len());
        let limit = MAX_CHUNK_BYTES.saturating_sub(self.chunk_bytes).min(data.len());
        self.hash = gear::update(self.hash, data.get(skipped..warmed).unwrap_or_default());
        let searched = data.get(warmed..limit).unwrap_or_default();
        match gear::find(&mut self.hash, searched) {
            Some(used) => (warmed + used, true),
            None => (limit, self.chunk_bytes + limit >= MAX_CHUNK_BYTES),
        }
    }
}

/// Return the end offsets of all chunks of `data`; empty data has none.
pub fn boundaries(data: &[u8]) -> Vec<u64> {
    let mut ends = Vec::with_capacity(data.len() / TARGET_CHUNK_BYTES + 1);
    let mut chunker = Chunker::new();
    chunker.push(data, &mut |end| ends.push(end));
    chunker.finish(&mut |end| ends.push(end));
    ends
}

/// Iterate over the chunks of `data`.
pub fn chunks(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    boundaries(data).into_iter().filter_map(move |end| {
        let end = usize::try_from(end).ok()?;
        let chunk = data.get(start..end);
        start = end;
        chunk
    })
}

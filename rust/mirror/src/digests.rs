//! What tells the chunks that were shown from those that are there now, in little room.

use std::collections::HashMap;

use xetway_cache::ChunkInfo;
use xetway_core::Hash;

/// Half of a chunk's hash: tells what was shown from what is there now.
pub(crate) type Digest = u128;

/// Shorten a hash.
pub(crate) fn digest_of(hash: &Hash) -> Digest {
    // Zero means "not shown".
    hash.as_bytes()
        .first_chunk()
        .map_or(1, |bytes| u128::from_le_bytes(*bytes).max(1))
}

/// Digests of the chunks of some xorbs, by index.
pub(crate) type Digests = HashMap<Hash, Vec<Digest>>;

/// Remember the digest of a chunk; returns the one that was remembered before.
pub(crate) fn remember(digests: &mut Digests, xorb: &Hash, chunk: &ChunkInfo) -> Option<Digest> {
    let slots = digests.entry(*xorb).or_default();
    let index = chunk.index as usize;
    if slots.len() <= index {
        slots.resize(index + 1, 0);
    }
    let before = std::mem::replace(slots.get_mut(index)?, digest_of(&chunk.hash));
    (before != 0).then_some(before)
}

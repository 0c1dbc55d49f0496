//! The draft's pseudo code, byte by byte, without skipping anything.

use xetway_core::{MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, gear};

/// The ends of all chunks of `data`.
pub fn boundaries(data: &[u8]) -> Vec<u64> {
    let (mut ends, mut start, mut hash) = (Vec::new(), 0, 0);
    for (index, byte) in data.iter().enumerate() {
        hash = gear::step(hash, *byte);
        let size = index - start + 1;
        if size >= MIN_CHUNK_BYTES && (size >= MAX_CHUNK_BYTES || hash & gear::MASK == 0) {
            ends.push(index as u64 + 1);
            start = index + 1;
        }
    }
    if start < data.len() {
        ends.push(data.len() as u64);
    }
    ends
}

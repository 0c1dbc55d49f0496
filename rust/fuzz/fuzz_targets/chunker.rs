//! Boundaries of any data, in pieces of any size, are those of the draft's pseudo code.
#![no_main]

#[path = "../oracle.rs"]
mod oracle;

use libfuzzer_sys::fuzz_target;
use xetway_core::{Chunker, MAX_CHUNK_BYTES, chunker};

const MOST_BYTES: usize = 300_000;

fuzz_target!(|input: (u16, u16, &[u8])| {
    let (piece_bytes, repeats, seed) = input;
    let repeats = usize::from(repeats).min(MOST_BYTES / seed.len().max(1));
    let data = seed.repeat(repeats.max(1));
    let wanted = oracle::boundaries(&data);
    assert_eq!(chunker::boundaries(&data), wanted);
    let mut ends = Vec::new();
    let mut streamed = Chunker::new();
    for piece in data.chunks(usize::from(piece_bytes).max(1)) {
        streamed.push(piece, &mut |end| ends.push(end));
        assert!(streamed.pending_bytes() < MAX_CHUNK_BYTES);
    }
    streamed.finish(&mut |end| ends.push(end));
    assert_eq!(ends, wanted);
});

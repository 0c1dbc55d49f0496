//! On several threads, in pieces and byte by byte, any content has the same chunks.
#![no_main]

#[path = "../oracle.rs"]
mod oracle;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rayon::ThreadPool;
use xetway_core::hash::chunk_hash;
use xetway_core::{Chunker, parallel};

const MOST_BYTES: usize = 3 * parallel::BLOCK_BYTES;

static POOL: LazyLock<ThreadPool> = LazyLock::new(|| rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap());

/// 64 bytes whose hash allows a cut.
const WINDOW: [u8; 64] = [
    0x9a, 0x34, 0x2a, 0x22, 0x9f, 0x4b, 0x7e, 0xe0, 0x46, 0xec, 0x0c, 0xc4, 0x4f, 0xec, 0xb2, 0x7c, 0x7f, 0x32, 0x63,
    0xb2, 0x2c, 0xb0, 0xae, 0x7e, 0xfa, 0xeb, 0xcd, 0xae, 0xfc, 0x7a, 0x23, 0x0a, 0x14, 0x65, 0xd6, 0x45, 0xc1, 0x08,
    0x73, 0x69, 0x9e, 0xe4, 0x78, 0x6f, 0x88, 0xa2, 0xc6, 0xfb, 0xd3, 0xb7, 0xfd, 0xfc, 0xa4, 0x93, 0x3f, 0x10, 0xba,
    0xa2, 0x75, 0x17, 0xaa, 0x24, 0xcd, 0xbb,
];

fuzz_target!(|input: (u32, u32, Vec<(u16, bool)>, &[u8])| {
    let (bytes, piece_bytes, windows, seed) = input;
    let mut data: Vec<u8> = seed
        .iter()
        .copied()
        .chain([0x3b])
        .cycle()
        .take(bytes as usize % MOST_BYTES)
        .collect();
    let mut position = 0;
    for (distance, far) in windows {
        position += usize::from(distance) * if far { 16 } else { 1 };
        if let Some(place) = data.get_mut(position..position + WINDOW.len()) {
            place.copy_from_slice(&WINDOW);
        }
    }
    let wanted = oracle::boundaries(&data);
    let mut ends = Vec::new();
    let mut streamed = Chunker::new();
    for piece in data.chunks(piece_bytes as usize % MOST_BYTES + 1) {
        streamed.push(piece, &mut |end| ends.push(end));
    }
    streamed.finish(&mut |end| ends.push(end));
    assert_eq!(ends, wanted);

    let mut start = 0;
    let chunks = parallel::hash_chunks(&POOL, &data);
    assert_eq!(chunks.len(), wanted.len());
    for ((hash, bytes), end) in chunks.into_iter().zip(wanted) {
        assert_eq!(start + bytes, end as usize);
        assert_eq!(hash, chunk_hash(&data[start..][..bytes]));
        start += bytes;
    }
});

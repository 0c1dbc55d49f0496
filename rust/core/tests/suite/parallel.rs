//! One content on several threads: the same chunks as on one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::chunker::oracle;
use crate::inputs::{dense, splitmix};
use rayon::ThreadPool;
use xetway_core::chunker::chunks;
use xetway_core::gear::WINDOW_BYTES;
use xetway_core::hash::chunk_hash;
use xetway_core::parallel::{BLOCK_BYTES, LOADED_BYTES, ROUND_BLOCKS, hash_blocks, hash_chunks};
use xetway_core::{Hash, MAX_CHUNK_BYTES, MIN_CHUNK_BYTES};

fn pool(threads: usize) -> ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

fn wanted(data: &[u8]) -> Vec<(Hash, usize)> {
    chunks(data).map(|chunk| (chunk_hash(chunk), chunk.len())).collect()
}

#[test]
fn any_number_of_threads_gives_the_same_chunks() {
    let random = splitmix(8, 5 * BLOCK_BYTES + 12_345);
    let dense = dense(3 * BLOCK_BYTES);
    let zeros = vec![0; 3 * BLOCK_BYTES + 1];
    for data in [&random, &dense, &zeros] {
        let wanted = wanted(data);
        for threads in [1, 2, 3, 4, 8, 16] {
            assert_eq!(hash_chunks(&pool(threads), data), wanted, "{threads} threads");
        }
    }
}

#[test]
fn any_length() {
    let all = [
        0,
        WINDOW_BYTES,
        MIN_CHUNK_BYTES,
        MAX_CHUNK_BYTES,
        BLOCK_BYTES,
        LOADED_BYTES,
        2 * BLOCK_BYTES,
        2 * BLOCK_BYTES + WINDOW_BYTES,
    ];
    // Miri takes seconds for a kilobyte; the threads look for further blocks all the same.
    let edges = if cfg!(miri) { &all[..2] } else { &all };
    let data = splitmix(9, edges[edges.len() - 1] + 1);
    let pool = pool(3);
    for edge in edges {
        for length in edge.saturating_sub(1)..=edge + 1 {
            let data = &data[..length];
            assert_eq!(hash_chunks(&pool, data), wanted(data), "{length} bytes");
        }
    }
}

/// Cuts, and candidates too early to be cuts, wherever two blocks meet.
#[test]
fn candidates_around_the_edges_of_blocks() {
    let window = &splitmix(0, 84_493)[84_493 - WINDOW_BYTES..];
    let pool = pool(4);
    for end in (LOADED_BYTES - 66..LOADED_BYTES + 66)
        .step_by(11)
        .chain([BLOCK_BYTES, LOADED_BYTES])
    {
        let mut data = vec![0x3b; LOADED_BYTES + 200_000];
        for end in [end - 8_192, end - 100, end, end + 8_091, end + 8_092, end + 16_000] {
            data[end - WINDOW_BYTES..end].copy_from_slice(window);
        }
        let found = hash_chunks(&pool, &data);
        let ends: Vec<u64> = found
            .iter()
            .scan(0, |end, (_, bytes)| {
                *end += *bytes as u64;
                Some(*end)
            })
            .collect();
        assert_eq!(ends, oracle(&data), "window ends at {end}");
        assert_eq!(found, wanted(&data), "window ends at {end}");
    }
}

#[test]
fn several_contents_at_a_time() {
    let contents: Vec<Vec<u8>> = (0..6).map(|seed| splitmix(seed, 1_300_000 + seed as usize)).collect();
    let pool = &pool(4);
    pool.scope(|scope| {
        for content in &contents {
            scope.spawn(move |_| assert_eq!(hash_chunks(pool, content), wanted(content)));
        }
    });
}

#[test]
fn an_error_ends_the_work() {
    let data = splitmix(1, LOADED_BYTES);
    let loads = AtomicU64::new(0);
    let load = |index| {
        loads.fetch_add(1, Ordering::Relaxed);
        if index < 3 { Ok(&data[..]) } else { Err("broken") }
    };
    assert_eq!(hash_blocks(&pool(2), load, |_, _| ()), Err("broken"));
    assert!(loads.into_inner() <= 7);
}

/// What a block holds is given back before more is loaded.
#[test]
fn few_blocks_are_in_memory() {
    struct Block<'a>(Vec<u8>, &'a AtomicUsize);
    impl AsRef<[u8]> for Block<'_> {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Block<'_> {
        fn drop(&mut self) {
            self.1.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let (held, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let load = |index| {
        most.fetch_max(held.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let bytes = if index < 60 { LOADED_BYTES } else { WINDOW_BYTES };
        Ok::<_, ()>(Block(vec![7; bytes], &held))
    };
    let mut bytes = 0;
    hash_blocks(&pool(2), load, |_, length| bytes += length).unwrap();
    assert_eq!(bytes, 60 * BLOCK_BYTES + WINDOW_BYTES);
    assert_eq!(held.into_inner(), 0);
    assert!(
        most.into_inner() <= 9,
        "two for each of four tasks, and the one that a chunk began in"
    );
}

#[test]
fn other_work_waits_for_a_round_and_not_for_the_end() {
    let data = splitmix(1, LOADED_BYTES);
    let (pool, done) = (Arc::new(pool(1)), Arc::new(AtomicBool::new(false)));
    let load = |index| {
        if index == 0 {
            let (pool, done) = (Arc::clone(&pool), Arc::clone(&done));
            let other = move || pool.spawn(move || done.store(true, Ordering::Relaxed));
            std::thread::spawn(other).join().unwrap();
        }
        if index < ROUND_BLOCKS {
            Ok(&data[..])
        } else {
            Err(done.load(Ordering::Relaxed))
        }
    };
    assert_eq!(hash_blocks(&pool, load, |_, _| ()), Err(true));
}

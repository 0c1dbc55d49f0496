//! The search in lanes against one step after the other.

use crate::inputs::{dense, splitmix, text};
use proptest::prelude::*;
use xetway_core::gear::{self, Candidate, MASK, WINDOW_BYTES};
use xetway_core::{MAX_CHUNK_BYTES, MIN_CHUNK_BYTES};

/// What is passed over after a candidate in practice.
const SKIPPED: usize = MIN_CHUNK_BYTES - 1;

/// All positions after the window where a cut is allowed.
fn oracle(data: &[u8]) -> Vec<usize> {
    let mut hash = 0;
    let ends = data.iter().zip(1..).filter_map(|(byte, end)| {
        hash = gear::step(hash, *byte);
        (end > WINDOW_BYTES && hash & MASK == 0).then_some(end)
    });
    ends.collect()
}

fn search(lanes: usize, data: &[u8], skipped: usize) -> Vec<Candidate> {
    let search = match lanes {
        1 => gear::search::<1>,
        2 => gear::search::<2>,
        3 => gear::search::<3>,
        4 => gear::search::<4>,
        5 => gear::search::<5>,
        _ => gear::search::<6>,
    };
    let mut found = Vec::new();
    search(data, skipped, &mut found);
    found
}

/// Nothing is missed but what was said not to be searched, whatever the lanes and the skips.
fn check(data: &[u8]) {
    let wanted = oracle(data);
    for lanes in 1..=6 {
        let found = search(lanes, data, 0);
        assert!(found.iter().all(|candidate| candidate.unsearched == candidate.end));
        let ends: Vec<usize> = found.iter().map(|candidate| candidate.end).collect();
        assert_eq!(ends, wanted, "{lanes} lanes, {} bytes", data.len());
        for skipped in [1, 63, SKIPPED] {
            let found = search(lanes, data, skipped);
            let mut wanted = wanted.iter().copied().peekable();
            for Candidate { end, unsearched } in found {
                assert_eq!(wanted.next(), Some(end), "{lanes} lanes, {} bytes", data.len());
                assert!((end..=data.len().min(end + skipped)).contains(&unsearched));
                while wanted.next_if(|position| *position <= unsearched).is_some() {}
            }
            assert_eq!(wanted.next(), None, "{lanes} lanes, {} bytes", data.len());
        }
    }
}

/// 64 bytes whose hash allows a cut.
fn window() -> Vec<u8> {
    splitmix(0, 84_493).split_off(84_493 - WINDOW_BYTES)
}

#[test]
fn short_blocks_at_all_alignments() {
    for data in [dense(200), window().repeat(4)] {
        for alignment in 0..64 {
            for length in 0..=130 {
                check(&data[alignment..alignment + length]);
            }
        }
    }
}

#[test]
fn lengths_around_the_sizes_that_matter() {
    let (dense, random) = (dense(4_096), splitmix(5, MAX_CHUNK_BYTES + 2));
    for size in [WINDOW_BYTES + 1024, 3 * 1024, MIN_CHUNK_BYTES, MAX_CHUNK_BYTES] {
        for length in size - 1..=size + 1 {
            check(&random[..length]);
            check(&dense[..length.min(4_096)]);
        }
    }
}

#[test]
fn candidates_everywhere_and_nowhere() {
    for data in [
        dense(20_000),
        [2, 0xef, 0xd4, 0x75].repeat(5_000),
        window().repeat(700),
        vec![0; 50_000],
        vec![0x3b; 50_000],
        text(50_000),
        splitmix(6, 300_000),
    ] {
        check(&data);
        check(&data[1..]);
    }
    assert_eq!(oracle(&dense(300)).len(), 79);
}

/// Each lane ends where the next begins, wherever the division put that.
#[test]
fn candidates_before_and_after_the_edges_of_lanes() {
    let length = 6_064;
    for lanes in [2, 3, 6] {
        for lane in 1..lanes {
            let edge = WINDOW_BYTES + (length - WINDOW_BYTES) * lane / lanes;
            for end in edge - 9..edge + 73 {
                let mut data = vec![0x3b; length];
                data[end - WINDOW_BYTES..end].copy_from_slice(&window());
                let ends: Vec<usize> = search(lanes, &data, SKIPPED).iter().map(|found| found.end).collect();
                assert_eq!(ends, oracle(&data), "{lanes} lanes");
                assert!(ends.contains(&end));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_block(seed: u64, length in 0_usize..60_000, windows in prop::collection::vec(64_usize..60_000, 0..40)) {
        let mut data = splitmix(seed, length);
        for end in windows.into_iter().filter(|end| *end <= length) {
            data[end - WINDOW_BYTES..end].copy_from_slice(&window());
        }
        check(&data);
    }
}

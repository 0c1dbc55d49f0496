//! Many threads on one cache, and copies of the folder taken while they write: what a kill leaves.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
#![allow(clippy::single_range_in_vec_init, reason = "lists of runs that happen to have one")]

mod samples;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use samples::{Dice, Folder, Sample, append, assert_honest, copy_folder, read_all, read_range};
use sha2::{Digest, Sha256};
use xetway_cache::{Error, PlainKey};
use xetway_core::hash::chunk_hash;

#[test]
fn threads_that_write_and_read_overlapping_ranges_agree() {
    let folder = Folder::new();
    let cache = folder.open();
    let sample = Sample::new(1, 60, 2000);
    let writing = AtomicUsize::new(3);
    thread::scope(|scope| {
        for seed in 0..3 {
            let (cache, sample, writing) = (&cache, &sample, &writing);
            scope.spawn(move || {
                let mut dice = Dice(seed);
                for _ in 0..60 {
                    let xorb = cache.xorb(&sample.hash).unwrap();
                    let first = dice.roll(60) as u32;
                    let end = (first + 1 + dice.roll(10) as u32).min(60);
                    sample.append(&xorb, first..end).unwrap();
                    match dice.roll(6) {
                        0 => xorb.drop_data(sample.start(first)..sample.start(end)).unwrap(),
                        1 => xorb.prove(first..end).unwrap(),
                        2 => xorb.forget(first..end).unwrap(),
                        _ => {}
                    }
                }
                writing.fetch_sub(1, Ordering::Release);
            });
        }
        for seed in 10..12 {
            let (cache, sample, writing) = (&cache, &sample, &writing);
            scope.spawn(move || {
                let mut dice = Dice(seed);
                while writing.load(Ordering::Acquire) > 0 {
                    let xorb = cache.xorb(&sample.hash).unwrap();
                    let start = dice.roll(sample.bytes());
                    let end = (start + 1 + dice.roll(20_000)).min(sample.bytes());
                    read_range(&xorb, sample, start..end, 1 + dice.roll(10_000) as usize);
                }
            });
        }
    });
    let xorb = cache.xorb(&sample.hash).unwrap();
    sample.append_all(&xorb);
    assert_eq!(read_all(&xorb, &sample), vec![0..sample.bytes()]);
    assert!(xorb.prove_if_whole().unwrap());
    drop(xorb);
    let xorb = folder.open().xorb(&sample.hash).unwrap();
    assert_eq!(read_all(&xorb, &sample), vec![0..sample.bytes()]);
}

#[test]
fn threads_that_share_a_small_cache_get_right_bytes_or_none() {
    let folder = Folder::new();
    let cache = folder.open_with(Some(300_000));
    let samples: Vec<Sample> = (0..8).map(|seed| Sample::new(seed, 10, 20_000)).collect();
    let stored = AtomicUsize::new(0);
    thread::scope(|scope| {
        for seed in 0..3 {
            let (cache, samples, stored) = (&cache, &samples, &stored);
            scope.spawn(move || {
                let mut dice = Dice(seed);
                for _ in 0..40 {
                    let sample = &samples[dice.roll(8) as usize];
                    let xorb = cache.xorb(&sample.hash).unwrap();
                    read_all(&xorb, sample);
                    match sample.append(&xorb, 0..10) {
                        // While this thread has it, it is not evicted.
                        Ok(()) => {
                            assert_eq!(read_all(&xorb, sample), vec![0..sample.bytes()]);
                            stored.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(Error::Full { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    assert!(stored.into_inner() > 0);
    // Three threads may each have had room for one when they looked.
    assert!(folder.open().usage().bytes <= 600_000);
}

/// A chunk like the one at `index`, of the same length, but wrong.
fn liar(sample: &Sample, index: usize) -> samples::Chunk {
    let mut liar = sample.chunks[index].clone();
    // A chunk that is stored as it is: any change gives another valid one.
    assert_eq!(liar.stored[4], 0);
    *liar.stored.last_mut().unwrap() ^= 1;
    liar.hash = chunk_hash(&liar.stored[8..]);
    liar
}

#[test]
fn a_copy_of_any_moment_holds_no_wrong_bytes() {
    let folder = Folder::new();
    let cache = folder.open();
    let sample = Sample::new(2, 12, 3000);
    let content = Dice(3).bytes(700_000);
    let key = PlainKey::Sha256(Sha256::digest(&content).into());
    let done = AtomicBool::new(false);
    let copies = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice(4);
            let mut rounds = 0;
            while copies.load(Ordering::Acquire) < 60 || rounds < 30 {
                rounds += 1;
                let xorb = cache.xorb(&sample.hash).unwrap();
                let wrong = (dice.roll(4) * 3) as usize;
                let outcome = append(&xorb, wrong as u32, &[liar(&sample, wrong)]);
                if outcome.is_ok() {
                    xorb.forget(0..12).unwrap();
                }
                let first = dice.roll(11) as u32;
                sample.append(&xorb, first..first + 1).unwrap();
                sample.append(&xorb, first..12).unwrap();
                match dice.roll(8) {
                    0 => xorb.prove(first..12).unwrap(),
                    1 => xorb.drop_data(0..u64::MAX).unwrap(),
                    2 => xorb.drop_data(0..sample.start(first) + 1).unwrap(),
                    _ => xorb.forget(0..12).unwrap(),
                }
                drop(xorb);
                let file = cache.plain(&key, content.len() as u64).unwrap();
                let here = file.len() as usize;
                let end = (here + 100_000).min(content.len());
                file.append(here as u64, &content[here..end]).unwrap();
                if end == content.len() {
                    file.finish().unwrap();
                    file.restart().unwrap();
                }
                drop(file);
                if dice.roll(10) == 0 {
                    cache.prune(0).unwrap();
                }
            }
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let copy = Folder::new();
                copy_folder(folder.root(), copy.root());
                let cache = copy.open();
                let xorb = cache.xorb(&sample.hash).unwrap();
                for chunk in xorb.chunks(0..12) {
                    let right = &sample.chunks[chunk.index as usize];
                    assert!(!chunk.proven || chunk.hash == right.hash);
                }
                assert_honest(&xorb);
                let file = cache.plain(&key, content.len() as u64).unwrap();
                let mut at = 0;
                loop {
                    let piece = file.read(at as u64, 1 << 18).unwrap();
                    assert!(piece == content[at..at + piece.len()]);
                    at += piece.len();
                    if piece.is_empty() {
                        break;
                    }
                }
                assert!(!file.is_proven() || at == content.len());
                // The copy can be gone on with.
                xorb.forget(0..12).unwrap();
                sample.append_all(&xorb);
                assert_eq!(read_all(&xorb, &sample), vec![0..sample.bytes()]);
                assert!(xorb.prove_if_whole().unwrap());
                file.append(at as u64, &content[at..]).unwrap();
                file.finish().unwrap();
                copies.fetch_add(1, Ordering::Release);
            }
        });
    });
}

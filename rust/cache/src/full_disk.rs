//! Tests: writes that fail, at every point where one can.

#![allow(clippy::single_range_in_vec_init, reason = "lists of runs that happen to have one")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use xetway_core::Hash;

use crate::kinds::{FilePlan, PlainKey};
use crate::{Cache, Error};

#[allow(unreachable_pub)]
#[path = "../tests/samples/mod.rs"]
mod samples;

use samples::{Chunk, Folder, Sample, append, assert_honest, read_all};

/// Make writes `from..to`, counted from now, fail for lack of room. Returns the counter.
fn fail(cache: &Cache, from: usize, to: usize) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    *cache.inner().disk.fault.lock().unwrap() = Some(Box::new(move |_| {
        let number = counter.fetch_add(1, Ordering::Relaxed);
        (from..to)
            .contains(&number)
            .then(|| io::Error::from(io::ErrorKind::StorageFull))
    }));
    count
}

fn mend(cache: &Cache) {
    *cache.inner().disk.fault.lock().unwrap() = None;
}

#[test]
fn an_append_that_fails_anywhere_leaves_nothing_half_done() {
    for failing in 0..8 {
        let folder = Folder::new();
        let cache = folder.open();
        let sample = Sample::new(1, 6, 500);
        let xorb = cache.xorb(&sample.hash).unwrap();
        sample.append(&xorb, 0..2).unwrap();
        let count = fail(&cache, failing, usize::MAX);
        let outcome = sample.append(&xorb, 1..6);
        // Four chunks, the table, the list of what is held.
        if failing < 6 {
            assert!(matches!(outcome, Err(Error::Full { .. })));
            assert_eq!(read_all(&xorb, &sample), vec![0..sample.start(2)]);
            assert_eq!(count.load(Ordering::Relaxed), failing + 1);
        } else {
            outcome.unwrap();
        }
        mend(&cache);
        let left = read_all(&xorb, &sample);
        let again = folder.open().xorb(&sample.hash).unwrap();
        assert_eq!(read_all(&again, &sample), left);
        assert_honest(&again);
        sample.append_all(&xorb);
        assert!(xorb.prove_if_whole().unwrap());
        let again = folder.open().xorb(&sample.hash).unwrap();
        assert_eq!(read_all(&again, &sample), vec![0..sample.bytes()]);
        assert_eq!(again.chunk_count(), Some(6));
    }
}

#[test]
fn a_full_disk_makes_room_once_and_tries_again() {
    let folder = Folder::new();
    let cache = folder.open();
    let old = Sample::new(2, 40, 130_000);
    old.append_all(&cache.xorb(&old.hash).unwrap());
    let sample = Sample::new(3, 6, 500);
    let xorb = cache.xorb(&sample.hash).unwrap();
    fail(&cache, 3, 4);
    sample.append_all(&xorb);
    mend(&cache);
    assert!(!old.file(folder.root(), "data").exists());
    assert_eq!(read_all(&xorb, &sample), vec![0..sample.bytes()]);

    old.append_all(&cache.xorb(&old.hash).unwrap());
    xorb.drop_data(0..u64::MAX).unwrap();
    let count = fail(&cache, 0, usize::MAX);
    let error = sample.append(&xorb, 0..6).unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert_eq!(count.load(Ordering::Relaxed), 2);
    assert!(!old.file(folder.root(), "data").exists());
}

#[test]
fn another_error_is_told_as_it_is() {
    let folder = Folder::new();
    let cache = folder.open();
    let sample = Sample::new(4, 2, 500);
    let xorb = cache.xorb(&sample.hash).unwrap();
    *cache.inner().disk.fault.lock().unwrap() = Some(Box::new(|_| Some(io::ErrorKind::PermissionDenied.into())));
    let error = sample.append(&xorb, 0..2).unwrap_err();
    assert!(matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied));
    assert_eq!(error.code(), "cache_io");
}

#[test]
fn what_is_forgotten_or_dropped_does_not_come_back_even_if_it_cannot_be_recorded() {
    for failing in 0..2 {
        let folder = Folder::new();
        let cache = folder.open();
        let sample = Sample::new(5, 4, 500);
        let xorb = cache.xorb(&sample.hash).unwrap();
        sample.append_all(&xorb);
        fail(&cache, failing, usize::MAX);
        xorb.forget(1..3).unwrap();
        assert!(xorb.chunk(1).is_none());
        let again = folder.open().xorb(&sample.hash).unwrap();
        assert!(again.chunk(1).is_none() && again.chunk(2).is_none());
        assert_honest(&again);
        mend(&cache);
        sample.append_all(&xorb);
        assert!(xorb.prove_if_whole().unwrap());
        fail(&cache, 0, usize::MAX);
        xorb.drop_data(0..1).unwrap();
        let again = folder.open().xorb(&sample.hash).unwrap();
        assert_eq!(again.held_end(0), None);
        assert!(again.chunk(0).unwrap().proven);
    }
}

#[test]
fn a_proof_counts_even_if_it_cannot_be_recorded() {
    let folder = Folder::new();
    let cache = folder.open();
    let sample = Sample::new(6, 4, 500);
    let xorb = cache.xorb(&sample.hash).unwrap();
    sample.append_all(&xorb);
    fail(&cache, 0, usize::MAX);
    xorb.prove(0..1).unwrap();
    assert!(xorb.prove_if_whole().unwrap());
    assert!(xorb.chunk(3).unwrap().proven);
    mend(&cache);
    let again = folder.open().xorb(&sample.hash).unwrap();
    assert!(!again.chunk(3).unwrap().proven && again.prove_if_whole().unwrap());
}

#[test]
fn a_plain_file_goes_on_after_a_full_disk() {
    const BLOCK: usize = 128 * 1024;
    let content = samples::Dice(7).bytes(3 * BLOCK + 100);
    let mut digest = crate::plain::Digest::begin(&PlainKey::Sha256([0; 32]), 0);
    digest.update(&content);
    let key = digest.finish();
    for failing in 0..2 {
        let folder = Folder::new();
        let cache = folder.open();
        let file = cache.plain(&key, content.len() as u64).unwrap();
        file.append(0, &content[..BLOCK + 50]).unwrap();
        fail(&cache, failing, usize::MAX);
        assert!(matches!(
            file.append(BLOCK as u64 + 50, &content[BLOCK + 50..]),
            Err(Error::Full { .. })
        ));
        assert_eq!(file.len(), BLOCK as u64 + 50);
        mend(&cache);
        file.append(BLOCK as u64 + 50, &content[BLOCK + 50..]).unwrap();
        fail(&cache, failing, usize::MAX);
        assert!(matches!(file.finish(), Err(Error::Full { .. })));
        mend(&cache);
        file.finish().unwrap();
        let again = folder.open().plain(&key, content.len() as u64).unwrap();
        assert!(again.is_proven());
        assert!(again.read(0, content.len()).unwrap() == content);
    }
}

#[test]
fn a_plan_that_cannot_be_written_leaves_the_one_before() {
    let folder = Folder::new();
    let cache = folder.open();
    let file = Hash::from_bytes([1; 32]);
    cache.put_plan(&file, &FilePlan::default()).unwrap();
    fail(&cache, 0, usize::MAX);
    let other = FilePlan {
        size: 5,
        ..FilePlan::default()
    };
    assert!(matches!(cache.put_plan(&file, &other), Err(Error::Full { .. })));
    assert_eq!(cache.plan(&file).unwrap(), Some(FilePlan::default()));
    let left = std::fs::read_dir(folder.root().join("tmp")).unwrap().count();
    assert_eq!(left, 0);
}

/// A log that grew beyond its limit is written anew with what still holds.
#[test]
fn logs_do_not_grow_without_end() {
    let folder = Folder::new();
    let cache = folder.open();
    let sample = Sample::new(8, 1200, 40);
    let xorb = cache.xorb(&sample.hash).unwrap();
    sample.append_all(&xorb);
    xorb.prove(0..10).unwrap();
    let limit = 5 << 20;
    let mut largest = [0; 2];
    for _ in 0..500 {
        xorb.forget(10..1200).unwrap();
        sample.append_all(&xorb);
        for (largest, suffix) in largest.iter_mut().zip(["chunks", "held"]) {
            let bytes = std::fs::metadata(sample.file(folder.root(), suffix)).unwrap().len();
            *largest = bytes.max(*largest);
            assert!(bytes < limit);
        }
    }
    assert!(largest.into_iter().all(|bytes| bytes > 4 << 20), "{largest:?}");
    let again = folder.open().xorb(&sample.hash).unwrap();
    assert_eq!(read_all(&again, &sample), vec![0..sample.bytes()]);
    assert!(again.chunk(9).unwrap().proven && !again.chunk(10).unwrap().proven);
}

#[test]
fn a_conflict_is_seen_before_anything_is_written() {
    let folder = Folder::new();
    let cache = folder.open();
    let sample = Sample::new(9, 3, 500);
    let xorb = cache.xorb(&sample.hash).unwrap();
    sample.append_all(&xorb);
    let count = fail(&cache, usize::MAX, usize::MAX);
    let wrong = Chunk {
        hash: Hash::ZERO,
        ..sample.chunks[1].clone()
    };
    assert!(append(&xorb, 1, &[wrong]).is_err());
    sample.append_all(&xorb);
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

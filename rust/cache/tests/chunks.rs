//! Chunks go in and come out, and what is known of them outlives the process.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
#![allow(clippy::single_range_in_vec_init, reason = "lists of runs that happen to have one")]

mod samples;

use std::sync::Arc;

use samples::{Folder, Sample, append, assert_honest, read_all, read_range};
use xetway_cache::Error;
use xetway_core::hash::chunk_hash;

#[test]
fn a_whole_xorb_round_trips_and_survives_reopening() {
    let folder = Folder::new();
    let sample = Sample::new(1, 20, 3000);
    {
        let xorb = folder.open().xorb(&sample.hash).unwrap();
        assert_eq!((xorb.held_end(0), xorb.chunk(0), xorb.chunk_at(0)), (None, None, None));
        assert!(xorb.read(0, 100, 100).unwrap().is_none());
        sample.append_all(&xorb);
        assert!(!xorb.chunk(3).unwrap().proven);
        assert!(xorb.prove_if_whole().unwrap());
    }
    let xorb = folder.open().xorb(&sample.hash).unwrap();
    assert_eq!(read_all(&xorb, &sample), vec![0..sample.bytes()]);
    assert_eq!(xorb.held_end(5), Some(sample.bytes()));
    assert_eq!(xorb.chunk_count(), Some(sample.count()));
    for (index, chunk) in (0..).zip(&sample.chunks) {
        let info = xorb.chunk(index).unwrap();
        assert_eq!(
            (info.hash, info.raw_bytes, info.start),
            (chunk.hash, chunk.raw_bytes, chunk.start)
        );
        assert_eq!(info.end, chunk.start + chunk.stored.len() as u64);
        assert!(info.proven && info.held);
        assert_eq!(xorb.chunk_at(info.start), Some(index));
        assert_eq!(xorb.chunk_at(info.end - 1), Some(index));
    }
    assert_eq!(xorb.chunk_at(sample.bytes()), None);
    assert_honest(&xorb);
}

#[test]
fn pieces_of_any_size_are_the_bytes_asked_for() {
    let folder = Folder::new();
    let sample = Sample::new(2, 12, 400);
    let xorb = folder.open().xorb(&sample.hash).unwrap();
    sample.append_all(&xorb);
    for max_bytes in [1, 37, 255, 1000, 1 << 20] {
        for start in [0, 1, sample.start(1) - 1, sample.start(3), sample.start(7) + 5] {
            for end in [start + 1, sample.start(9), sample.bytes()] {
                let whole = vec![start..end];
                assert_eq!(read_range(&xorb, &sample, start..end, max_bytes), whole);
            }
        }
    }
    // A piece ends with a chunk where the limit allows it.
    let second = sample.start(2) as usize;
    let piece = xorb.read(0, sample.bytes(), second + 1).unwrap().unwrap();
    assert_eq!((piece.bytes.len(), piece.last_chunk_start), (second, sample.start(1)));
    assert!(xorb.read(5, 5, 10).unwrap().is_none());
    assert!(xorb.read(5, 10, 0).unwrap().is_none());
}

#[test]
fn gaps_are_not_held_and_can_be_filled_in_any_order() {
    let folder = Folder::new();
    let sample = Sample::new(3, 10, 500);
    let cache = folder.open();
    let xorb = cache.xorb(&sample.hash).unwrap();
    sample.append(&xorb, 6..8).unwrap();
    sample.append(&xorb, 2..3).unwrap();
    assert_eq!(xorb.held_end(sample.start(6)), Some(sample.start(8)));
    assert_eq!(xorb.held_end(sample.start(3)), None);
    let held = vec![sample.start(2)..sample.start(3), sample.start(6)..sample.start(8)];
    assert_eq!(read_all(&xorb, &sample), held);
    assert!(!xorb.prove_if_whole().unwrap());
    drop(xorb);
    let xorb = cache.xorb(&sample.hash).unwrap();
    assert_eq!(read_all(&xorb, &sample), held);
    // Overlaps what is held on both sides.
    sample.append(&xorb, 2..7).unwrap();
    sample.append(&xorb, 0..10).unwrap();
    assert_eq!(read_all(&xorb, &sample), vec![0..sample.bytes()]);
    assert!(xorb.prove_if_whole().unwrap());
    assert_honest(&xorb);
}

#[test]
fn a_piece_is_proven_if_all_of_it_is() {
    let folder = Folder::new();
    let sample = Sample::new(4, 6, 500);
    let xorb = folder.open().xorb(&sample.hash).unwrap();
    sample.append_all(&xorb);
    xorb.prove(1..3).unwrap();
    let proven = |start: u32, end: u32| {
        let piece = xorb.read(sample.start(start), sample.start(end), 1 << 20).unwrap();
        piece.unwrap().proven
    };
    assert!(proven(1, 3) && proven(2, 3));
    assert!(!proven(0, 1) && !proven(0, 3) && !proven(1, 4));
}

#[test]
fn what_differs_from_a_proven_chunk_is_refused_for_good() {
    let folder = Folder::new();
    let sample = Sample::new(5, 6, 500);
    let other = Sample::new(55, 6, 500);
    let xorb = folder.open().xorb(&sample.hash).unwrap();
    sample.append(&xorb, 0..3).unwrap();
    xorb.prove(0..2).unwrap();
    let error = append(&xorb, 0, &other.chunks[0..1]).unwrap_err();
    assert!(matches!(&error, Error::Integrity { .. }), "{error}");
    assert_eq!(error.code(), "cache_integrity");
    let mut liar = sample.chunks[2].clone();
    liar.hash = chunk_hash(b"other");
    let error = append(&xorb, 2, &[liar.clone()]).unwrap_err();
    assert!(matches!(&error, Error::Conflict { .. }), "{error}");
    // One chunk that differs spoils the whole call.
    assert!(append(&xorb, 2, &[liar.clone(), sample.chunks[3].clone()]).is_err());
    assert!(xorb.chunk(3).is_none());
    xorb.forget(0..6).unwrap();
    assert!(xorb.chunk(2).is_none() && xorb.chunk(1).is_some());
    append(&xorb, 2, &[liar]).unwrap();
    drop(xorb);
    let xorb = folder.open().xorb(&sample.hash).unwrap();
    assert_eq!(xorb.chunk(2).unwrap().hash, chunk_hash(b"other"));
    assert_eq!(xorb.held_end(0), Some(sample.start(3)));
    assert_eq!(
        read_range(&xorb, &sample, 0..sample.start(2), 1 << 20),
        vec![0..sample.start(2)]
    );
}

#[test]
fn chunks_must_fit_between_their_neighbours() {
    let folder = Folder::new();
    let sample = Sample::new(6, 8, 500);
    let xorb = folder.open().xorb(&sample.hash).unwrap();
    sample.append(&xorb, 2..4).unwrap();
    let moved = |index: usize, by: i64| {
        let mut chunk = sample.chunks[index].clone();
        chunk.start = chunk.start.checked_add_signed(by).unwrap();
        append(&xorb, index as u32, &[chunk]).unwrap_err().code()
    };
    assert_eq!(moved(4, 1), "cache_conflict");
    assert_eq!(moved(4, -1), "cache_conflict");
    assert_eq!(moved(1, -1), "cache_conflict");
    assert_eq!(
        moved(6, -i64::try_from(sample.start(6) - sample.start(4)).unwrap()),
        "cache_conflict"
    );
    assert_eq!(moved(0, 1), "cache_integrity");
    assert_eq!(moved(3, 1), "cache_conflict");
    xorb.prove(2..4).unwrap();
    assert_eq!(moved(4, 1), "cache_integrity");
    // Too early for a chunk with so many before it.
    let mut early = sample.chunks[7].clone();
    early.start = 10;
    assert_eq!(append(&xorb, 8000, &[early]).unwrap_err().code(), "cache_integrity");
    sample.append_all(&xorb);
    assert!(xorb.prove_if_whole().unwrap());
    let mut extra = sample.chunks[7].clone();
    extra.start = sample.bytes();
    assert_eq!(append(&xorb, 8, &[extra]).unwrap_err().code(), "cache_integrity");
}

#[test]
fn what_no_format_allows_is_refused() {
    let folder = Folder::new();
    let sample = Sample::new(7, 1, 50);
    let xorb = folder.open().xorb(&sample.hash).unwrap();
    let with = |change: &dyn Fn(&mut samples::Chunk)| {
        let mut chunk = sample.chunks[0].clone();
        change(&mut chunk);
        append(&xorb, 0, &[chunk]).unwrap_err().code()
    };
    assert_eq!(with(&|chunk| chunk.raw_bytes = 0), "chunk_empty");
    assert_eq!(with(&|chunk| chunk.raw_bytes = 131_073), "chunk_limit");
    assert_eq!(with(&|chunk| chunk.stored.truncate(8)), "chunk_empty");
    assert_eq!(with(&|chunk| chunk.stored.resize(262_153, 0)), "chunk_limit");
    assert_eq!(with(&|chunk| chunk.start = 1 << 32), "chunk_limit");
    let error = append(&xorb, 8192, &sample.chunks).unwrap_err();
    assert_eq!(error.code(), "cache_integrity");
    let mut far = sample.chunks[0].clone();
    far.start = 100_000;
    assert_eq!(append(&xorb, u32::MAX, &[far]).unwrap_err().code(), "cache_integrity");
}

#[test]
fn dropped_bytes_can_be_stored_again_and_what_is_known_stays() {
    let folder = Folder::new();
    let sample = Sample::new(8, 6, 500);
    let cache = folder.open();
    let xorb = cache.xorb(&sample.hash).unwrap();
    sample.append_all(&xorb);
    xorb.prove(0..1).unwrap();
    xorb.drop_data(sample.start(2) + 1..sample.start(4) - 1).unwrap();
    let left = vec![0..sample.start(2), sample.start(4)..sample.bytes()];
    assert_eq!(read_all(&xorb, &sample), left);
    drop(xorb);
    let xorb = cache.xorb(&sample.hash).unwrap();
    assert_eq!(read_all(&xorb, &sample), left);
    assert!(xorb.chunk(2).is_some_and(|chunk| !chunk.held));
    sample.append_all(&xorb);
    assert_eq!(read_all(&xorb, &sample), vec![0..sample.bytes()]);
    xorb.drop_data(0..u64::MAX).unwrap();
    assert!(!sample.file(folder.root(), "data").exists());
    assert!(!sample.file(folder.root(), "held").exists());
    assert!(xorb.chunk(0).unwrap().proven);
    xorb.drop_data(0..u64::MAX).unwrap();
}

#[test]
fn a_wrong_list_of_chunks_is_never_whole() {
    let folder = Folder::new();
    let sample = Sample::new(9, 6, 500);
    let xorb = folder.open().xorb(&sample.hash).unwrap();
    sample.append(&xorb, 0..5).unwrap();
    assert!(!xorb.prove_if_whole().unwrap());
    let mut liar = sample.chunks[5].clone();
    liar.hash = chunk_hash(b"other");
    append(&xorb, 5, &[liar]).unwrap();
    assert!(!xorb.prove_if_whole().unwrap());
    xorb.forget(5..6).unwrap();
    sample.append(&xorb, 5..6).unwrap();
    assert!(xorb.prove_if_whole().unwrap());
    xorb.forget(0..6).unwrap();
    assert_eq!(read_all(&xorb, &sample), vec![0..sample.bytes()]);
}

#[test]
fn forgotten_bytes_are_not_held_and_take_no_room() {
    let folder = Folder::new();
    let sample = Sample::new(11, 4, 500);
    let cache = folder.open();
    let xorb = cache.xorb(&sample.hash).unwrap();
    sample.append_all(&xorb);
    xorb.prove(1..2).unwrap();
    xorb.forget(0..4).unwrap();
    let proven = vec![sample.start(1)..sample.start(2)];
    assert_eq!(read_all(&xorb, &sample), proven);
    assert_eq!(read_all(&folder.open().xorb(&sample.hash).unwrap(), &sample), proven);
    drop(xorb);
    let other = Sample::new(12, 4, 500);
    let xorb = cache.xorb(&other.hash).unwrap();
    other.append_all(&xorb);
    xorb.forget(0..4).unwrap();
    assert!(!other.file(folder.root(), "data").exists() && !other.file(folder.root(), "held").exists());
    assert!(folder.open().xorb(&other.hash).unwrap().chunks(0..8192).is_empty());
    assert_eq!(cache.usage().xorbs, 1);
}

#[test]
fn all_users_of_a_xorb_share_one_object() {
    let folder = Folder::new();
    let sample = Sample::new(10, 2, 500);
    let cache = folder.open();
    let first = cache.xorb(&sample.hash).unwrap();
    let second = cache.clone().xorb(&sample.hash).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    sample.append_all(&first);
    assert_eq!(second.held_end(0), Some(sample.bytes()));
}

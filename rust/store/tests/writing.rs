//! A xorb is there whole or not at all, and what a dead writer left is cleaned up.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod samples;

use std::fs::{self, File};

use samples::{Sample, drain, file_bytes, mixture, noise, whole, xorb_of};
use xetway_core::codec::Scheme;
use xetway_store::{Error, PieceReader, Scratch, XorbStore};

#[test]
fn pieces_of_any_size_give_the_same_file() {
    let (data, meta) = xorb_of(&mixture(200_000), Scheme::Lz4);
    let expected = file_bytes(&data, &meta);
    for piece_bytes in [1, 37, 255, 65_536, 1 << 20] {
        for (form, bytes) in [("upload", &data), ("with footer", &expected)] {
            let sample = Sample::new();
            let mut writer = sample.store.create(meta.hash()).unwrap();
            bytes.chunks(piece_bytes).for_each(|piece| writer.write(piece).unwrap());
            let sizes = writer.finish().unwrap();
            assert_eq!(sizes.chunks, meta.len() as u64);
            assert_eq!((sizes.raw_bytes, sizes.stored_bytes), (200_000, data.len() as u64));
            assert!(!sample.store.exists(&meta.hash()).unwrap());
            assert!(writer.publish(false).unwrap());
            assert!(
                fs::read(sample.file_of(&meta.hash())).unwrap() == expected,
                "{form} {piece_bytes}"
            );
            drop(writer);
            assert!(sample.temporary().is_empty());
        }
    }
}

#[test]
fn nothing_is_left_of_a_xorb_that_is_refused_aborted_or_dropped() {
    let sample = Sample::new();
    let (data, meta) = xorb_of(&mixture(100_000), Scheme::Lz4);
    let (_, other) = xorb_of(&noise(1, 1000), Scheme::None);
    let mut wrong_name = sample.store.create(other.hash()).unwrap();
    wrong_name.write(&data).unwrap();
    assert!(matches!(wrong_name.finish(), Err(Error::Format(_))));
    let mut garbage = sample.store.create(meta.hash()).unwrap();
    assert!(matches!(garbage.write(&[9; 100]), Err(Error::Format(_))));
    assert!(matches!(garbage.write(&data), Err(Error::State { .. })));
    let mut cut = sample.store.create(meta.hash()).unwrap();
    cut.write(&data[..data.len() - 1]).unwrap();
    assert!(matches!(cut.publish(false), Err(Error::State { .. })));
    assert!(matches!(cut.finish(), Err(Error::Format(_))));
    assert!(matches!(cut.finish(), Err(Error::State { .. })));
    let mut aborted = sample.store.create(meta.hash()).unwrap();
    aborted.write(&data).unwrap();
    aborted.finish().unwrap();
    aborted.abort();
    assert!(matches!(aborted.publish(false), Err(Error::State { .. })));
    drop(sample.store.create(meta.hash()).unwrap());
    drop((wrong_name, garbage, cut, aborted));
    assert_eq!(sample.temporary(), Vec::<String>::new());
    assert!(sample.store.list().unwrap().is_empty());
}

#[test]
fn publishing_twice_keeps_the_first_file() {
    let sample = Sample::new();
    let (data, meta) = xorb_of(&mixture(100_000), Scheme::Lz4);
    assert!(sample.put(&meta.hash(), &data));
    assert!(!sample.put(&meta.hash(), &data));
    assert_eq!(sample.store.list().unwrap(), [meta.hash()]);
}

#[test]
fn another_encoding_replaces_the_file_and_running_readers_keep_theirs() {
    let sample = Sample::new();
    let content = mixture(400_000);
    let (raw, meta) = xorb_of(&content, Scheme::None);
    let (packed, packed_meta) = xorb_of(&content, Scheme::Lz4);
    assert_eq!(meta.hash(), packed_meta.hash());
    assert!(sample.put(&meta.hash(), &raw));
    let other_process = XorbStore::open(sample.folder.path()).unwrap();
    let mut before = other_process.open_file(vec![whole(&meta)], 0, 400_000).unwrap();
    let first = before.next(1000, &mut Scratch::default()).unwrap().to_vec();
    assert!(sample.put(&meta.hash(), &packed));
    // The footer that the other process cached belongs to a file that is gone.
    assert_eq!(*other_process.meta(&meta.hash()).unwrap(), packed_meta);
    let mut after = other_process.open_file(vec![whole(&meta)], 0, 400_000).unwrap();
    assert!(drain(&mut after, 50_000).unwrap() == content);
    assert!([first, drain(&mut before, 50_000).unwrap()].concat() == content);
}

#[test]
fn a_damaged_file_is_replaced() {
    let sample = Sample::new();
    let (data, meta) = xorb_of(&mixture(100_000), Scheme::Lz4);
    assert!(sample.put(&meta.hash(), &data));
    let path = sample.file_of(&meta.hash());
    let sound = fs::read(&path).unwrap();
    let mut damaged = sound.clone();
    let footer = data.len();
    damaged[footer + 60] ^= 1;
    fs::write(&path, &damaged).unwrap();
    sample.store.invalidate(&meta.hash());
    assert!(sample.put(&meta.hash(), &data));
    assert!(fs::read(&path).unwrap() == sound);
}

#[test]
fn cleaning_spares_living_writers_of_this_and_other_processes() {
    let sample = Sample::new();
    let (data, meta) = xorb_of(&mixture(100_000), Scheme::Lz4);
    let other_process = XorbStore::open(sample.folder.path()).unwrap();
    let mut receiving = sample.store.create(meta.hash()).unwrap();
    receiving.write(&data[..50]).unwrap();
    let mut finished = other_process.ingest();
    finished.write(b"Hello World!").unwrap();
    let mut finished = finished.finish().unwrap();
    let tmp = sample.folder.path().join("tmp");
    for (session, parts) in [("1-dead", 2), ("2-gone", 0), ("3-alive", 1)] {
        File::create(tmp.join(format!("{session}.lock"))).unwrap();
        for number in 0..parts {
            fs::write(tmp.join(format!("{session}-{number}.part")), b"part").unwrap();
        }
    }
    fs::write(tmp.join("4-lockless-0.part"), b"part").unwrap();
    fs::write(tmp.join("notes"), b"not ours").unwrap();
    let alive = File::open(tmp.join("3-alive.lock")).unwrap();
    alive.lock().unwrap();
    assert_eq!(other_process.clean_temporary().unwrap(), 3);
    assert_eq!(sample.store.clean_temporary().unwrap(), 0);
    let left = sample.temporary();
    assert_eq!(left.len(), 7, "{left:?}");
    drop(alive);
    assert_eq!(sample.store.clean_temporary().unwrap(), 1);
    receiving.write(&data[50..]).unwrap();
    receiving.finish().unwrap();
    assert!(receiving.publish(false).unwrap());
    assert!(finished.xorbs[0].1.publish(false).unwrap());
    drop((receiving, finished));
    assert_eq!(sample.temporary(), ["notes"]);
}

#[test]
fn many_finished_xorbs_hold_no_file_descriptors() {
    let sample = Sample::new();
    let mut writers = Vec::new();
    for seed in 0..300 {
        let (data, meta) = xorb_of(&noise(seed, 100), Scheme::None);
        let mut writer = sample.store.create(meta.hash()).unwrap();
        writer.write(&data).unwrap();
        writer.finish().unwrap();
        writers.push(writer);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        assert!(open.count() < 100);
    }
    assert_eq!(sample.temporary().len(), 301);
    writers.truncate(0);
    assert!(sample.temporary().is_empty());
}

#[test]
fn an_unpublished_ingest_leaves_nothing() {
    let sample = Sample::new();
    let mut ingest = sample.store.ingest();
    ingest.write(&noise(1, 300_000)).unwrap();
    ingest.abort();
    assert!(matches!(ingest.write(b"more"), Err(Error::State { .. })));
    let mut finished = sample.store.ingest();
    finished.write(&noise(1, 300_000)).unwrap();
    drop(finished.finish().unwrap());
    assert!(matches!(finished.finish(), Err(Error::State { .. })));
    assert!(sample.temporary().is_empty());
    assert!(sample.store.list().unwrap().is_empty());
}

//! Whole files in and out on all cores: the same as in pieces on one, and all or nothing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod samples;

use std::fs;
use std::path::{Path, PathBuf};

use samples::{Sample, mixture, noise};
use xetway_core::Hash;
use xetway_core::shard::Term;
use xetway_store::{Error, Ingested, XorbStore};

/// Several blocks, chunks that repeat near and far, and every scheme.
fn content() -> Vec<u8> {
    let (mixed, noise) = (mixture(3_000_000), noise(5, 2_500_000));
    [&mixed, &noise, &mixed[500_000..1_500_000], &noise[..100_000], b"end"].concat()
}

fn published(store: &XorbStore, path: &Path) -> Ingested {
    let mut file = store.ingest_file(path).unwrap();
    for (_, writer, _) in &mut file.xorbs {
        writer.publish(false).unwrap();
    }
    file
}

fn written(sample: &Sample, content: &[u8]) -> PathBuf {
    let path = sample.folder.path().join("content");
    fs::write(&path, content).unwrap();
    path
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn described(file: &Ingested) -> (Hash, u64, [u8; 32], Vec<Term>) {
    (file.file, file.size, file.sha256, file.terms.clone())
}

#[test]
fn blocks_pieces_and_threads_make_no_difference() {
    let content = content();
    let expected = Sample::new();
    // Too little at a time for other threads.
    let file = described(&expected.add(&content, 300_001));
    let stored = |sample: &Sample| {
        let xorbs = sample.store.list().unwrap();
        xorbs
            .iter()
            .map(|xorb| fs::read(sample.file_of(xorb)).unwrap())
            .collect::<Vec<_>>()
    };
    for piece_bytes in [1 << 19, (2 << 20) + 1, 1 << 30] {
        let sample = Sample::new();
        assert!(described(&sample.add(&content, piece_bytes)) == file, "{piece_bytes}");
        assert!(stored(&sample) == stored(&expected), "{piece_bytes}");
    }
    let sample = Sample::new();
    let path = written(&sample, &content);
    assert!(described(&published(&sample.store, &path)) == file);
    assert!(stored(&sample) == stored(&expected));
    assert!(sample.temporary().is_empty());
}

#[test]
fn files_of_any_size_come_back() {
    let content = content();
    for bytes in [
        0,
        1,
        8192,
        524_288,
        2 << 20,
        (2 << 20) + 1,
        (4 << 20) - 1,
        content.len(),
    ] {
        let sample = Sample::new();
        let content = &content[..bytes];
        let path = written(&sample, content);
        let file = published(&sample.store, &path);
        let copy = sample.folder.path().join("copy");
        fs::write(&copy, b"former").unwrap();
        assert_eq!(
            sample.store.rebuild(&file.file, &file.terms, &copy).unwrap(),
            bytes as u64
        );
        assert!(fs::read(&copy).unwrap() == content, "{bytes}");
        assert_eq!(names(sample.folder.path()), ["content", "copy", "tmp", "xorbs"]);
    }
}

#[test]
fn more_ingests_than_threads_go_on_side_by_side() {
    let sample = Sample::new();
    let content = content();
    let expected = described(&sample.add(&content, 1 << 20));
    std::thread::scope(|scope| {
        for piece_bytes in 1..=12 {
            let (store, content, expected) = (&sample.store, &content, &expected);
            scope.spawn(move || {
                let mut ingest = store.ingest();
                content
                    .chunks(piece_bytes * 400_000)
                    .for_each(|piece| ingest.write(piece).unwrap());
                assert!(described(&ingest.finish().unwrap()) == *expected);
            });
        }
    });
    assert!(sample.temporary().is_empty());
}

#[test]
fn an_ingest_that_cannot_write_is_closed_and_leaves_nothing() {
    let sample = Sample::new();
    let content = content();
    let path = written(&sample, &content);
    let tmp = sample.folder.path().join("tmp");
    fs::remove_dir(&tmp).unwrap();
    let mut ingest = sample.store.ingest();
    assert!(matches!(ingest.write(&content), Err(Error::Io { .. })));
    assert!(matches!(ingest.write(&content), Err(Error::State { .. })));
    assert!(matches!(ingest.finish(), Err(Error::State { .. })));
    assert!(matches!(sample.store.ingest_file(&path), Err(Error::Io { .. })));
    assert!(matches!(sample.store.ingest_file(&tmp), Err(Error::Io { .. })));
    assert_eq!(names(sample.folder.path()), ["content", "xorbs"]);
}

#[test]
fn a_damaged_chunk_changes_nothing_and_the_first_is_named() {
    let sample = Sample::new();
    let content = content();
    let path = written(&sample, &content);
    let file = published(&sample.store, &path);
    let xorb = file.xorbs[0].0;
    let stored = sample.file_of(&xorb);
    let sound = fs::read(&stored).unwrap();
    // What was proven before is proven again.
    sample.store.verify(&xorb).unwrap();
    let meta = sample.store.meta(&xorb).unwrap();
    let last = meta.len() - 1;
    for damaged in [vec![0], vec![last], vec![last / 2, last], (0..=last).collect()] {
        let mut bytes = sound.clone();
        for chunk in &damaged {
            bytes[meta.chunks()[*chunk].end as usize - 1] ^= 1;
        }
        fs::write(&stored, &bytes).unwrap();
        let copy = sample.folder.path().join("copy");
        fs::write(&copy, b"former").unwrap();
        match sample.store.rebuild(&file.file, &file.terms, &copy) {
            Err(Error::Corrupt { xorb: named, chunk, .. }) => {
                assert_eq!((named, chunk), (xorb, Some(damaged[0] as u32)));
            }
            other => panic!("{damaged:?}: {other:?}"),
        }
        assert_eq!(fs::read(&copy).unwrap(), b"former");
        assert_eq!(names(sample.folder.path()), ["content", "copy", "tmp", "xorbs"]);
    }
}

#[test]
fn a_file_that_is_not_what_is_claimed_or_has_no_place_is_not_written() {
    let sample = Sample::new();
    let path = written(&sample, &content());
    let file = published(&sample.store, &path);
    let copy = sample.folder.path().join("copy");
    let rebuild = |hash: &Hash, terms: &[Term], path: &Path| sample.store.rebuild(hash, terms, path).unwrap_err();
    let code = |error| match error {
        Error::Format(cause) => cause.code(),
        Error::Io { .. } => "io",
        other => panic!("{other}"),
    };
    assert_eq!(code(rebuild(&Hash::ZERO, &file.terms, &copy)), "file_hash_mismatch");
    assert_eq!(code(rebuild(&file.file, &file.terms[1..], &copy)), "file_hash_mismatch");
    let unknown = Term {
        xorb: Hash::ZERO,
        ..file.terms[0]
    };
    assert_eq!(code(rebuild(&file.file, &[unknown], &copy)), "unknown_xorb");
    assert_eq!(code(rebuild(&file.file, &file.terms, &copy.join("no folder"))), "io");
    fs::create_dir(&copy).unwrap();
    fs::write(copy.join("inside"), b"").unwrap();
    assert_eq!(code(rebuild(&file.file, &file.terms, &copy)), "io");
    assert_eq!(names(sample.folder.path()), ["content", "copy", "tmp", "xorbs"]);
    assert_eq!(names(&copy), ["inside"]);
}

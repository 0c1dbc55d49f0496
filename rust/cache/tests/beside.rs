//! Another process beside the server: it lists, verifies and deletes. A second cache on the same
//! folder stands for it: the two share nothing but the files.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
#![allow(clippy::single_range_in_vec_init, reason = "lists of runs that happen to have one")]

mod samples;

use std::fs;
use std::path::Path;

use samples::{Folder, Sample, assert_honest, copy_folder, read_all};
use sha2::{Digest, Sha256};
use xetway_cache::{Cache, Error, FilePlan, Kind, PlainKey, Verdict};
use xetway_core::Hash;
use xetway_core::plan::PlannedTerm;

fn flip(path: &Path, position: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[position as usize] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

fn verdicts(cache: &Cache) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let report = cache.verify(|verdict| verdicts.push(verdict.clone())).unwrap();
    assert_eq!(report.xorbs + report.plain_files + report.plans, verdicts.len() as u64);
    assert_eq!(report.bytes, verdicts.iter().map(|verdict| verdict.bytes).sum::<u64>());
    let damaged = verdicts.iter().filter(|verdict| verdict.problem.is_some()).count();
    assert_eq!(report.damaged, damaged as u64);
    verdicts
}

fn damaged(cache: &Cache) -> Vec<(Kind, String)> {
    let damaged = verdicts(cache).into_iter().filter(|verdict| verdict.problem.is_some());
    damaged.map(|verdict| (verdict.kind, verdict.name)).collect()
}

#[test]
fn one_server_at_a_time() {
    let folder = Folder::new();
    let cache = folder.open();
    let lock = cache.lock().unwrap();
    assert!(matches!(folder.open().lock(), Err(Error::InUse)));
    assert!(matches!(cache.lock(), Err(Error::InUse)));
    drop(lock);
    let other = folder.open();
    let _lock = other.lock().unwrap();
    assert!(matches!(cache.lock(), Err(Error::InUse)));
}

#[test]
fn entries_say_what_is_there() {
    let folder = Folder::new();
    let cache = folder.open();
    let sample = Sample::new(1, 6, 1000);
    let xorb = cache.xorb(&sample.hash).unwrap();
    sample.append(&xorb, 0..4).unwrap();
    xorb.prove(1..3).unwrap();
    let key = PlainKey::Sha256(Sha256::digest(b"hello").into());
    let file = cache.plain(&key, 5).unwrap();
    file.append(0, b"hello").unwrap();
    file.finish().unwrap();
    let entries = folder.open().entries().unwrap();
    let found: Vec<_> = entries
        .iter()
        .map(|entry| (entry.kind, entry.name.clone(), entry.chunks, entry.proven_chunks))
        .collect();
    let xorb_entry = (Kind::Xorb, sample.hash.to_hex(), 4, 2);
    let plain_entry = (Kind::Plain, key.to_string(), 1, 1);
    assert_eq!(found.len(), 2);
    assert!(found.contains(&xorb_entry) && found.contains(&plain_entry));
    assert!(
        entries
            .iter()
            .all(|entry| entry.bytes > 0 && entry.last_used_s > 1_700_000_000)
    );
    assert_eq!(
        entries.iter().map(|entry| entry.bytes).sum::<u64>(),
        cache.counted_usage().unwrap().bytes
    );
}

#[test]
fn a_file_is_held_as_far_as_its_chunks_are() {
    let folder = Folder::new();
    let cache = folder.open();
    let samples = [Sample::new(1, 5, 100), Sample::new(2, 4, 100), Sample::new(3, 4, 100)];
    let raw = |sample: usize, chunks: std::ops::Range<usize>| {
        let chunks = samples[sample].chunks[chunks].iter();
        chunks.map(|chunk| chunk.raw_bytes).sum::<u32>()
    };
    for (sample, held) in samples.iter().zip([0..3, 1..4]) {
        sample.append(&cache.xorb(&sample.hash).unwrap(), held).unwrap();
    }
    let file = Hash::from_bytes([9; 32]);
    assert_eq!(cache.holding(&file).unwrap(), None);
    let term = |sample: usize, start: u32, end: u32| PlannedTerm {
        xorb: samples[sample].hash,
        unpacked_bytes: raw(sample, start as usize..end as usize),
        start,
        end,
    };
    let terms = vec![
        term(0, 1, 5),
        term(1, 0, 2),
        term(0, 0, 1),
        term(2, 0, 4),
        term(1, 1, 4),
    ];
    let size = terms.iter().map(|term| u64::from(term.unpacked_bytes)).sum();
    cache
        .put_plan(
            &file,
            &FilePlan {
                terms,
                size,
                proven: false,
            },
        )
        .unwrap();
    let holding = folder.open().holding(&file).unwrap().unwrap();
    let held = raw(0, 0..3) + raw(1, 1..2) + raw(1, 1..4);
    let mut xorbs: Vec<Hash> = samples.iter().map(|sample| sample.hash).collect();
    xorbs.sort();
    assert_eq!((holding.held_bytes, holding.xorbs), (u64::from(held), xorbs));
}

#[test]
fn entries_are_removed_by_name() {
    let folder = Folder::new();
    let cache = folder.open();
    let samples = [Sample::new(1, 3, 100), Sample::new(2, 3, 100)];
    for sample in &samples {
        sample.append_all(&cache.xorb(&sample.hash).unwrap());
    }
    let names = [samples[0].hash.to_hex(), "nothing".to_owned()].into();
    let removed = folder.open().remove(&names).unwrap();
    assert!(removed.entries == 1 && removed.bytes > 0);
    let left: Vec<_> = folder
        .open()
        .entries()
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    assert_eq!(left, [samples[1].hash.to_hex()]);
}

#[test]
fn a_server_survives_the_deletion_of_what_it_serves() {
    let folder = Folder::new();
    let server = folder.open();
    let _lock = server.lock().unwrap();
    let sample = Sample::new(2, 8, 1000);
    let xorb = server.xorb(&sample.hash).unwrap();
    sample.append(&xorb, 0..5).unwrap();
    xorb.prove(0..5).unwrap();
    let other = folder.open();
    let pruned = other.prune(0).unwrap();
    assert!(pruned.entries >= 1 && pruned.bytes > 0);
    assert_eq!(other.counted_usage().unwrap().bytes, 0);
    // A reader notices.
    assert_eq!(xorb.held_end(0), Some(sample.start(5)));
    assert!(xorb.read(0, 100, 100).unwrap().is_none());
    assert_eq!(xorb.held_end(0), None);
    assert!(xorb.chunk(0).unwrap().proven);
    // So does a writer, who writes what is known anew.
    sample.append(&xorb, 0..5).unwrap();
    other.prune(0).unwrap();
    sample.append(&xorb, 5..8).unwrap();
    assert_eq!(read_all(&xorb, &sample), vec![sample.start(5)..sample.bytes()]);
    assert!(xorb.prove_if_whole().unwrap());
    drop(xorb);
    let xorb = server.xorb(&sample.hash).unwrap();
    assert_eq!(read_all(&xorb, &sample), vec![sample.start(5)..sample.bytes()]);
    assert_eq!(xorb.chunk_count(), Some(8));
    assert!(xorb.chunk(0).unwrap().proven);
}

#[test]
fn any_subset_of_files_deleted_under_a_server_is_survived() {
    let folder = Folder::new();
    let server = folder.open();
    let sample = Sample::new(3, 8, 500);
    let xorb = server.xorb(&sample.hash).unwrap();
    for subset in 1..8_u8 {
        for read_first in [false, true] {
            sample.append_all(&xorb);
            assert_eq!(read_all(&xorb, &sample), vec![0..sample.bytes()]);
            for (bit, suffix) in ["chunks", "held", "data"].into_iter().enumerate() {
                if subset & (1 << bit) != 0 {
                    let _ = fs::remove_file(sample.file(folder.root(), suffix));
                }
            }
            if read_first {
                read_all(&xorb, &sample);
            }
            sample.append(&xorb, 2..4).unwrap();
            read_all(&xorb, &sample);
            xorb.drop_data(sample.start(3)..sample.start(4)).unwrap();
            let again = folder.open().xorb(&sample.hash).unwrap();
            read_all(&again, &sample);
            assert_honest(&again);
        }
    }
}

#[test]
fn verify_of_what_is_whole_finds_nothing() {
    let folder = Folder::new();
    let cache = folder.open();
    let samples: Vec<Sample> = (4..7).map(|seed| Sample::new(seed, 10, 3000)).collect();
    for sample in &samples {
        sample.append_all(&cache.xorb(&sample.hash).unwrap());
    }
    let content = vec![3; 500_000];
    let key = PlainKey::Sha256(Sha256::digest(&content).into());
    let file = cache.plain(&key, content.len() as u64).unwrap();
    file.append(0, &content[..400_000]).unwrap();
    cache
        .put_plan(&Hash::from_bytes([9; 32]), &FilePlan::default())
        .unwrap();
    let verdicts = verdicts(&folder.open());
    assert_eq!(verdicts.len(), 5);
    assert!(
        verdicts
            .iter()
            .all(|verdict| verdict.problem.is_none() && verdict.bytes > 0)
    );
    let data: u64 = samples.iter().map(Sample::bytes).sum();
    let checked = verdicts.iter().filter(|verdict| verdict.kind == Kind::Xorb);
    assert_eq!(checked.map(|verdict| verdict.bytes).sum::<u64>(), data);
    assert_eq!(file.len(), 400_000);
}

#[test]
fn verify_without_a_server_removes_the_damaged_chunk_alone() {
    let folder = Folder::new();
    let sample = Sample::new(8, 10, 3000);
    sample.append_all(&folder.open().xorb(&sample.hash).unwrap());
    flip(&sample.file(folder.root(), "data"), sample.start(4) + 9);
    assert_eq!(damaged(&folder.open()), [(Kind::Xorb, sample.hash.to_hex())]);
    assert_eq!(damaged(&folder.open()), []);
    let xorb = folder.open().xorb(&sample.hash).unwrap();
    let left = vec![0..sample.start(4), sample.start(5)..sample.bytes()];
    assert_eq!(read_all(&xorb, &sample), left);
}

#[test]
fn verify_in_the_server_removes_the_damaged_chunk_alone() {
    let folder = Folder::new();
    let sample = Sample::new(9, 10, 3000);
    let server = folder.open();
    let _lock = server.lock().unwrap();
    let xorb = server.xorb(&sample.hash).unwrap();
    sample.append_all(&xorb);
    flip(&sample.file(folder.root(), "data"), sample.start(0) + 1);
    assert_eq!(damaged(&server), [(Kind::Xorb, sample.hash.to_hex())]);
    assert_eq!(xorb.held_end(0), None);
    assert_eq!(xorb.held_end(sample.start(1)), Some(sample.bytes()));
    assert_eq!(damaged(&server), []);
}

#[test]
fn verify_beside_a_server_removes_the_damaged_entry() {
    let folder = Folder::new();
    let samples: Vec<Sample> = (10..12).map(|seed| Sample::new(seed, 10, 3000)).collect();
    let server = folder.open();
    let _lock = server.lock().unwrap();
    let xorbs: Vec<_> = samples
        .iter()
        .map(|sample| server.xorb(&sample.hash).unwrap())
        .collect();
    for (xorb, sample) in xorbs.iter().zip(&samples) {
        sample.append_all(xorb);
    }
    flip(&samples[0].file(folder.root(), "data"), samples[0].bytes() - 1);
    assert_eq!(damaged(&folder.open()), [(Kind::Xorb, samples[0].hash.to_hex())]);
    assert_eq!(damaged(&folder.open()), []);
    assert_eq!(read_all(&xorbs[0], &samples[0]), []);
    assert_eq!(read_all(&xorbs[1], &samples[1]), vec![0..samples[1].bytes()]);
    samples[0].append_all(&xorbs[0]);
    assert_eq!(read_all(&xorbs[0], &samples[0]), vec![0..samples[0].bytes()]);
    assert_eq!(damaged(&folder.open()), []);
}

#[test]
fn verify_finds_what_the_checksums_do_not_know() {
    let folder = Folder::new();
    let sample = Sample::new(12, 3, 500);
    let cache = folder.open();
    let xorb = cache.xorb(&sample.hash).unwrap();
    // Stored under a hash that is not its own, as a fault of the writer would.
    let mut liar = sample.chunks[0].clone();
    liar.hash = sample.chunks[1].hash;
    samples::append(&xorb, 0, &[liar]).unwrap();
    drop((xorb, cache));
    let found = verdicts(&folder.open());
    let problem = found[0].problem.as_ref().unwrap();
    assert!(problem.contains("hashes to"), "{problem}");
    assert_eq!(damaged(&folder.open()), []);
    assert_eq!(folder.open().xorb(&sample.hash).unwrap().held_end(0), None);
}

#[test]
fn verify_checks_plain_files_and_plans() {
    let folder = Folder::new();
    let content = vec![3; 500_000];
    let key = PlainKey::Sha256(Sha256::digest(&content).into());
    let name = key.to_string();
    let file = Hash::from_bytes([9; 32]);
    let cache = folder.open();
    let plain = cache.plain(&key, content.len() as u64).unwrap();
    plain.append(0, &content).unwrap();
    plain.finish().unwrap();
    cache.put_plan(&file, &FilePlan::default()).unwrap();
    drop((plain, cache));
    let data = folder
        .root()
        .join("plain")
        .join(&name[7..9])
        .join(format!("{name}.data"));
    flip(&data, 300_000);
    let hex = file.to_hex();
    flip(
        &folder.root().join("plans").join(&hex[..2]).join(format!("{hex}.plan")),
        50,
    );
    assert_eq!(damaged(&folder.open()), [(Kind::Plain, name), (Kind::Plan, hex)]);
    assert_eq!(damaged(&folder.open()), []);
    let plain = folder.open().plain(&key, content.len() as u64).unwrap();
    assert_eq!((plain.len(), plain.is_proven()), (262_144, false));
}

#[test]
fn leftovers_are_cleaned_by_the_server_alone() {
    let folder = Folder::new();
    let sample = Sample::new(13, 3, 500);
    let server = folder.open();
    sample.append_all(&server.xorb(&sample.hash).unwrap());
    let copy = Folder::new();
    copy_folder(folder.root(), copy.root());
    fs::remove_file(sample.file(folder.root(), "held")).unwrap();
    fs::write(folder.root().join("tmp/1-2-3"), "left").unwrap();
    let lock = server.lock().unwrap();
    assert_eq!(folder.open().clean_leftovers().unwrap(), 0);
    assert_eq!(server.clean_leftovers().unwrap(), 2);
    drop(lock);
    assert!(!sample.file(folder.root(), "data").exists());
    assert_eq!(fs::read_dir(folder.root().join("tmp")).unwrap().count(), 0);
    assert_eq!(server.clean_leftovers().unwrap(), 0);
    assert_eq!(copy.open().clean_leftovers().unwrap(), 0);
    assert_eq!(read_all(&copy.open().xorb(&sample.hash).unwrap(), &sample).len(), 1);
}

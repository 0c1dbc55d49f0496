//! Whatever happens to the files, no wrong byte comes out of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
#![allow(clippy::single_range_in_vec_init, reason = "lists of runs that happen to have one")]

mod samples;

use std::fs;

use samples::{Folder, Sample, append, assert_honest, read_all};
use xetway_cache::{Cache, FilePlan};
use xetway_core::Hash;
use xetway_core::hash::chunk_hash;
use xetway_core::plan::PlannedTerm;

/// A cached xorb with some history, and its three files.
fn stored(folder: &Folder) -> (Sample, Vec<(&'static str, Vec<u8>)>) {
    let sample = Sample::new(1, 6, 120);
    let cache = folder.open();
    let xorb = cache.xorb(&sample.hash).unwrap();
    let mut liar = sample.chunks[5].clone();
    liar.stored[8] ^= 1;
    liar.hash = chunk_hash(b"other");
    append(&xorb, 5, &[liar]).unwrap();
    sample.append(&xorb, 0..4).unwrap();
    xorb.prove(0..2).unwrap();
    xorb.forget(3..6).unwrap();
    xorb.drop_data(0..1).unwrap();
    sample.append_all(&xorb);
    assert!(xorb.prove_if_whole().unwrap());
    assert_eq!(read_all(&xorb, &sample), vec![0..sample.bytes()]);
    let files = ["chunks", "held", "data"]
        .map(|suffix| (suffix, fs::read(sample.file(folder.root(), suffix)).unwrap()))
        .to_vec();
    (sample, files)
}

fn restore(folder: &Folder, sample: &Sample, files: &[(&'static str, Vec<u8>)]) {
    for (suffix, bytes) in files {
        fs::write(sample.file(folder.root(), suffix), bytes).unwrap();
    }
}

/// Open what is there, read it, complete it, and read it once more.
fn use_it(folder: &Folder, sample: &Sample) {
    let cache = folder.open();
    let xorb = cache.xorb(&sample.hash).unwrap();
    // Unproven chunks may come back to life as they were, with the bytes that belong to them, before
    // they were forgotten; never others.
    let honest = xorb
        .chunks(0..6)
        .iter()
        .all(|chunk| chunk.hash == sample.chunks[chunk.index as usize].hash);
    if honest {
        read_all(&xorb, sample);
    }
    for chunk in xorb.chunks(0..6).iter().filter(|chunk| chunk.proven) {
        assert_eq!(chunk.hash, sample.chunks[chunk.index as usize].hash);
    }
    xorb.forget(0..6).unwrap();
    sample.append_all(&xorb);
    assert_eq!(read_all(&xorb, sample), vec![0..sample.bytes()]);
    assert!(xorb.prove_if_whole().unwrap());
    drop(xorb);
    let xorb = folder.open().xorb(&sample.hash).unwrap();
    assert_eq!(read_all(&xorb, sample), vec![0..sample.bytes()]);
    assert_eq!(xorb.chunk_count(), Some(6));
    assert_honest(&xorb);
}

#[test]
fn a_sidecar_or_data_file_cut_at_any_byte_is_survived() {
    let folder = Folder::new();
    let (sample, files) = stored(&folder);
    for (suffix, bytes) in &files {
        for length in 0..bytes.len() {
            restore(&folder, &sample, &files);
            fs::write(sample.file(folder.root(), suffix), &bytes[..length]).unwrap();
            use_it(&folder, &sample);
        }
    }
}

#[test]
fn a_flipped_bit_in_any_byte_of_any_file_is_survived() {
    let folder = Folder::new();
    let (sample, files) = stored(&folder);
    for (suffix, bytes) in &files {
        for position in 0..bytes.len() {
            restore(&folder, &sample, &files);
            let mut changed = bytes.clone();
            changed[position] ^= 1 << (position % 8);
            fs::write(sample.file(folder.root(), suffix), &changed).unwrap();
            use_it(&folder, &sample);
        }
    }
}

#[test]
fn a_missing_file_is_survived() {
    let folder = Folder::new();
    let (sample, files) = stored(&folder);
    for missing in 1..8_u8 {
        restore(&folder, &sample, &files);
        for (bit, (suffix, _)) in files.iter().enumerate() {
            if missing & (1 << bit) != 0 {
                fs::remove_file(sample.file(folder.root(), suffix)).unwrap();
            }
        }
        use_it(&folder, &sample);
    }
}

#[test]
fn files_of_different_moments_never_give_wrong_bytes() {
    let folder = Folder::new();
    let sample = Sample::new(2, 4, 200);
    let cache = folder.open();
    let xorb = cache.xorb(&sample.hash).unwrap();
    let read = |suffix| fs::read(sample.file(folder.root(), suffix)).unwrap();
    // First a chunk that lies, then the right one in its place; both of one length.
    let mut liar = sample.chunks[0].clone();
    *liar.stored.last_mut().unwrap() ^= 1;
    liar.hash = chunk_hash(&liar.stored[8..]);
    append(&xorb, 0, &[liar.clone()]).unwrap();
    let before = [read("chunks"), read("held"), read("data")];
    xorb.forget(0..1).unwrap();
    sample.append_all(&xorb);
    assert!(xorb.prove_if_whole().unwrap());
    let after = [read("chunks"), read("held"), read("data")];
    drop(xorb);
    for mix in 0..8_usize {
        for (bit, suffix) in ["chunks", "held", "data"].into_iter().enumerate() {
            let bytes = if mix & (1 << bit) == 0 {
                &before[bit]
            } else {
                &after[bit]
            };
            fs::write(sample.file(folder.root(), suffix), bytes).unwrap();
        }
        let xorb = folder.open().xorb(&sample.hash).unwrap();
        if xorb.chunk(0).is_some_and(|chunk| chunk.hash == sample.chunks[0].hash) {
            read_all(&xorb, &sample);
        }
        assert_honest(&xorb);
    }
}

#[test]
fn damage_under_a_reader_ends_the_piece_before_it_and_can_be_mended() {
    let folder = Folder::new();
    let sample = Sample::new(3, 8, 400);
    let cache = folder.open();
    let xorb = cache.xorb(&sample.hash).unwrap();
    sample.append_all(&xorb);
    assert!(xorb.prove_if_whole().unwrap());
    let path = sample.file(folder.root(), "data");
    for position in [0, sample.start(3) + 2, sample.start(5) - 1, sample.bytes() - 1] {
        let mut bytes = fs::read(&path).unwrap();
        bytes[position as usize] ^= 0x40;
        fs::write(&path, &bytes).unwrap();
        let damaged = xorb.chunk_at(position).unwrap();
        match xorb.read(0, sample.bytes(), 1 << 20).unwrap() {
            Some(piece) => assert!(piece.bytes == sample.data[..sample.start(damaged) as usize]),
            None => assert_eq!(damaged, 0),
        }
        assert!(!xorb.chunk(damaged).unwrap().held);
        // The loss is remembered, and so is the proof.
        let again = folder.open().xorb(&sample.hash).unwrap();
        assert!(again.chunk(damaged).is_some_and(|chunk| chunk.proven && !chunk.held));
        sample.append(&xorb, damaged..damaged + 1).unwrap();
        assert_eq!(read_all(&xorb, &sample), vec![0..sample.bytes()]);
    }
}

fn plan() -> FilePlan {
    let term = |index: u32| PlannedTerm {
        xorb: Hash::from_bytes([index as u8; 32]),
        unpacked_bytes: 1000 + index,
        start: index,
        end: index + 3,
    };
    FilePlan {
        terms: (0..5).map(term).collect(),
        size: 5010,
        proven: true,
    }
}

fn plan_file(folder: &Folder, file: &Hash) -> std::path::PathBuf {
    let name = file.to_hex();
    folder
        .root()
        .join("plans")
        .join(&name[..2])
        .join(format!("{name}.plan"))
}

#[test]
fn a_plan_is_given_back_as_it_was_or_not_at_all() {
    let folder = Folder::new();
    let file = Hash::from_bytes([7; 32]);
    let cache: Cache = folder.open();
    assert_eq!(cache.plan(&file).unwrap(), None);
    let mut unproven = plan();
    unproven.proven = false;
    cache.put_plan(&file, &unproven).unwrap();
    assert_eq!(cache.plan(&file).unwrap(), Some(unproven));
    cache.put_plan(&file, &plan()).unwrap();
    assert_eq!(folder.open().plan(&file).unwrap(), Some(plan()));
    let path = plan_file(&folder, &file);
    let bytes = fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        assert_eq!(cache.plan(&file).unwrap(), None);
    }
    for position in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[position] ^= 4;
        fs::write(&path, &changed).unwrap();
        assert_eq!(cache.plan(&file).unwrap(), None);
    }
    // The plan of another file under this name.
    let other = Hash::from_bytes([8; 32]);
    cache.put_plan(&other, &plan()).unwrap();
    fs::copy(plan_file(&folder, &other), &path).unwrap();
    assert_eq!(cache.plan(&file).unwrap(), None);
    cache.put_plan(&file, &FilePlan::default()).unwrap();
    assert_eq!(cache.plan(&file).unwrap(), Some(FilePlan::default()));
}

#[test]
fn damage_is_counted_and_told_once() {
    let folder = Folder::new();
    let sample = Sample::new(1, 6, 120);
    let cache = folder.open();
    let xorb = cache.xorb(&sample.hash).unwrap();
    sample.append_all(&xorb);
    xorb.drop_data(0..1).unwrap();
    assert_eq!((cache.damage_count(), cache.take_damage()), (0, vec![]));
    let data = sample.file(folder.root(), "data");
    let mut bytes = fs::read(&data).unwrap();
    bytes[sample.start(3) as usize + 9] ^= 1;
    fs::write(&data, &bytes).unwrap();
    for _ in 0..2 {
        read_all(&xorb, &sample);
    }
    let told = format!("chunk 3 of xorb {}", sample.hash.to_hex());
    assert_eq!((cache.damage_count(), cache.take_damage()), (1, vec![told]));
    sample.append_all(&xorb);
    fs::remove_file(&data).unwrap();
    read_all(&xorb, &sample);
    assert_eq!((cache.damage_count(), cache.take_damage()), (1, vec![]));
}

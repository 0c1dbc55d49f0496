//! Plain files grow, survive a restart, and are proven by their digest or dropped.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
#![allow(clippy::single_range_in_vec_init, reason = "lists of runs that happen to have one")]

mod samples;

use std::fs;
use std::path::PathBuf;

use samples::{Dice, Folder};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use xetway_cache::{Error, PlainFile, PlainKey};

const BLOCK: usize = 128 * 1024;

fn content(seed: u64, bytes: usize) -> Vec<u8> {
    Dice(seed).bytes(bytes)
}

fn sha256(content: &[u8]) -> PlainKey {
    PlainKey::Sha256(Sha256::digest(content).into())
}

fn git_sha1(content: &[u8]) -> PlainKey {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", content.len()));
    hasher.update(content);
    PlainKey::GitSha1(hasher.finalize().into())
}

fn path(folder: &Folder, key: &PlainKey, suffix: &str) -> PathBuf {
    let name = key.to_string();
    let digest = name.rsplit_once('-').unwrap().1;
    folder
        .root()
        .join("plain")
        .join(&digest[..2])
        .join(format!("{name}.{suffix}"))
}

fn read_all(file: &PlainFile, piece_bytes: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let piece = file.read(bytes.len() as u64, piece_bytes).unwrap();
        assert!(piece.len() <= piece_bytes);
        if piece.is_empty() {
            return bytes;
        }
        bytes.extend(piece);
    }
}

#[test]
fn known_digests() {
    let folder = Folder::new();
    let cache = folder.open();
    // `printf hello | git hash-object --stdin` and the SHA-256 of the same.
    let git = PlainKey::GitSha1([
        0xb6, 0xfc, 0x4c, 0x62, 0x0b, 0x67, 0xd9, 0x5f, 0x95, 0x3a, 0x5c, 0x1c, 0x12, 0x30, 0xaa, 0xab, 0x5d, 0xb5,
        0xa1, 0xb0,
    ]);
    assert_eq!(git, git_sha1(b"hello"));
    for key in [git, sha256(b"hello")] {
        let file = cache.plain(&key, 5).unwrap();
        file.append(0, b"hello").unwrap();
        file.finish().unwrap();
        assert!(file.is_proven());
        assert_eq!(file.read(1, 3).unwrap(), b"ell");
    }
}

#[test]
fn files_of_every_length_around_a_block_round_trip() {
    let folder = Folder::new();
    for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 77] {
        let content = content(length as u64, length);
        for key in [sha256(&content), git_sha1(&content)] {
            {
                let cache = folder.open();
                let file = cache.plain(&key, length as u64).unwrap();
                for (index, piece) in content.chunks(50_000).enumerate() {
                    assert!(!file.is_proven());
                    assert!(file.finish().is_err());
                    file.append(index as u64 * 50_000, piece).unwrap();
                    // Readers follow at once.
                    let here = file.len();
                    assert_eq!(here, (index * 50_000 + piece.len()) as u64);
                    assert_eq!(file.read(here - 1, 10).unwrap(), &piece[piece.len() - 1..]);
                }
                assert!(read_all(&file, 70_000) == content);
                file.finish().unwrap();
                file.finish().unwrap();
                assert!(file.is_proven());
            }
            let file = folder.open().plain(&key, length as u64).unwrap();
            assert!(file.is_proven());
            assert_eq!((file.len(), file.size()), (length as u64, length as u64));
            for piece_bytes in [999, BLOCK, 1 << 22] {
                assert!(read_all(&file, piece_bytes) == content);
            }
            file.append(0, &content).unwrap();
            assert!(file.is_proven());
        }
    }
}

#[test]
fn a_download_goes_on_after_a_restart() {
    let folder = Folder::new();
    let content = content(1, 5 * BLOCK + 1234);
    let key = sha256(&content);
    let size = content.len() as u64;
    folder
        .open()
        .plain(&key, size)
        .unwrap()
        .append(0, &content[..3 * BLOCK + 999])
        .unwrap();
    let file = folder.open().plain(&key, size).unwrap();
    let here = file.len() as usize;
    assert!((3 * BLOCK..=3 * BLOCK + 999).contains(&here), "{here}");
    assert!(read_all(&file, 1 << 20) == content[..here]);
    let error = file.append(here as u64 + 1, &content[here + 1..]).unwrap_err();
    assert!(matches!(error, Error::State { .. }));
    // What is there already is skipped.
    file.append(here as u64 - 10, &content[here - 10..]).unwrap();
    file.finish().unwrap();
    assert!(read_all(&file, 1 << 20) == content);
}

#[test]
fn a_wrong_digest_drops_everything() {
    let folder = Folder::new();
    let content = content(2, BLOCK + 5);
    let key = sha256(&content);
    let cache = folder.open();
    let file = cache.plain(&key, content.len() as u64).unwrap();
    let mut wrong = content.clone();
    wrong[77] ^= 1;
    file.append(0, &wrong).unwrap();
    assert!(matches!(file.finish().unwrap_err(), Error::Integrity { .. }));
    assert!(file.is_empty() && !file.is_proven());
    assert!(!path(&folder, &key, "held").exists() && !path(&folder, &key, "data").exists());
    file.append(0, &content).unwrap();
    file.finish().unwrap();
    assert!(read_all(&file, 1 << 20) == content);
    // The same after a restart, when the digest has to be computed from the disk.
    file.restart().unwrap();
    assert!(file.is_empty() && !file.is_proven());
    file.append(0, &wrong[..BLOCK]).unwrap();
    drop((file, cache));
    let file = folder.open().plain(&key, content.len() as u64).unwrap();
    assert_eq!(file.len(), BLOCK as u64);
    file.append(BLOCK as u64, &wrong[BLOCK..]).unwrap();
    assert!(matches!(file.finish().unwrap_err(), Error::Integrity { .. }));
    assert!(file.is_empty());
}

#[test]
fn more_bytes_than_the_size_are_refused() {
    let folder = Folder::new();
    let file = folder.open().plain(&sha256(b"hello"), 5).unwrap();
    file.append(0, b"hel").unwrap();
    assert!(matches!(file.append(3, b"lo!").unwrap_err(), Error::Integrity { .. }));
    file.append(3, b"lo").unwrap();
    file.finish().unwrap();
}

#[test]
fn a_file_has_one_size() {
    let folder = Folder::new();
    let cache = folder.open();
    let content = content(3, 2 * BLOCK);
    let key = sha256(&content);
    let wrong = cache.plain(&key, 3 * BLOCK as u64).unwrap();
    wrong.append(0, &content).unwrap();
    assert!(matches!(
        cache.plain(&key, 2 * BLOCK as u64).unwrap_err(),
        Error::Conflict { .. }
    ));
    drop(wrong);
    // Nobody uses the other one any more, and it was never proven.
    let right = cache.plain(&key, 2 * BLOCK as u64).unwrap();
    assert!(right.is_empty());
    right.append(0, &content).unwrap();
    right.finish().unwrap();
    assert!(matches!(cache.plain(&key, 5).unwrap_err(), Error::Integrity { .. }));
    drop(right);
    assert!(matches!(cache.plain(&key, 5).unwrap_err(), Error::Integrity { .. }));
    assert!(cache.plain(&key, 2 * BLOCK as u64).unwrap().is_proven());
}

#[test]
fn a_sidecar_cut_or_changed_anywhere_never_gives_wrong_bytes() {
    let folder = Folder::new();
    let content = content(4, 3 * BLOCK + 10);
    let size = content.len() as u64;
    let key = git_sha1(&content);
    let file = folder.open().plain(&key, size).unwrap();
    file.append(0, &content[..2 * BLOCK]).unwrap();
    file.append(2 * BLOCK as u64, &content[2 * BLOCK..]).unwrap();
    file.finish().unwrap();
    drop(file);
    let held = path(&folder, &key, "held");
    let bytes = fs::read(&held).unwrap();
    let cut = (0..bytes.len()).map(|length| bytes[..length].to_vec());
    let flipped = (0..bytes.len()).map(|position| {
        let mut changed = bytes.clone();
        changed[position] ^= 1 << (position % 8);
        changed
    });
    for changed in cut.chain(flipped) {
        fs::write(&held, changed).unwrap();
        let file = folder.open().plain(&key, size).unwrap();
        let found = read_all(&file, 1 << 20);
        assert!(content.starts_with(&found));
        assert!(!file.is_proven() || found == content);
        file.append(found.len() as u64, &content[found.len()..]).unwrap();
        file.finish().unwrap();
        assert!(read_all(&file, 1 << 20) == content);
    }
}

#[test]
fn damage_drops_the_block_and_what_follows_it() {
    let folder = Folder::new();
    let content = content(5, 4 * BLOCK);
    let key = sha256(&content);
    let cache = folder.open();
    let file = cache.plain(&key, content.len() as u64).unwrap();
    file.append(0, &content).unwrap();
    file.finish().unwrap();
    for (damage, (position, left)) in (1..).zip([(3 * BLOCK + 5, 3), (BLOCK, 1), (0, 0)]) {
        let data = path(&folder, &key, "data");
        let mut bytes = fs::read(&data).unwrap();
        bytes[position] ^= 1;
        fs::write(&data, &bytes).unwrap();
        assert!(read_all(&file, 1 << 20) == content[..left * BLOCK]);
        assert_eq!((file.len(), file.is_proven()), ((left * BLOCK) as u64, false));
        let told = format!("plain file {key} from byte {}", left * BLOCK);
        assert_eq!((cache.damage_count(), cache.take_damage()), (damage, vec![told]));
        let again = folder.open().plain(&key, content.len() as u64).unwrap();
        assert_eq!((again.len(), again.is_proven()), ((left * BLOCK) as u64, false));
        file.append(file.len(), &content[left * BLOCK..]).unwrap();
        file.finish().unwrap();
        assert!(read_all(&file, 1 << 20) == content);
    }
}

#[test]
fn a_file_deleted_by_another_process_is_fetched_again() {
    let folder = Folder::new();
    let content = content(6, 3 * BLOCK);
    let key = sha256(&content);
    let cache = folder.open();
    let file = cache.plain(&key, content.len() as u64).unwrap();
    file.append(0, &content[..BLOCK]).unwrap();
    folder.open().prune(0).unwrap();
    let error = file.append(BLOCK as u64, &content[BLOCK..]).unwrap_err();
    assert!(matches!(error, Error::State { .. }), "{error}");
    assert!(file.is_empty());
    file.append(0, &content).unwrap();
    folder.open().prune(0).unwrap();
    assert!(file.read(0, 10).unwrap().is_empty());
    assert!(file.is_empty());
    file.append(0, &content).unwrap();
    file.finish().unwrap();
    assert!(read_all(&file, 1 << 20) == content);
}

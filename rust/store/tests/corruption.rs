//! A byte that changed on disk is never handed out, wherever it is.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod samples;

use std::fs;
use std::io::{Seek, SeekFrom, Write};

use samples::{Sample, drain, file_bytes, mixture, noise, whole, xorb_of};
use xetway_core::Hash;
use xetway_core::codec::Scheme;
use xetway_core::xorb::XorbMeta;
use xetway_store::{Error, PieceReader, Scratch};

/// Bytes of the footer, from its end, that mean nothing: 16 reserved ones before the length field.
const RESERVED: std::ops::Range<usize> = 4..20;

struct Stored {
    sample: Sample,
    content: Vec<u8>,
    meta: XorbMeta,
    file: Vec<u8>,
}

impl Stored {
    fn new(content: Vec<u8>, scheme: Scheme) -> Self {
        let sample = Sample::new();
        let (data, meta) = xorb_of(&content, scheme);
        sample.put(&meta.hash(), &data);
        let file = file_bytes(&data, &meta);
        assert_eq!(fs::read(sample.file_of(&meta.hash())).unwrap(), file);
        Self {
            sample,
            content,
            meta,
            file,
        }
    }

    fn xorb(&self) -> Hash {
        self.meta.hash()
    }

    fn overwrite(&self, bytes: &[u8]) {
        fs::write(self.sample.file_of(&self.xorb()), bytes).unwrap();
        self.sample.store.invalidate(&self.xorb());
    }

    /// Read everything by every way; each gives an error that names the xorb, or the right bytes.
    fn read(&self) -> [Result<(), Error>; 3] {
        let store = &self.sample.store;
        let size = self.content.len() as u64;
        let content = store
            .open_file(vec![whole(&self.meta)], 0, size)
            .and_then(|mut reader| drain(&mut reader, 50_000));
        let end = u64::from(self.meta.chunk_data_bytes());
        let data = store
            .open_xorb(&self.xorb(), 0, end)
            .and_then(|mut reader| drain(&mut reader, 50_000));
        [
            content.map(|bytes| assert!(bytes == self.content)),
            data.map(|bytes| assert!(bytes == self.file[..bytes.len()])),
            store.verify(&self.xorb()).map(|_| ()),
        ]
    }

    fn assert_detected(&self, what: &str) {
        for outcome in self.read() {
            match outcome {
                Err(Error::Corrupt { xorb, .. }) => assert_eq!(xorb, self.xorb()),
                other => panic!("{what}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_detected() {
    for scheme in [Scheme::None, Scheme::Lz4, Scheme::ByteGrouping4Lz4] {
        let stored = Stored::new(mixture(60_000), scheme);
        let length = stored.file.len();
        let data = stored.meta.chunk_data_bytes() as usize;
        // Every byte of the first header and of the footer, and a sample of the payload.
        for at in (0..40).chain((40..data).step_by(997)).chain(data..length) {
            let mut bytes = stored.file.clone();
            bytes[at] ^= 1 << (at % 8);
            stored.overwrite(&bytes);
            if RESERVED.contains(&(length - 1 - at)) {
                assert!(stored.read().iter().all(Result::is_ok), "reserved byte {at}");
            } else {
                stored.assert_detected(&format!("{scheme:?} byte {at}"));
            }
        }
    }
}

#[test]
fn the_chunk_is_named_and_those_before_it_are_served() {
    let stored = Stored::new(noise(2, 600_000), Scheme::None);
    let third = stored.meta.start(3).unwrap() as usize;
    let mut bytes = stored.file.clone();
    bytes[third + 100] ^= 0x10;
    stored.overwrite(&bytes);
    let error = stored.sample.store.verify(&stored.xorb()).unwrap_err();
    assert!(matches!(error, Error::Corrupt { chunk: Some(3), .. }), "{error:?}");
    let sound = u64::from(stored.meta.raw_start(3).unwrap());
    let mut reader = stored
        .sample
        .store
        .open_file(vec![whole(&stored.meta)], 0, sound)
        .unwrap();
    assert_eq!(drain(&mut reader, 50_000).unwrap(), &stored.content[..sound as usize]);
    let mut reader = stored
        .sample
        .store
        .open_file(vec![whole(&stored.meta)], sound, sound + 1)
        .unwrap();
    assert!(drain(&mut reader, 50_000).is_err());
    // It does not go on past the damage.
    assert!(matches!(drain(&mut reader, 50_000), Err(Error::Corrupt { .. })));
    let end = u64::from(stored.meta.chunk_data_bytes());
    let mut reader = stored.sample.store.open_xorb(&stored.xorb(), 0, end).unwrap();
    let mut scratch = Scratch::default();
    for max_bytes in [1 << 30, third] {
        let piece = reader.next(max_bytes, &mut scratch);
        assert_eq!(
            piece.is_ok_and(|piece| piece == &stored.file[..third]),
            max_bytes == third
        );
    }
    let error = reader.next(1, &mut scratch).unwrap_err();
    assert!(matches!(error, Error::Corrupt { chunk: Some(3), .. }));
}

#[test]
fn what_is_wrong_with_a_chunk_is_told_apart() {
    let stored = Stored::new(noise(2, 20_000), Scheme::None);
    for (at, code) in [
        (0, "chunk_version"),
        (1, "chunk_length"),
        (5, "chunk_length"),
        (8, "chunk_hash"),
    ] {
        let mut bytes = stored.file.clone();
        bytes[at] ^= 1;
        stored.overwrite(&bytes);
        match stored.sample.store.verify(&stored.xorb()) {
            Err(Error::Corrupt {
                chunk: Some(0), cause, ..
            }) => assert_eq!(cause.code(), code),
            other => panic!("{at}: {other:?}"),
        }
    }
}

#[test]
fn a_truncated_or_longer_file_is_detected() {
    let stored = Stored::new(mixture(30_000), Scheme::Lz4);
    let length = stored.file.len();
    for keep in (0..64).chain((64..length).step_by(61)).chain(length - 200..length) {
        stored.overwrite(&stored.file[..keep]);
        stored.assert_detected(&format!("first {keep} of {length}"));
    }
    stored.overwrite(&[&stored.file[..], &[0]].concat());
    stored.assert_detected("one byte more");
    stored.overwrite(&stored.file);
    assert!(stored.read().iter().all(Result::is_ok));
}

#[test]
fn a_file_cut_short_under_a_cached_footer_is_detected() {
    let stored = Stored::new(noise(4, 500_000), Scheme::None);
    let mut reader = stored
        .sample
        .store
        .open_file(vec![whole(&stored.meta)], 0, 500_000)
        .unwrap();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(stored.sample.file_of(&stored.xorb()))
        .unwrap();
    file.set_len(1000).unwrap();
    assert!(matches!(drain(&mut reader, 50_000), Err(Error::Corrupt { .. })));
}

#[test]
fn what_decays_after_it_was_proven_is_detected() {
    let stored = Stored::new(noise(5, 300_000), Scheme::None);
    assert!(stored.read().iter().all(Result::is_ok));
    let file = fs::OpenOptions::new()
        .write(true)
        .open(stored.sample.file_of(&stored.xorb()))
        .unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    for at in [9, 150_000, 299_000] {
        let mut bytes = stored.file.clone();
        bytes[at] ^= 1;
        (&file).seek(SeekFrom::Start(0)).unwrap();
        (&file).write_all(&bytes).unwrap();
        // As a disk that decays: nothing tells that the file is another.
        file.set_modified(modified).unwrap();
        stored.assert_detected(&format!("byte {at}"));
    }
}

#[test]
fn the_sound_file_of_another_xorb_is_detected() {
    let stored = Stored::new(mixture(30_000), Scheme::Lz4);
    let (data, meta) = xorb_of(&noise(8, 30_000), Scheme::Lz4);
    stored.overwrite(&file_bytes(&data, &meta));
    stored.assert_detected("another xorb");
}

#[test]
fn a_missing_file_is_named() {
    let stored = Stored::new(mixture(30_000), Scheme::Lz4);
    assert!(stored.sample.store.remove(&stored.xorb()).unwrap());
    assert!(!stored.sample.store.remove(&stored.xorb()).unwrap());
    assert!(!stored.sample.store.exists(&stored.xorb()).unwrap());
    for outcome in stored.read() {
        assert!(matches!(outcome, Err(Error::Missing { xorb }) if xorb == stored.xorb()));
    }
    assert!(stored.sample.store.list().unwrap().is_empty());
}

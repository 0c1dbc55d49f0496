//! Shards: stored bytes, forms, damage.

use crate::inputs::{hash, hex, splitmix, unhex};
use proptest::prelude::*;
use xetway_core::Hash;
use xetway_core::hash::{chunk_hash, data_hash, keyed_hash, verification_hash};
use xetway_core::shard::{
    CHUNK_DEDUP_ELIGIBLE, ChunkInfo, FILE_WITH_METADATA, FILE_WITH_VERIFICATION, FileInfo, Footer, Form, Shard, Term,
    XorbInfo, parse, serialise, terms_from_bytes, terms_to_bytes,
};

const STORED: Form = Form::Stored {
    created_s: 0,
    expiry_s: 0,
};

/// The shard of one file, "Hello World!", as the deployed client sends it.
fn hello() -> Shard {
    let chunk = chunk_hash(b"Hello World!");
    let sha256 = unhex("7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069");
    Shard {
        files: vec![FileInfo {
            hash: hash("a9dae0ad88b060bdd7e7c87abdcf95b132c95a0414b06d4f6beb68d287b87165"),
            flags: FILE_WITH_VERIFICATION | FILE_WITH_METADATA,
            terms: vec![Term {
                xorb: chunk,
                flags: 0,
                unpacked_bytes: 12,
                start: 0,
                end: 1,
            }],
            verification: Some(vec![verification_hash([&chunk])]),
            sha256: Some(sha256.try_into().unwrap()),
        }],
        xorbs: vec![XorbInfo {
            hash: chunk,
            flags: 0,
            bytes_in_xorb: 12,
            bytes_on_disk: 0,
            chunks: vec![ChunkInfo {
                hash: chunk,
                offset: 0,
                raw_bytes: 12,
                flags: 0,
            }],
        }],
        footer: None,
    }
}

#[test]
fn the_stored_shard_of_one_file() {
    let mut shard = hello();
    shard.mark_first_chunks();
    assert_eq!(shard.xorbs[0].chunks[0].flags, CHUNK_DEDUP_ELIGIBLE);
    let bytes = serialise(&shard, STORED);
    assert_eq!(bytes.len(), 632);
    assert_eq!(
        hex(&bytes[144..176]),
        "4ccb988e4563cb8923b7a7a5506bbe7592e648535df0824b2b86c35daf1ab75f"
    );
    assert_eq!(
        hex(&bytes[192..224]),
        "53fcf17f65b1837f5dd6a14881c12db92877d6a31f4b2dfc69906d1200d2dd4a"
    );
    assert_eq!(
        data_hash(&bytes),
        hash("526a4dff0d5131cc71e1c375c96c81ab67797a76f535554abec681fd2a56d18c")
    );
    let mut upload = bytes[..432].to_vec();
    upload[40] = 0;
    assert_eq!(serialise(&shard, Form::Upload), upload);
    let parsed = parse(&bytes).unwrap();
    let footer = Footer {
        key: [0; 32],
        created_s: 0,
        expiry_s: 0,
        stored_bytes_on_disk: 0,
        materialized_bytes: 12,
        stored_bytes: 12,
    };
    assert_eq!(
        parsed,
        Shard {
            footer: Some(footer),
            ..shard.clone()
        }
    );
    assert_eq!(parse(&upload).unwrap(), shard);
    // Some older clients announce a footer and send none.
    assert_eq!(parse(&bytes[..432]).unwrap(), shard);
}

#[test]
fn a_key_hides_the_chunk_hashes_and_nothing_else() {
    let key: [u8; 32] = std::array::from_fn(|index| index as u8 + 1);
    let plain = hello();
    let keyed = parse(&serialise(
        &plain,
        Form::Keyed {
            key,
            created_s: 7,
            expiry_s: 9,
        },
    ))
    .unwrap();
    let footer = keyed.footer.unwrap();
    assert_eq!((footer.key, footer.created_s, footer.expiry_s), (key, 7, 9));
    let hidden = keyed.xorbs[0].chunks[0].hash;
    assert_eq!(hidden, keyed_hash(&plain.xorbs[0].chunks[0].hash, &key));
    assert_eq!(
        hidden,
        hash("02cc111763c1c960f0c3439d32c5becdf0c4bd2cc825f9f823b400a48d9c1e83")
    );
    assert_eq!((&keyed.files, keyed.xorbs[0].hash), (&plain.files, plain.xorbs[0].hash));
    let unkeyed = serialise(
        &plain,
        Form::Keyed {
            key: [0; 32],
            created_s: 0,
            expiry_s: 0,
        },
    );
    assert_eq!(unkeyed, serialise(&plain, STORED));
}

#[test]
fn empty_files_and_empty_sections() {
    let empty = FileInfo {
        hash: Hash::ZERO,
        flags: FILE_WITH_VERIFICATION | FILE_WITH_METADATA,
        terms: vec![],
        verification: Some(vec![]),
        sha256: Some([0; 32]),
    };
    let mut shard = hello();
    shard.files.insert(0, empty);
    for xorbs in [shard.xorbs.clone(), vec![]] {
        for files in [shard.files.clone(), vec![]] {
            let shard = Shard {
                files,
                xorbs: xorbs.clone(),
                footer: None,
            };
            assert_eq!(parse(&serialise(&shard, Form::Upload)).unwrap(), shard);
        }
    }
    assert_eq!(serialise(&Shard::default(), Form::Upload).len(), 144);
    // A fully deduplicated upload of one file: no xorb blocks.
    let mut known = hello();
    known.xorbs.clear();
    assert_eq!(serialise(&known, Form::Upload).len(), 336);
}

#[test]
fn lookup_tables_are_skipped_and_must_fit() {
    let shard = hello();
    let plain = serialise(&shard, STORED);
    let (sections, footer) = plain.split_at(432);
    let with_tables = |tables: usize, fields: [u64; 6], footer_at: u64| {
        let mut footer = footer.to_vec();
        for (slot, field) in footer[24..72].chunks_exact_mut(8).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        footer[192..].copy_from_slice(&footer_at.to_le_bytes());
        [sections, &vec![0xab; tables], &footer].concat()
    };
    let good = with_tables(40, [432, 1, 444, 1, 456, 1], 472);
    assert_eq!(parse(&good).unwrap().files, shard.files);
    let none = with_tables(0, [0; 6], 432);
    assert_eq!(parse(&none).unwrap().files, shard.files);
    for (tables, fields, footer_at, code) in [
        (40, [432, 1, 444, 1, 456, 2], 472, "shard_lookup"),
        (40, [432, 1, 444, 1, 456, 0], 472, "shard_lookup"),
        (40, [432, 1, 445, 1, 456, 1], 472, "shard_lookup"),
        (40, [432, u64::MAX, 444, 1, 456, 1], 472, "shard_lookup"),
        (40, [432, 1 << 62, 444, 1, 456, 1], 472, "shard_lookup"),
        (40, [432, 1, 444, 1, 456, 1], 471, "shard_footer_offsets"),
        (1, [432, 0, 432, 0, 432, 0], 433, "shard_lookup"),
    ] {
        assert_eq!(parse(&with_tables(tables, fields, footer_at)).unwrap_err().code(), code);
    }
}

#[test]
fn rules_of_the_file_section() {
    let mut shard = hello();
    let mut second = shard.files[0].clone();
    second.hash = Hash::ZERO;
    second.verification = None;
    shard.files.push(second);
    assert_eq!(
        parse(&serialise(&shard, Form::Upload)).unwrap_err().code(),
        "shard_partly_verified"
    );
    let mut shard = hello();
    let mut again = shard.files[0].clone();
    again.terms[0].end = 9;
    shard.files.push(again);
    assert_eq!(parse(&serialise(&shard, Form::Upload)).unwrap(), hello());
    // Verification hashes that do not match the terms cannot be written.
    let mut shard = hello();
    shard.files[0].verification = Some(vec![]);
    assert_eq!(
        parse(&serialise(&shard, Form::Upload)).unwrap().files[0].verification,
        None
    );
}

#[test]
fn fields_that_lie() {
    let bytes = serialise(&hello(), STORED);
    for (offset, value, code) in [
        (0, &b"h"[..], "shard_tag"),
        (14, &[1], "shard_tag"),
        (31, &[0], "shard_tag"),
        (40, &[199], "shard_footer_size"),
        (40, &[0], "shard_trailing_bytes"),
        (47, &[1], "shard_footer_size"),
        (84, &[0xff; 4], "truncated"),
        (84, &[0], "shard_bookend"),
        (240, &[0], "truncated"),
        (276, &[1], "shard_bookend"),
        (324, &[0xff; 4], "truncated"),
        (432, &[2], "shard_footer_version"),
        (440, &[49], "shard_footer_offsets"),
        (448, &[0], "shard_footer_offsets"),
        (624, &[0], "shard_footer_offsets"),
    ] {
        let mut damaged = bytes.clone();
        damaged[offset..offset + value.len()].copy_from_slice(value);
        let got = parse(&damaged).map_err(|error| error.code());
        // A file count of 0 makes the term a file block of its own.
        assert!(got.is_err(), "{offset}");
        if offset != 84 && offset != 240 && offset != 276 {
            assert_eq!(got, Err(code), "{offset}");
        }
    }
    // Readers in the field accept any header version.
    let mut version = bytes.clone();
    version[32] = 3;
    assert!(parse(&version).is_ok());
}

#[test]
fn every_truncation_and_extension_fails() {
    let upload = serialise(&hello(), Form::Upload);
    for length in 0..upload.len() {
        assert_eq!(parse(&upload[..length]).unwrap_err().code(), "truncated");
    }
    let stored = serialise(&hello(), STORED);
    for length in (0..stored.len()).filter(|length| *length != 432) {
        assert!(parse(&stored[..length]).is_err(), "{length}");
    }
    for extra in [1, 48, 200] {
        let more = vec![0; extra];
        assert_eq!(
            parse(&[&upload[..], &more].concat()).unwrap_err().code(),
            "shard_trailing_bytes"
        );
        assert!(parse(&[&stored[..], &more].concat()).is_err());
    }
}

/// A flipped bit fails, changes what is parsed, or is in a place without meaning.
#[test]
fn every_flipped_bit_is_seen_or_means_nothing() {
    let ignored = |byte: usize| {
        // Header version; reserved bytes of the records; lookup offsets of empty tables; reserved in the footer.
        let ranges = [
            32..40,
            88..96,
            176..192,
            224..240,
            380..384,
            456..464,
            472..480,
            488..496,
            552..600,
        ];
        ranges.iter().any(|range| range.contains(&byte))
    };
    let bytes = serialise(&hello(), STORED);
    let whole = parse(&bytes).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        if let Ok(shard) = parse(&damaged) {
            assert_eq!(shard == whole, ignored(bit / 8), "byte {}", bit / 8);
            // What was parsed survives another round.
            let again = parse(&serialise(&shard, Form::Upload)).unwrap();
            assert_eq!((again.files, again.xorbs), (shard.files, shard.xorbs));
        }
    }
}

#[test]
fn terms_alone() {
    let term = hello().files[0].terms[0];
    let other = Term {
        flags: 1,
        unpacked_bytes: 0x0403_0201,
        start: 5,
        end: u32::MAX,
        ..term
    };
    let bytes = terms_to_bytes(&[term, other]);
    assert_eq!(hex(&bytes[80..]), "010000000102030405000000ffffffff");
    assert_eq!(terms_from_bytes(&bytes).unwrap(), [term, other]);
    assert_eq!(terms_from_bytes(&[]).unwrap(), []);
    let error = terms_from_bytes(&bytes[..95]).unwrap_err();
    assert_eq!((error.code(), error.offset()), ("truncated", Some(48)));
}

fn hashes(seed: u64, count: usize) -> Vec<Hash> {
    splitmix(seed, count * 32)
        .chunks_exact(32)
        .map(|raw| Hash::from_bytes(raw.try_into().unwrap()))
        .collect()
}

prop_compose! {
    fn any_shard()(
        seed: u64,
        files in prop::collection::vec((0_usize..6, any::<bool>(), 0..1_u32 << 30), 0..6),
        xorbs in prop::collection::vec(0_usize..20, 0..5),
        verified: bool,
    ) -> Shard {
        let names = hashes(seed, 400);
        let number = |index: usize| names[index].last_u64() as u32;
        let files = files.iter().enumerate().map(|(index, (terms, sha, flags))| FileInfo {
            hash: names[index],
            flags: flags | if verified { FILE_WITH_VERIFICATION } else { 0 } | if *sha { FILE_WITH_METADATA } else { 0 },
            terms: (0..*terms).map(|term| Term {
                xorb: names[20 + term], flags: number(term), unpacked_bytes: number(term + 1), start: number(term + 2), end: number(term + 3),
            }).collect(),
            verification: verified.then(|| names[40..40 + terms].to_vec()),
            sha256: sha.then(|| *names[99].as_bytes()),
        }).collect();
        let xorbs = xorbs.iter().enumerate().map(|(index, chunks)| XorbInfo {
            hash: names[100 + index], flags: number(index), bytes_in_xorb: number(index + 1), bytes_on_disk: number(index + 2),
            chunks: (0..*chunks).map(|chunk| ChunkInfo {
                hash: names[200 + chunk], offset: number(chunk), raw_bytes: number(chunk + 1), flags: number(chunk + 2),
            }).collect(),
        }).collect();
        Shard { files, xorbs, footer: None }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn round_trip(shard in any_shard(), created_s: u64, expiry_s: u64, key: [u8; 32]) {
        let upload = serialise(&shard, Form::Upload);
        prop_assert_eq!(&parse(&upload).unwrap(), &shard);
        for form in [Form::Stored { created_s, expiry_s }, Form::Keyed { key, created_s, expiry_s }] {
            let bytes = serialise(&shard, form);
            let parsed = parse(&bytes).unwrap();
            prop_assert_eq!(parsed.footer.map(|footer| (footer.created_s, footer.expiry_s)), Some((created_s, expiry_s)));
            prop_assert_eq!(&parsed.files, &shard.files);
            if matches!(form, Form::Stored { .. }) {
                prop_assert_eq!(serialise(&parsed, form), bytes);
            }
        }
    }

    #[test]
    fn sorting(shard in any_shard()) {
        let mut sorted = shard.clone();
        sorted.sort();
        prop_assert!(sorted.files.is_sorted_by_key(|file| file.hash) && sorted.xorbs.is_sorted_by_key(|xorb| xorb.hash));
        prop_assert_eq!(serialise(&sorted, Form::Upload).len(), serialise(&shard, Form::Upload).len());
    }

    #[test]
    fn arbitrary_bytes_never_panic(shard in any_shard(), noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut: prop::sample::Index) {
        let mut bytes = serialise(&shard, STORED);
        for (index, byte) in noise {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        let _ = parse(&bytes);
        let _ = parse(&bytes[..cut.index(bytes.len())]);
    }
}

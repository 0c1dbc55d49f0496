//! What goes in comes out, whatever the pieces and ranges.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod samples;

use samples::{Sample, drain, mixture, noise, whole, xorb_of};
use xetway_core::codec::Scheme;
use xetway_core::hash::{chunk_hash, verification_hash};
use xetway_core::merkle::MerkleHasher;
use xetway_core::shard::{Term, parse};
use xetway_core::xorb::{ChunkHeader, XorbMeta};
use xetway_core::{Hash, chunker, merkle};
use xetway_store::{Error, PieceReader, Scratch, hash_file};

fn code(error: Error) -> &'static str {
    match error {
        Error::Format(cause) => cause.code(),
        Error::Missing { .. } => "missing",
        Error::Corrupt { .. } => "corrupt",
        Error::State { .. } => "state",
        Error::Io { .. } => "io",
    }
}

#[test]
fn content_comes_back_whatever_the_pieces() {
    let content = mixture(900_000);
    let sample = Sample::new();
    let mut hashes = Vec::new();
    for piece_bytes in [37_777, 1 << 20] {
        let mut file = sample.store.ingest();
        content.chunks(piece_bytes).for_each(|piece| file.write(piece).unwrap());
        let mut file = file.finish().unwrap();
        file.xorbs.iter_mut().for_each(|(_, writer, _)| {
            writer.publish(false).unwrap();
        });
        assert_eq!(file.size, 900_000);
        hashes.push(file.file);
        for piece in [1_000, 65_536, 1 << 30] {
            let mut reader = sample.store.open_file(file.terms.clone(), 0, file.size).unwrap();
            assert_eq!(drain(&mut reader, piece).unwrap(), content);
        }
        assert_eq!(sample.store.check_file(&file.file, &file.terms, None).unwrap(), 900_000);
    }
    assert_eq!(hashes[0], hashes[1]);
    let path = sample.folder.path().join("content");
    std::fs::write(&path, &content).unwrap();
    assert_eq!(hash_file(&path).unwrap(), (hashes[0], 900_000));
    assert!(sample.temporary().is_empty());
}

#[test]
fn every_range_of_content_is_cut_exactly() {
    let sample = Sample::new();
    let content = mixture(500_000);
    let file = sample.add(&content, 100_000);
    let mut edges: Vec<u64> = chunker::boundaries(&content)
        .into_iter()
        .flat_map(|end| [end - 1, end])
        .collect();
    edges.extend([0, 1, 250_000]);
    for start in &edges {
        for end in edges.iter().filter(|end| *end >= start) {
            let mut reader = sample.store.open_file(file.terms.clone(), *start, *end).unwrap();
            assert_eq!(
                drain(&mut reader, 50_000).unwrap(),
                &content[*start as usize..*end as usize],
                "{start}..{end}"
            );
        }
    }
    for (start, end) in [(0, 500_001), (500_001, 500_001), (2, 1)] {
        let refused = sample.store.open_file(file.terms.clone(), start, end).err().unwrap();
        assert_eq!(code(refused), "range_outside");
    }
}

#[test]
fn every_range_of_chunk_data_is_cut_exactly() {
    for scheme in [Scheme::None, Scheme::Lz4, Scheme::ByteGrouping4Lz4] {
        let sample = Sample::new();
        let (data, meta) = xorb_of(&mixture(400_000), scheme);
        assert!(sample.put(&meta.hash(), &data));
        let size = data.len() as u64;
        let mut edges: Vec<u64> = meta.chunks().iter().map(|chunk| u64::from(chunk.end)).collect();
        edges.extend([0, 1, 9, size / 2, size - 1]);
        for start in &edges {
            for end in edges.iter().filter(|end| *end >= start) {
                let mut reader = sample.store.open_xorb(&meta.hash(), *start, *end).unwrap();
                assert_eq!(
                    drain(&mut reader, 50_000).unwrap(),
                    &data[*start as usize..*end as usize],
                    "{start}..{end}"
                );
            }
        }
        assert_eq!(
            code(sample.store.open_xorb(&meta.hash(), 0, size + 1).err().unwrap()),
            "range_outside"
        );
        assert_eq!(
            sample.store.verify(&meta.hash()).unwrap(),
            size + 92 + 40 * meta.len() as u64 + 4
        );
    }
}

#[test]
fn terms_may_go_back_and_forth_between_xorbs() {
    let sample = Sample::new();
    let (first, second) = (mixture(300_000), noise(3, 300_000));
    let (mut terms, mut expected) = (Vec::new(), Vec::new());
    for content in [&first, &second] {
        let (data, meta) = xorb_of(content, Scheme::Lz4);
        sample.put(&meta.hash(), &data);
        terms.push(Term {
            start: 1,
            unpacked_bytes: meta.raw_bytes() - meta.chunks()[0].raw_bytes,
            ..whole(&meta)
        });
        expected.push(content[meta.chunks()[0].raw_bytes as usize..].to_vec());
    }
    let order = [0, 1, 0, 0, 1];
    let terms: Vec<Term> = order.iter().map(|index| terms[*index]).collect();
    let expected = order
        .iter()
        .flat_map(|index| expected[*index].clone())
        .collect::<Vec<u8>>();
    let mut reader = sample.store.open_file(terms.clone(), 0, expected.len() as u64).unwrap();
    assert_eq!(drain(&mut reader, 50_000).unwrap(), expected);
    let mut hasher = sample.store.sha256_file(terms, 100_000).unwrap();
    assert!((100_000..expected.len() as u64).contains(&hasher.step().unwrap()));
    assert_eq!(code(hasher.digest().unwrap_err()), "state");
    while hasher.step().unwrap() < expected.len() as u64 {}
    hasher.digest().unwrap();
}

#[test]
fn repeated_content_is_stored_once() {
    let sample = Sample::new();
    let part = noise(5, 600_000);
    let content = [part.clone(), part.clone(), part].concat();
    let file = sample.add(&content, 1 << 16);
    let stored: u64 = file.xorbs.iter().map(|(_, _, sizes)| sizes.raw_bytes).sum();
    assert!(stored < 900_000, "{stored}");
    let mut reader = sample.store.open_file(file.terms.clone(), 0, file.size).unwrap();
    assert_eq!(drain(&mut reader, 50_000).unwrap(), content);
    sample.store.check_file(&file.file, &file.terms, None).unwrap();
}

#[test]
fn a_file_of_zeros_does_not_get_a_term_for_every_chunk() {
    let sample = Sample::new();
    let file = sample.add(&vec![0; 131_072 * 800], 1 << 20);
    assert!(file.terms.len() < 150, "{}", file.terms.len());
    assert!(file.xorbs[0].2.stored_bytes < 600_000);
    assert_eq!(
        sample.store.check_file(&file.file, &file.terms, None).unwrap(),
        file.size
    );
}

#[test]
fn xorbs_are_cut_at_their_limits() {
    let sample = Sample::new();
    let file = sample.add(&noise(9, 70_000_000), 1 << 20);
    assert_eq!(file.xorbs.len(), 2);
    assert!(file.xorbs[0].2.raw_bytes > 66_900_000 && file.xorbs[0].2.raw_bytes <= 67_108_864);
    assert_eq!(
        sample.store.check_file(&file.file, &file.terms, None).unwrap(),
        70_000_000
    );
    assert_eq!(sample.store.list().unwrap().len(), 2);
}

#[test]
fn the_empty_file_has_no_xorbs() {
    let sample = Sample::new();
    let file = sample.add(&[], 1);
    assert_eq!(
        (file.file, file.size, file.terms.len(), file.xorbs.len()),
        (Hash::ZERO, 0, 0, 0)
    );
    assert_eq!(sample.store.check_file(&Hash::ZERO, &[], Some(&[])).unwrap(), 0);
    assert_eq!(
        drain(&mut sample.store.open_file(Vec::new(), 0, 0).unwrap(), 1).unwrap(),
        b""
    );
}

#[test]
fn false_claims_about_a_file_are_told_apart() {
    let sample = Sample::new();
    let (data, meta) = xorb_of(&mixture(300_000), Scheme::Lz4);
    sample.put(&meta.hash(), &data);
    let nodes: Vec<_> = meta
        .chunks()
        .iter()
        .map(|chunk| (chunk.hash, u64::from(chunk.raw_bytes)))
        .collect();
    let file = merkle::file_hash(&nodes);
    let proof = verification_hash(meta.chunks().iter().map(|chunk| &chunk.hash));
    let term = whole(&meta);
    let check =
        |file: Hash, term: Term, proofs: &[Hash]| sample.store.check_file(&file, &[term], Some(proofs)).map_err(code);
    assert_eq!(check(file, term, &[proof]), Ok(300_000));
    assert_eq!(check(Hash::ZERO, term, &[proof]), Err("file_hash_mismatch"));
    assert_eq!(check(file, term, &[file]), Err("verification_mismatch"));
    assert_eq!(check(file, term, &[]), Err("verification_count"));
    assert_eq!(
        check(
            file,
            Term {
                unpacked_bytes: 299_999,
                ..term
            },
            &[proof]
        ),
        Err("length_mismatch")
    );
    assert_eq!(
        check(
            file,
            Term {
                end: term.end + 1,
                ..term
            },
            &[proof]
        ),
        Err("chunk_range")
    );
    assert_eq!(
        check(
            file,
            Term {
                start: term.end,
                ..term
            },
            &[proof]
        ),
        Err("chunk_range")
    );
    assert_eq!(check(file, Term { xorb: proof, ..term }, &[proof]), Err("unknown_xorb"));
}

#[test]
fn a_deduplication_answer_lists_what_is_stored() {
    let sample = Sample::new();
    let (data, meta) = xorb_of(&mixture(300_000), Scheme::Lz4);
    sample.put(&meta.hash(), &data);
    let key = [3; 32];
    let answer = sample
        .store
        .dedup_shard(&[meta.hash(), Hash::ZERO, meta.hash()], key, 100, 200)
        .unwrap();
    let shard = parse(&answer).unwrap();
    assert_eq!((shard.files.len(), shard.xorbs.len()), (0, 1));
    assert_eq!(shard.xorbs[0].bytes_in_xorb, 300_000);
    assert_eq!(
        shard.xorbs[0].chunks[0].hash,
        xetway_core::hash::keyed_hash(&meta.chunks()[0].hash, &key)
    );
    let footer = shard.footer.unwrap();
    assert_eq!((footer.key, footer.created_s, footer.expiry_s), (key, 100, 200));
}

/// 40 chunks of one byte each, stored in 200,000: what is read at a time counts the stored bytes.
#[test]
fn payloads_larger_than_their_chunks_are_read_a_few_at_a_time() {
    let header = ChunkHeader {
        scheme: Scheme::Lz4,
        compressed_bytes: 200_000,
        raw_bytes: 1,
    };
    let start = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
    let empty = [0, 0, 0, 0x80].repeat((200_000 - start.len() - 9) / 4);
    let (mut data, mut chunks, mut merkle) = (Vec::new(), Vec::new(), MerkleHasher::new());
    for byte in 0..40 {
        let before = data.len();
        for part in [
            &header.to_bytes()[..],
            &start,
            &empty,
            &[1, 0, 0, 0x80, byte, 0, 0, 0, 0],
        ] {
            data.extend_from_slice(part);
        }
        let hash = chunk_hash(&[byte]);
        chunks.push((hash, 1, (data.len() - before) as u32));
        merkle.push(hash, 1);
    }
    let meta = XorbMeta::new(merkle.root(), chunks).unwrap();
    let sample = Sample::new();
    sample.put(&meta.hash(), &data);
    let mut reader = sample.store.open_file(vec![whole(&meta)], 0, 40).unwrap();
    let mut scratch = Scratch::default();
    let piece = reader.next(1_000_000, &mut scratch).unwrap();
    assert_eq!(piece, [0, 1, 2, 3, 4]);
}

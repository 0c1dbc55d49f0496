//! Xorbs: stored bytes, limits, incremental parsing.

use crate::inputs::{bell_f32, hash, hex, splitmix, text, unhex};
use proptest::prelude::*;
use xetway_core::chunker::chunks;
use xetway_core::hash::chunk_hash;
use xetway_core::xorb::{
    ChunkHeader, MAX_CHUNK_DATA_BYTES, MAX_CHUNKS, MAX_FOOTER_BYTES, XorbBuilder, XorbMeta, XorbParser, footer_bytes,
    parse_footer, parse_xorb, write_footer,
};
use xetway_core::{Error, Hash, Scheme};

const HELLO_CHUNK: &str = "000c0000000c000048656c6c6f20576f726c6421";
const HELLO_FOOTER: &str = concat!(
    "584554424c4f4201a29cfb08e608d4d8726dd8659a90b9134b3240d5d8e42d5fcb28e2a6e763a3e858424c424853480001000000a29cfb08",
    "e608d4d8726dd8659a90b9134b3240d5d8e42d5fcb28e2a6e763a3e858424c42424e440101000000140000000c000000010000005c000000",
    "300000000000000000000000000000000000000084000000",
);

/// Chunk data and description of a xorb of all kinds of chunks.
pub(crate) fn mixed() -> (Vec<u8>, XorbMeta) {
    let mut builder = XorbBuilder::new();
    for chunk in [
        b"Hello World!".to_vec(),
        text(300),
        bell_f32(100),
        splitmix(1, 50),
        vec![0; 70_000],
    ] {
        builder.push(&chunk, chunk_hash(&chunk)).unwrap();
    }
    let bell = bell_f32(100);
    builder
        .push_as(&bell, chunk_hash(&bell), Scheme::ByteGrouping4Lz4)
        .unwrap();
    builder.finish().unwrap()
}

pub(crate) fn footer_v0(meta: &XorbMeta) -> Vec<u8> {
    let mut out = b"XETBLOB\0".to_vec();
    out.extend_from_slice(meta.hash().as_bytes());
    out.extend_from_slice(&u32::try_from(meta.len()).unwrap().to_le_bytes());
    out.extend(meta.chunks().iter().flat_map(|chunk| chunk.end.to_le_bytes()));
    out.extend(meta.chunks().iter().flat_map(|chunk| *chunk.hash.as_bytes()));
    out.extend_from_slice(&[0; 16]);
    let length = u32::try_from(out.len()).unwrap();
    out.extend_from_slice(&length.to_le_bytes());
    out
}

/// Parse in pieces; also check that the sink saw every chunk as stored.
fn parse_in(pieces: usize, bytes: &[u8], expected: Option<Hash>) -> Result<XorbMeta, Error> {
    let mut parser = XorbParser::new(expected);
    let mut seen = Vec::new();
    for piece in bytes.chunks(pieces) {
        parser.push(piece, &mut |chunk| {
            assert_eq!(chunk.stored.len(), chunk.header.stored_bytes() as usize);
            assert_eq!(chunk_hash(chunk.raw), chunk.hash);
            seen.extend_from_slice(chunk.stored);
            Ok::<(), Error>(())
        })?;
        assert_eq!(parser.accepted(), seen.len() as u64);
    }
    let accepted = parser.accepted() as usize;
    let meta = parser.finish()?;
    assert_eq!(seen, bytes[..accepted]);
    Ok(meta)
}

#[test]
fn the_smallest_stored_xorb() {
    let xorb = hash("d8d408e608fb9ca213b9909a65d86d725f2de4d8d540324be8a363e7a6e228cb");
    let mut builder = XorbBuilder::new();
    builder.push(b"Hello World!", chunk_hash(b"Hello World!")).unwrap();
    let (data, meta) = builder.finish().unwrap();
    assert_eq!(hex(&data), HELLO_CHUNK);
    assert_eq!(meta.hash(), xorb);
    let mut footer = Vec::new();
    write_footer(&meta, &mut footer);
    assert_eq!(hex(&footer), HELLO_FOOTER);
    let stored = unhex(&format!("{HELLO_CHUNK}{HELLO_FOOTER}"));
    assert_eq!(parse_xorb(&stored, Some(xorb)).unwrap(), meta);
    let length = footer_bytes(*stored.last_chunk().unwrap()).unwrap();
    assert_eq!(length, 132);
    let parsed = parse_footer(&stored[stored.len() - 4 - length..stored.len() - 4]).unwrap();
    assert_eq!(parsed.into_meta().unwrap(), meta);
}

#[test]
fn offsets_and_lookups() {
    let (data, meta) = mixed();
    meta.verify_root().unwrap();
    assert_eq!(meta.len(), 6);
    assert_eq!(meta.chunk_data_bytes() as usize, data.len());
    assert_eq!(meta.raw_bytes(), 12 + 300 + 400 + 50 + 70_000 + 400);
    assert_eq!([meta.start(0), meta.start(1), meta.start(7)], [Some(0), Some(20), None]);
    assert_eq!(meta.start(6), Some(meta.chunk_data_bytes()));
    assert_eq!(
        [meta.raw_start(0), meta.raw_start(2), meta.raw_start(6)],
        [Some(0), Some(312), Some(meta.raw_bytes())]
    );
    assert_eq!(meta.chunk(2).map(xetway_core::xorb::ChunkMeta::raw_start), Some(312));
    assert_eq!(meta.range(1, 3).unwrap(), &meta.chunks()[1..3]);
    for (start, end) in [(0, 0), (3, 2), (5, 7), (6, 6), (7, 9), (u32::MAX, 0), (0, u32::MAX)] {
        let wanted = Error::ChunkRange {
            xorb: meta.hash(),
            start,
            end,
            chunks: 6,
        };
        assert_eq!(meta.range(start, end), Err(wanted));
    }
    let again = meta.chunks().iter().scan(0, |before, chunk| {
        let stored = chunk.end - *before;
        *before = chunk.end;
        Some((chunk.hash, chunk.raw_bytes, stored))
    });
    assert_eq!(XorbMeta::new(meta.hash(), again).unwrap(), meta);
}

#[test]
fn all_forms_parse_in_pieces_of_any_size() {
    let (data, meta) = mixed();
    let mut footer = Vec::new();
    write_footer(&meta, &mut footer);
    // Servers put a nonce into the reserved bytes.
    let mut nonce = footer.clone();
    let at = nonce.len() - 20;
    nonce[at..at + 4].copy_from_slice(&[1, 2, 3, 4]);
    for tail in [vec![], footer, nonce, footer_v0(&meta)] {
        let bytes = [&data[..], &tail].concat();
        for pieces in [1, 2, 7, 8, 9, 37, 255, 1000, bytes.len()] {
            assert_eq!(
                parse_in(pieces, &bytes, Some(meta.hash())).unwrap(),
                meta,
                "pieces of {pieces}"
            );
        }
    }
}

#[test]
fn a_footer_of_version_0_holds_no_lengths() {
    let (_, meta) = mixed();
    let bytes = footer_v0(&meta);
    let footer = parse_footer(&bytes[..bytes.len() - 4]).unwrap();
    assert_eq!((footer.version, footer.raw_ends.is_none()), (0, true));
    assert_eq!(footer.into_meta().unwrap_err().code(), "footer_version");
}

#[test]
fn footer_lengths() {
    for (length, wanted) in [(95, Err("footer_length")), (96, Ok(96)), (132, Ok(132))] {
        assert_eq!(
            footer_bytes(u32::to_le_bytes(length)).map_err(|error| error.code()),
            wanted
        );
    }
    let longest = MAX_FOOTER_BYTES - 4;
    assert_eq!(longest, 92 + 40 * 8192);
    assert!(footer_bytes(u32::try_from(longest).unwrap().to_le_bytes()).is_ok());
    assert!(footer_bytes(u32::try_from(longest + 1).unwrap().to_le_bytes()).is_err());
    assert!(footer_bytes([0xff; 4]).is_err());
}

#[test]
fn a_wrong_root_is_named() {
    let (data, meta) = mixed();
    let error = parse_xorb(&data, Some(Hash::ZERO)).unwrap_err();
    assert_eq!(error.code(), "xorb_hash");
    let wanted = Error::HashMismatch {
        what: "xorb",
        expected: Hash::ZERO,
        actual: meta.hash(),
        offset: 0,
        code: "xorb_hash",
    };
    assert_eq!(error, wanted);
    let claimed = XorbMeta::new(Hash::ZERO, [(meta.hash(), 5, 13)]).unwrap();
    assert_eq!(claimed.verify_root().unwrap_err().code(), "xorb_hash");
}

#[test]
fn no_chunks_is_an_error() {
    assert_eq!(parse_xorb(&[], None).unwrap_err().code(), "xorb_empty");
    assert_eq!(XorbBuilder::new().finish().unwrap_err().code(), "xorb_empty");
    assert_eq!(XorbMeta::new(Hash::ZERO, []).unwrap_err().code(), "xorb_empty");
    let mut footer = unhex(HELLO_FOOTER);
    footer.truncate(132);
    assert_eq!(parse_xorb(&footer, None).unwrap_err().code(), "xorb_trailing_bytes");
}

#[test]
fn at_most_8192_chunks() {
    let chunk = unhex("0001000000010000aa");
    let full = chunk.repeat(MAX_CHUNKS);
    let meta = parse_xorb(&full, None).unwrap();
    assert_eq!(meta.len(), MAX_CHUNKS);
    let mut footer = Vec::new();
    write_footer(&meta, &mut footer);
    assert_eq!(footer.len(), MAX_FOOTER_BYTES);
    assert_eq!(
        parse_xorb(&[&full[..], &footer].concat(), Some(meta.hash())).unwrap(),
        meta
    );
    let error = parse_xorb(&[&full[..], &chunk].concat(), None).unwrap_err();
    assert_eq!((error.code(), error.offset()), ("xorb_chunks", Some(full.len() as u64)));
    let mut builder = XorbBuilder::new();
    for _ in 0..MAX_CHUNKS {
        assert!(builder.fits(1));
        builder.push(&[0xaa], meta.chunks()[0].hash).unwrap();
    }
    assert!(!builder.fits(1));
    assert_eq!(builder.push(&[0xaa], Hash::ZERO).unwrap_err().code(), "xorb_chunks");
    assert_eq!(builder.finish().unwrap(), (full, meta));
}

#[test]
fn at_most_64_mib_of_raw_bytes() {
    assert_eq!(MAX_CHUNK_DATA_BYTES, 67_174_400);
    let chunk = vec![0; 131_072];
    let mut builder = XorbBuilder::new();
    for index in 0..512 {
        assert_eq!(builder.push(&chunk, Hash::ZERO).unwrap(), index);
    }
    assert!(!builder.fits(1));
    assert_eq!(builder.push(&[1], Hash::ZERO).unwrap_err().code(), "xorb_raw_bytes");
    let (data, meta) = builder.finish().unwrap();
    assert_eq!(meta.raw_bytes(), 67_108_864);
    let full = parse_xorb(&data, None).unwrap();
    assert_eq!(full.raw_bytes(), 67_108_864);
    let more = [&data[..], &unhex("0001000000010000")].concat();
    let error = parse_xorb(&more, None).unwrap_err();
    assert_eq!(
        (error.code(), error.offset()),
        ("xorb_raw_bytes", Some(data.len() as u64))
    );
}

/// The stated lengths are refused before any payload is waited for.
#[test]
fn headers_out_of_limits() {
    for (header, code, offset) in [
        ("0100000000010000", "chunk_version", 0),
        ("ff", "chunk_version", 0),
        ("5800", "chunk_version", 0),
        ("0001000003010000", "bad_scheme", 4),
        ("0001000063010000", "bad_scheme", 4),
        ("0000000000010000", "chunk_empty", 1),
        ("0001000000000000", "chunk_empty", 5),
        ("0001000400010000", "chunk_too_large", 1),
        ("0001000000010002", "chunk_too_large", 5),
        ("0000000400000002", "", 0),
    ] {
        let bytes = [unhex(HELLO_CHUNK), unhex(header)].concat();
        let mut parser = XorbParser::new(None);
        let outcome = parser.push(&bytes, &mut |_| Ok::<(), Error>(()));
        if code.is_empty() {
            outcome.unwrap();
            assert_eq!(parser.finish().unwrap_err().code(), "truncated");
        } else {
            let error = outcome.unwrap_err();
            assert_eq!((error.code(), error.offset()), (code, Some(20 + offset)), "{header}");
        }
    }
    let largest = ChunkHeader {
        scheme: Scheme::Lz4,
        compressed_bytes: 262_144,
        raw_bytes: 131_072,
    };
    assert_eq!(ChunkHeader::parse(&largest.to_bytes()).unwrap(), largest);
}

/// The error type of a receiver.
#[derive(Debug, PartialEq)]
enum Own {
    Full,
    Core(Error),
}
impl From<Error> for Own {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}

#[test]
fn a_failed_parser_stays_failed() {
    let (data, _) = mixed();
    let mut parser = XorbParser::new(None);
    let error = parser.push(b"\x01", &mut |_| Ok::<(), Error>(())).unwrap_err();
    assert_eq!(parser.push(&data, &mut |_| Ok::<(), Error>(())).unwrap_err(), error);
    assert_eq!(parser.finish().unwrap_err(), error);

    let mut parser = XorbParser::new(None);
    assert_eq!(parser.push(&data, &mut |_| Err(Own::Full)), Err(Own::Full));
    let again = parser.push(&data, &mut |_| Ok::<(), Own>(()));
    assert!(matches!(again, Err(Own::Core(error)) if error.code() == "parser_stopped"));
    assert_eq!(parser.finish().unwrap_err().code(), "parser_stopped");
}

/// One byte at a time costs about as much as all at once: nothing is parsed or copied again.
#[test]
fn many_small_pushes_copy_each_byte_once() {
    let mut builder = XorbBuilder::new();
    let noise = splitmix(6, 2_000_000);
    for chunk in chunks(&noise) {
        builder.push(chunk, chunk_hash(chunk)).unwrap();
    }
    let (data, meta) = builder.finish().unwrap();
    let mut parser = XorbParser::new(Some(meta.hash()));
    let mut calls = 0;
    for byte in data.chunks(1) {
        parser
            .push(byte, &mut |_| {
                calls += 1;
                Ok::<(), Error>(())
            })
            .unwrap();
    }
    assert_eq!(calls, meta.len());
    assert_eq!(parser.finish().unwrap(), meta);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn built_xorbs_parse_to_what_was_built(
        parts in prop::collection::vec((any::<u64>(), 1_usize..9000, any::<u8>()), 1..12),
        pieces in 1_usize..5000,
        with_footer: bool,
    ) {
        let mut builder = XorbBuilder::new();
        let mut raw = Vec::new();
        for (seed, length, mask) in parts {
            let chunk: Vec<u8> = splitmix(seed, length).into_iter().map(|byte| byte & mask).collect();
            builder.push(&chunk, chunk_hash(&chunk)).unwrap();
            raw.push(chunk);
        }
        let (mut data, meta) = builder.finish().unwrap();
        if with_footer {
            write_footer(&meta, &mut data);
        }
        let mut parser = XorbParser::new(Some(meta.hash()));
        let mut seen = Vec::new();
        for piece in data.chunks(pieces) {
            parser.push(piece, &mut |chunk| { seen.push(chunk.raw.to_vec()); Ok::<(), Error>(()) }).unwrap();
        }
        prop_assert_eq!(seen, raw);
        prop_assert_eq!(parser.finish().unwrap(), meta);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), prefix in 0_usize..160) {
        let (mut data, _) = mixed();
        data.truncate(prefix);
        data.extend_from_slice(&bytes);
        let _ = parse_xorb(&data, None);
        let _ = parse_footer(&bytes);
        let _ = parse_footer(&[b"XETBLOB\x01", &bytes[..]].concat());
    }
}

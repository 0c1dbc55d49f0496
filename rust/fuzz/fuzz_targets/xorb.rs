//! Any bytes parse the same in pieces as whole; what parses is described by a footer that parses to
//! the same description; what is built parses to what was built.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xetway_core::hash::chunk_hash;
use xetway_core::xorb::{XorbBuilder, XorbMeta, XorbParser, parse_footer, parse_xorb, write_footer};
use xetway_core::{Error, Result};

const FOOTER_RESERVED_BYTES: usize = 16;
const LENGTH_BYTES: usize = 4;

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (piece_bytes, build, bytes) = input;
    let piece_bytes = usize::from(piece_bytes).max(1);
    footer(bytes);
    if build {
        footer(&[b"XETBLOB", bytes].concat());
        built(bytes, piece_bytes);
    }
    parsed(bytes, piece_bytes);
});

fn parsed(bytes: &[u8], piece_bytes: usize) {
    let whole = parse_xorb(bytes, None);
    assert_eq!(in_pieces(bytes, piece_bytes).is_ok(), whole.is_ok());
    let Ok(meta) = whole else { return };
    meta.verify_root().unwrap();
    let data = &bytes[..meta.chunk_data_bytes() as usize];
    let mut stored = data.to_vec();
    write_footer(&meta, &mut stored);
    assert_eq!(parse_xorb(&stored, Some(meta.hash())), Ok(meta.clone()));
    assert_eq!(in_pieces(&stored, piece_bytes), Ok(meta.clone()));
    let footer = &stored[data.len()..stored.len() - LENGTH_BYTES];
    assert_eq!(parse_footer(footer).unwrap().into_meta(), Ok(meta));
}

fn in_pieces(bytes: &[u8], piece_bytes: usize) -> Result<XorbMeta> {
    let mut parser = XorbParser::new(None);
    let mut stored = Vec::new();
    for piece in bytes.chunks(piece_bytes) {
        parser.push(piece, &mut |chunk| {
            assert_eq!(chunk_hash(chunk.raw), chunk.hash);
            assert_eq!(chunk.raw.len(), chunk.header.raw_bytes as usize);
            stored.extend_from_slice(chunk.stored);
            Ok::<(), Error>(())
        })?;
    }
    let meta = parser.finish()?;
    assert!(bytes.starts_with(&stored));
    assert_eq!(stored.len(), meta.chunk_data_bytes() as usize);
    Ok(meta)
}

fn footer(bytes: &[u8]) {
    let Ok(meta) = parse_footer(bytes).and_then(xetway_core::xorb::Footer::into_meta) else {
        return;
    };
    let mut again = Vec::new();
    write_footer(&meta, &mut again);
    again.truncate(again.len() - LENGTH_BYTES);
    let meaning = bytes.len() - FOOTER_RESERVED_BYTES;
    assert_eq!(again.len(), bytes.len());
    assert_eq!(again[..meaning], bytes[..meaning]);
}

fn built(bytes: &[u8], piece_bytes: usize) {
    let mut builder = XorbBuilder::new();
    for chunk in bytes.chunks(piece_bytes) {
        builder.push(chunk, chunk_hash(chunk)).unwrap();
    }
    if let Ok((data, meta)) = builder.finish() {
        assert_eq!(in_pieces(&data, piece_bytes), Ok(meta));
    }
}

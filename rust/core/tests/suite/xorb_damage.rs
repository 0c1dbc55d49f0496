//! Damaged xorbs: cut at every byte, every bit flipped, fields that lie.

use crate::xorb::{footer_v0, mixed};
use xetway_core::hash::chunk_hash;
use xetway_core::xorb::{XorbBuilder, XorbMeta, parse_footer, parse_xorb, write_footer};

/// Small enough to try every bit: two chunks, one of them compressed.
fn small() -> (Vec<u8>, XorbMeta) {
    let mut builder = XorbBuilder::new();
    for chunk in [&b"Hello World!"[..], &[7; 60], &b"12345678".repeat(20)] {
        builder.push(chunk, chunk_hash(chunk)).unwrap();
    }
    builder.finish().unwrap()
}

fn with_v1(data: &[u8], meta: &XorbMeta) -> Vec<u8> {
    let mut bytes = data.to_vec();
    write_footer(meta, &mut bytes);
    bytes
}

#[test]
fn every_truncation_fails() {
    let (data, meta) = mixed();
    let plain = data.len();
    let ends: Vec<usize> = meta.chunks().iter().map(|chunk| chunk.end as usize).collect();
    for tail in [vec![], with_v1(&[], &meta), footer_v0(&meta)] {
        let bytes = [&data[..], &tail].concat();
        for length in 0..bytes.len() {
            let outcome = parse_xorb(&bytes[..length], Some(meta.hash()));
            if length == plain {
                // The footer cut off whole is the upload form.
                assert_eq!(outcome.unwrap(), meta);
                continue;
            }
            let code = outcome.unwrap_err().code();
            match length {
                0 => assert_eq!(code, "xorb_empty"),
                _ if ends.contains(&length) => assert_eq!(code, "xorb_hash"),
                _ if length < plain => assert_eq!(code, "truncated"),
                _ => assert!(
                    ["truncated", "footer_length", "footer_offsets"].contains(&code),
                    "{code}"
                ),
            }
        }
    }
}

#[test]
fn every_extension_fails() {
    let (data, meta) = small();
    for tail in [vec![], with_v1(&[], &meta), footer_v0(&meta)] {
        for extra in [&[0][..], &[0; 8], &[0x58], b"XETBLOB", &[0xff; 4096]] {
            let bytes = [&data[..], &tail, extra].concat();
            assert!(parse_xorb(&bytes, Some(meta.hash())).is_err());
        }
    }
}

/// A flipped bit fails, or is in a place without meaning and changes nothing.
#[test]
fn every_flipped_bit_fails_or_means_nothing() {
    let (data, meta) = small();
    let footers = [vec![], with_v1(&[], &meta), footer_v0(&meta)];
    for tail in footers {
        let bytes = [&data[..], &tail].concat();
        let reserved = bytes.len().saturating_sub(20)..bytes.len().saturating_sub(4);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let outcome = parse_xorb(&damaged, Some(meta.hash()));
            if bit / 8 >= data.len() && reserved.contains(&(bit / 8)) {
                assert_eq!(outcome.unwrap(), meta);
            } else if let Ok(other) = outcome {
                // Another encoding of the same chunk: every hash is still the one wanted.
                let hashes = |meta: &XorbMeta| meta.chunks().iter().map(|chunk| chunk.hash).collect::<Vec<_>>();
                assert_eq!(hashes(&other), hashes(&meta));
                assert!(bit / 8 < data.len(), "byte {} of the footer", bit / 8 - data.len());
            }
        }
    }
}

#[test]
fn the_footer_alone_survives_no_lie() {
    let (data, meta) = small();
    let stored = with_v1(&data, &meta);
    let footer = &stored[data.len()..stored.len() - 4];
    for byte in 0..footer.len() - 16 {
        for bit in 0..8 {
            let mut damaged = footer.to_vec();
            damaged[byte] ^= 1 << bit;
            let outcome = parse_footer(&damaged).and_then(xetway_core::xorb::Footer::into_meta);
            if let Ok(other) = outcome {
                assert_ne!(other, meta);
                assert!(other.verify_root().is_err() || other.hash() != meta.hash() || same_root(&other, &meta));
            }
        }
    }
    for length in 0..footer.len() {
        assert!(parse_footer(&footer[..length]).is_err());
    }
    assert_eq!(
        parse_footer(&[footer, &[0]].concat()).unwrap_err().code(),
        "footer_offsets"
    );
}

/// Ends in the chunk data are not part of the hash: only reading the chunks proves them.
fn same_root(one: &XorbMeta, other: &XorbMeta) -> bool {
    let hashed = |meta: &XorbMeta| {
        meta.chunks()
            .iter()
            .map(|chunk| (chunk.hash, chunk.raw_bytes))
            .collect::<Vec<_>>()
    };
    hashed(one) == hashed(other)
}

#[test]
fn counts_that_lie_allocate_nothing() {
    let (data, meta) = small();
    let stored = with_v1(&data, &meta);
    let footer = &stored[data.len()..stored.len() - 4];
    for (count, code) in [
        (0_u32, "footer_ident"),
        (2, "footer_ident"),
        (8192, "truncated"),
        (8193, "xorb_chunks"),
    ] {
        let mut damaged = footer.to_vec();
        damaged[48..52].copy_from_slice(&count.to_le_bytes());
        assert_eq!(parse_footer(&damaged).unwrap_err().code(), code);
    }
    let mut damaged = footer.to_vec();
    damaged[48..52].copy_from_slice(&[0xff; 4]);
    assert_eq!(parse_footer(&damaged).unwrap_err().code(), "xorb_chunks");
}

//! Schemes: choice, fallback, limits.

use crate::inputs::{bell_bf16, bell_f32, splitmix, text};
use xetway_core::codec::{Decoder, Encoder, choose, compress, decompress_into, encode_chunk};
use xetway_core::xorb::ChunkHeader;
use xetway_core::{Error, Scheme};

const SCHEMES: [Scheme; 3] = [Scheme::None, Scheme::Lz4, Scheme::ByteGrouping4Lz4];

fn chunk(data: &[u8]) -> (ChunkHeader, Vec<u8>) {
    let mut out = vec![0xaa; 3];
    let header = encode_chunk(data, &mut out).unwrap();
    assert_eq!(out[..3], [0xaa; 3]);
    let stored = out.split_off(3);
    assert_eq!(stored.len(), header.stored_bytes() as usize);
    assert_eq!(ChunkHeader::parse(stored.first_chunk().unwrap()).unwrap(), header);
    (header, stored)
}

#[test]
fn scheme_numbers() {
    for (number, scheme) in (0..).zip(SCHEMES) {
        assert_eq!(Scheme::try_from(number), Ok(scheme));
        assert_eq!(scheme as u8, number);
    }
    for number in 3..=255 {
        assert_eq!(
            Scheme::try_from(number),
            Err(Error::BadScheme {
                scheme: number,
                offset: 0
            })
        );
    }
}

#[test]
fn every_scheme_round_trips_and_knows_its_length() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    for data in [
        vec![],
        vec![1],
        text(10_001),
        bell_f32(5_000),
        splitmix(2, 131_072),
        vec![0; 131_071],
    ] {
        for scheme in SCHEMES {
            let mut payload = Vec::new();
            compress(&data, scheme, &mut payload);
            let mut again = Vec::new();
            encoder.compress(&data, scheme, &mut again);
            assert_eq!(payload, again);
            for length in [data.len(), data.len() + 1, data.len().saturating_sub(1)] {
                let mut out = vec![0xee; length];
                let outcome = decoder.decompress_into(scheme, &payload, &mut out);
                assert_eq!(outcome, decompress_into(scheme, &payload, &mut out));
                if length == data.len() {
                    assert_eq!(out, data);
                } else {
                    assert_eq!(outcome.unwrap_err().code(), "decoded_length");
                }
            }
        }
    }
}

/// Sizes of the deployed client, whose block codec is the same.
#[test]
fn stored_sizes() {
    for (data, scheme, compressed) in [
        (vec![0; 100], Scheme::Lz4, 27),
        (vec![b'a'; 40], Scheme::Lz4, 27),
        (vec![0; 8192], Scheme::Lz4, 59),
        (vec![0; 70_000], Scheme::Lz4, 301),
        (vec![0; 131_072], Scheme::Lz4, 540),
        (vec![0], Scheme::None, 1),
        (vec![b'a'; 15], Scheme::None, 15),
        (vec![b'a'; 20], Scheme::None, 20),
        (b"Hello World!".to_vec(), Scheme::None, 12),
    ] {
        let (header, _) = chunk(&data);
        assert_eq!(
            (header.scheme, header.compressed_bytes),
            (scheme, compressed),
            "{} bytes",
            data.len()
        );
    }
}

#[test]
fn choice_by_kind_of_data() {
    for length in [8192, 20_000, 65_536, 131_072] {
        assert_eq!(choose(&splitmix(8, length)), Scheme::None);
        assert_eq!(choose(&bell_f32(length / 4)), Scheme::ByteGrouping4Lz4);
        assert_eq!(choose(&bell_bf16(length / 2)), Scheme::ByteGrouping4Lz4);
        assert_eq!(choose(&text(length)), Scheme::Lz4);
        assert_eq!(choose(&vec![0; length]), Scheme::Lz4);
    }
    assert_eq!(choose(&[]), Scheme::Lz4);
}

/// A histogram cannot see repeats: the trial can.
#[test]
fn repeated_noise_is_compressed() {
    let data = splitmix(8, 4096).repeat(16);
    let (header, _) = chunk(&data);
    assert_eq!(header.scheme, Scheme::Lz4);
    assert!(header.compressed_bytes < 6000);
}

#[test]
fn a_chunk_is_never_larger_than_its_raw_bytes() {
    let inputs = (1..200)
        .map(|length| splitmix(1, length))
        .chain([bell_f32(3000), text(99), splitmix(3, 131_072)]);
    for data in inputs {
        let (header, stored) = chunk(&data);
        assert!(header.compressed_bytes <= header.raw_bytes);
        assert_eq!(
            header.compressed_bytes == header.raw_bytes,
            header.scheme == Scheme::None
        );
        let mut out = vec![0; data.len()];
        decompress_into(header.scheme, &stored[8..], &mut out).unwrap();
        assert_eq!(out, data);
        for scheme in SCHEMES {
            let mut out = Vec::new();
            let header = Encoder::new().encode_chunk_as(&data, scheme, &mut out).unwrap();
            assert!(header.scheme == scheme || header.scheme == Scheme::None);
            assert!(out.len() <= data.len() + 8);
        }
    }
}

#[test]
fn a_chunk_has_between_one_byte_and_128_kib() {
    let mut out = Vec::new();
    assert_eq!(encode_chunk(&[], &mut out).unwrap_err().code(), "chunk_empty");
    assert_eq!(
        encode_chunk(&[0; 131_073], &mut out).unwrap_err().code(),
        "chunk_too_large"
    );
    assert!(out.is_empty());
}

//! Any payload decodes to exactly the length asked for or fails, and never writes outside it; where
//! the frame layer of `lz4_flex` accepts a frame too, both say the same, and of any block both say
//! the same whether or not it is good; what is encoded decodes, with `lz4_flex` too.
#![no_main]

use std::io::Read as _;

use libfuzzer_sys::fuzz_target;
use lz4_flex::block::DecompressError;
use xetway_core::codec::{self, Encoder};
use xetway_core::xorb::ChunkHeader;
use xetway_core::{Error, MAX_CHUNK_BYTES, Scheme, bg4, lz4};

const SCHEMES: [Scheme; 3] = [Scheme::None, Scheme::Lz4, Scheme::ByteGrouping4Lz4];
const GUARD_BYTES: usize = 64;

fuzz_target!(|input: (u32, Option<(u8, u8)>, &[u8])| {
    let (length, descriptor, bytes) = input;
    let length = length as usize % (MAX_CHUNK_BYTES + 2);
    let payload = match descriptor {
        Some(descriptor) => with_header(descriptor, bytes),
        None => bytes.to_vec(),
    };
    for scheme in SCHEMES {
        decode(scheme, &payload, length);
    }
    block(bytes, length, descriptor.is_some_and(|(flags, _)| flags & 0x20 == 0));
    round_trip(bytes);
});

/// A correct frame header, so that the blocks are reached.
fn with_header((flags, sizes): (u8, u8), bytes: &[u8]) -> Vec<u8> {
    // Checksums of blocks and content would hide the decoder from the fuzzer.
    let descriptor = [0x40 | (flags & 0x20), 0x40 | (sizes & 0x30)];
    let check: u8 = match descriptor {
        [0x40, 0x40] => 0xc0,
        [0x40, 0x50] => 0x77,
        [0x40, 0x60] => 0x96,
        [0x40, 0x70] => 0xdf,
        [_, 0x40] => 0x82,
        [_, 0x50] => 0xfb,
        [_, 0x60] => 0x51,
        _ => 0x73,
    };
    [&[0x04, 0x22, 0x4d, 0x18][..], &descriptor, &[check], bytes].concat()
}

fn decode(scheme: Scheme, payload: &[u8], length: usize) {
    let mut buffer = vec![0xa5; GUARD_BYTES + length + GUARD_BYTES];
    let dst = &mut buffer[GUARD_BYTES..GUARD_BYTES + length];
    let decoded = codec::decompress_into(scheme, payload, dst).is_ok();
    if decoded && scheme == Scheme::Lz4 {
        let mut peer = Vec::new();
        let limit = length as u64 + 1;
        if lz4_flex::frame::FrameDecoder::new(payload)
            .take(limit)
            .read_to_end(&mut peer)
            .is_ok()
        {
            assert_eq!(&buffer[GUARD_BYTES..GUARD_BYTES + length], &peer[..]);
        }
    }
    assert!(
        buffer[..GUARD_BYTES]
            .iter()
            .chain(&buffer[GUARD_BYTES + length..])
            .all(|byte| *byte == 0xa5)
    );
}

/// The first bytes are what a linked block may refer to, the rest is the block.
fn block(bytes: &[u8], length: usize, linked: bool) {
    let (window, block) = bytes.split_at(bytes.len().min(if linked { 40 } else { 0 }));
    if block.is_empty() || length < window.len() {
        return;
    }
    let mut frame = vec![0x04, 0x22, 0x4d, 0x18];
    frame.extend_from_slice(if linked {
        &[0x40, 0x50, 0x77]
    } else {
        &[0x60, 0x50, 0xfb]
    });
    for (bytes, stored) in [(window, 1 << 31), (block, 0)] {
        frame.extend_from_slice(&(bytes.len() as u32 | stored).to_le_bytes());
        frame.extend_from_slice(bytes);
    }
    frame.extend_from_slice(&[0; 4]);

    let mut peer = vec![0; length - window.len()];
    let peer_outcome = lz4_flex::block::decompress_into_with_dict(block, &mut peer, window);
    let mut exact = vec![0; length];
    let outcome = lz4::decode(&frame, &mut exact);
    let code = match peer_outcome {
        Ok(bytes) if bytes == peer.len() => {
            assert_eq!(exact, [window, &peer].concat());
            "none"
        }
        Ok(_) | Err(DecompressError::OutputTooSmall { .. }) => "decoded_length",
        Err(_) => "lz4_block",
    };
    assert_eq!(outcome.as_ref().map_or_else(Error::code, |()| "none"), code);
    // Where there is room after the destination, copies are made in another way.
    let mut merged = vec![0; length];
    let mut grouped = vec![0; length];
    assert_eq!(
        codec::decompress_into(Scheme::ByteGrouping4Lz4, &frame, &mut merged),
        outcome
    );
    if outcome.is_ok() {
        assert!(bg4::split(&merged, &mut grouped));
        assert_eq!(grouped, exact);
    }
}

fn round_trip(data: &[u8]) {
    let mut encoder = Encoder::new();
    let chosen = encoder.choose(data);
    for scheme in SCHEMES.into_iter().chain([chosen]) {
        let mut out = Vec::new();
        let Ok(header) = encoder.encode_chunk_as(data, scheme, &mut out) else {
            assert!(data.is_empty() || data.len() > MAX_CHUNK_BYTES);
            continue;
        };
        assert!(header.compressed_bytes <= header.raw_bytes);
        assert_eq!(ChunkHeader::parse(out.first_chunk().unwrap()), Ok(header));
        let mut back = vec![0; data.len()];
        codec::decompress_into(header.scheme, &out[ChunkHeader::BYTES..], &mut back).unwrap();
        assert_eq!(back, data);
    }
    // As planes: any data may be in them.
    let mut frame = Vec::new();
    lz4::Encoder::default().encode_planes(data, &mut frame);
    let mut back = vec![0; data.len()];
    lz4::decode(&frame, &mut back).unwrap();
    assert_eq!(back, data);
    let mut peer = Vec::new();
    lz4_flex::frame::FrameDecoder::new(&frame[..])
        .read_to_end(&mut peer)
        .unwrap();
    assert_eq!(peer, data);
}

//! The LZ4 block decoder against a plain definition and against the one of `lz4_flex`, on good blocks and bad ones.

use crate::inputs::{bell_f32, splitmix, text};
use lz4_flex::block::{DecompressError, compress, decompress_into_with_dict};
use proptest::prelude::*;
use xetway_core::codec::Decoder;
use xetway_core::lz4::decode;
use xetway_core::{Error, Scheme};

/// One sequence: literals, and the offset and length of a match.
type Sequence<'a> = (&'a [u8], Option<(u16, usize)>);

const MAX_BLOCK_BYTES: usize = 256 << 10;

fn put_length(block: &mut Vec<u8>, length: usize) {
    if let Some(mut more) = length.checked_sub(15) {
        while more >= 255 {
            block.push(255);
            more -= 255;
        }
        block.push(more as u8);
    }
}

fn block_of(sequences: &[Sequence<'_>]) -> Vec<u8> {
    let mut block = Vec::new();
    for (literals, matched) in sequences {
        let extra = matched.map_or(0, |(_, length)| length - 4);
        block.push((literals.len().min(15) << 4 | extra.min(15)) as u8);
        put_length(&mut block, literals.len());
        block.extend_from_slice(literals);
        if let Some((offset, _)) = matched {
            block.extend_from_slice(&offset.to_le_bytes());
            put_length(&mut block, extra);
        }
    }
    block
}

fn content_of(window: &[u8], sequences: &[Sequence<'_>]) -> Vec<u8> {
    let mut content = window.to_vec();
    for (literals, matched) in sequences {
        content.extend_from_slice(literals);
        if let Some((offset, length)) = matched {
            for _ in 0..*length {
                content.push(content[content.len() - usize::from(*offset)]);
            }
        }
    }
    content
}

/// A frame of blocks up to 256 KiB: `window` stored, if there is any, and then `block`.
fn frame_of(window: &[u8], block: &[u8], linked: bool) -> Vec<u8> {
    let mut frame = vec![0x04, 0x22, 0x4d, 0x18];
    frame.extend_from_slice(if linked {
        &[0x40, 0x50, 0x77]
    } else {
        &[0x60, 0x50, 0xfb]
    });
    if !window.is_empty() {
        frame.extend_from_slice(&(window.len() as u32 | 1 << 31).to_le_bytes());
        frame.extend_from_slice(window);
    }
    frame.extend_from_slice(&(block.len() as u32).to_le_bytes());
    frame.extend_from_slice(block);
    frame.extend_from_slice(&[0; 4]);
    frame
}

/// What the peer makes of a block after `window`: content, or error code and how much it would have been.
fn peer(window: &[u8], block: &[u8], length: usize, linked: bool) -> Result<Vec<u8>, (&'static str, usize)> {
    let mut out = vec![0xee; (length - window.len()).min(MAX_BLOCK_BYTES)];
    let dictionary = if linked { window } else { &[] };
    match decompress_into_with_dict(block, &mut out, &dictionary[dictionary.len().saturating_sub(65_536)..]) {
        Ok(bytes) if window.len() + bytes == length => Ok([window, &out].concat()),
        Ok(bytes) => Err(("decoded_length", window.len() + bytes)),
        Err(DecompressError::OutputTooSmall { expected, .. }) => Err(("decoded_length", window.len() + expected)),
        Err(_) => Err(("lz4_block", 0)),
    }
}

fn flat(error: &Error) -> (&'static str, usize) {
    match error {
        Error::LengthMismatch { code, actual, .. } => (code, *actual as usize),
        _ => (error.code(), 0),
    }
}

/// What we make of it, where the destination has no byte to spare and where it has room; it must be the same.
fn ours(window: &[u8], block: &[u8], length: usize, linked: bool) -> Result<Vec<u8>, (&'static str, usize)> {
    const GUARD: usize = 40;
    let frame = frame_of(window, block, linked);
    let mut out = vec![0xee; length + GUARD];
    let exact = decode(&frame, &mut out[..length]);
    assert!(out[length..].iter().all(|byte| *byte == 0xee));
    out.truncate(length);
    let mut merged = vec![0xee; length];
    let roomy = Decoder::new().decompress_into(Scheme::ByteGrouping4Lz4, &frame, &mut merged);
    assert_eq!(exact, roomy);
    exact.map_err(|error| flat(&error))?;
    let mut grouped = vec![0; length];
    assert!(xetway_core::bg4::split(&merged, &mut grouped));
    assert_eq!(grouped, out);
    Ok(out)
}

fn check(window: &[u8], sequences: &[Sequence<'_>]) {
    let wanted = content_of(window, sequences);
    let block = block_of(sequences);
    assert_eq!(ours(window, &block, wanted.len(), true), Ok(wanted));
}

#[test]
fn matches_of_every_offset_and_length_at_every_distance_from_the_end() {
    let literals = splitmix(1, 64);
    let lengths = (4..=70).chain([255, 256, 257, 273, 274, 275, 300, 529, 1000]);
    for length in lengths {
        for offset in 1..=64 {
            for tail in [0, 1, 14, 15, 31, 32, 33, 60, 70, 170] {
                let tail = vec![7; tail];
                check(&[], &[(&literals, Some((offset, length))), (&tail, None)]);
            }
        }
    }
}

#[test]
fn literals_of_every_length() {
    let bytes = splitmix(2, 2000);
    for length in (0..=600).chain([1020, 1035, 1290]) {
        for tail in [0, 13, 100] {
            let (literals, rest) = bytes.split_at(length);
            let tail = &rest[..tail];
            check(
                b"window",
                &[(b"", Some((6, 20))), (literals, Some((3, 5))), (tail, None)],
            );
        }
    }
}

#[test]
fn many_sequences_with_each_offset() {
    let bytes = splitmix(3, 4000);
    let mut sequences: Vec<Sequence<'_>> = vec![(&bytes[..40], Some((40, 4)))];
    for (index, literals) in bytes[40..].chunks(9).enumerate() {
        let offset = (index % 40 + 1) as u16;
        sequences.push((
            &literals[..index % 9.min(literals.len())],
            Some((offset, 4 + index % 23)),
        ));
    }
    sequences.push((b"the end", None));
    for start in 0..30 {
        check(&bytes[..40], &sequences[start..]);
    }
}

#[test]
fn an_offset_reaches_to_the_first_byte_and_no_further() {
    for room in [0, 200] {
        let tail = vec![1; room];
        for (window, linked) in [(0, true), (100, true), (100, false), (65_000, true)] {
            let window = splitmix(4, window);
            let start = if linked { window.len() } else { 0 };
            for literals in [0, 5, 14, 15, 40, 300] {
                let literals = splitmix(5, literals);
                let reach = start + literals.len();
                for offset in [0, 1, reach.saturating_sub(1), reach, reach + 1, reach + 20, 65_535] {
                    for length in [4, 18, 19, 40, 500] {
                        let sequences = [(&literals[..], Some((offset as u16, length))), (&tail[..], None)];
                        let block = block_of(&sequences);
                        let total = window.len() + literals.len() + length + room;
                        let outcome = ours(&window, &block, total, linked);
                        assert_eq!(outcome.is_ok(), (1..=reach).contains(&offset), "{offset} of {reach}");
                        assert_eq!(outcome, peer(&window, &block, total, linked));
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_refused_is_what_the_peer_refuses() {
    let data = [text(900), splitmix(6, 300), vec![0; 700], bell_f32(100), text(300)].concat();
    let block = compress(&data);
    for length in (0..data.len() + 50).step_by(7) {
        assert_eq!(ours(&[], &block, length, false), peer(&[], &block, length, false));
    }
    for end in 1..block.len() {
        let cut = &block[..end];
        assert_eq!(ours(&[], cut, data.len(), false), peer(&[], cut, data.len(), false));
    }
    for bit in 0..block.len() * 8 {
        let mut damaged = block.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            ours(b"before", &damaged, 6 + data.len(), true),
            peer(b"before", &damaged, 6 + data.len(), true),
            "bit {bit}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn damaged_blocks_end_as_with_the_peer(
        seed: u64,
        length in 1_usize..6000,
        mask: u8,
        window in 0_usize..300,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        more in 0_usize..80,
    ) {
        let data: Vec<u8> = splitmix(seed, length).into_iter().map(|byte| byte & mask & 0x1f).collect();
        let mut block = compress(&data);
        for (index, byte) in damage {
            let index = index.index(block.len());
            block[index] = byte;
        }
        let window = splitmix(seed, window);
        for linked in [false, true] {
            let length = window.len() + length + more;
            prop_assert_eq!(ours(&window, &block, length, linked), peer(&window, &block, length, linked));
        }
    }

    #[test]
    fn arbitrary_blocks_end_as_with_the_peer(block in prop::collection::vec(any::<u8>(), 1..300), length in 0_usize..3000) {
        prop_assert_eq!(ours(&[], &block, length, false), peer(&[], &block, length, false));
    }
}

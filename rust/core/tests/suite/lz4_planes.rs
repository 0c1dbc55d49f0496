//! The block encoder for planes: blocks are legal, small, the same whatever came before, and three decoders read them.

use crate::inputs::{bell_bf16, bell_f32, splitmix, text};
use lz4_flex::block::{CompressTable, compress_into_with_table};
use proptest::prelude::*;
use xetway_core::lz4::{Encoder, OVERHEAD_BYTES, decode};
use xetway_core::{Scheme, bg4, codec};

const HEADER_BYTES: usize = 7;

fn encoded(encoder: &mut Encoder, data: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encoder.encode_planes(data, &mut frame);
    assert!(frame.len() <= data.len() + OVERHEAD_BYTES);
    frame
}

/// The block of a frame that has one, or nothing if it is stored.
fn block_of(frame: &[u8]) -> Option<&[u8]> {
    let (length, rest) = frame[HEADER_BYTES..].split_first_chunk::<4>().unwrap();
    let length = u32::from_le_bytes(*length);
    (length >> 31 == 0 && length > 0).then(|| &rest[..length as usize])
}

/// Where the last match begins and ends.
fn last_match(block: &[u8]) -> Option<(usize, usize)> {
    let (mut read, mut write, mut last) = (0, 0, None);
    let more = |read: &mut usize, short: u8| {
        let mut length = usize::from(short);
        while length >= 15 {
            let byte = block[*read];
            *read += 1;
            length += usize::from(byte);
            if byte != 255 {
                break;
            }
        }
        length
    };
    loop {
        let token = block[read];
        read += 1;
        let literals = more(&mut read, token >> 4);
        read += literals;
        write += literals;
        if read == block.len() {
            return last;
        }
        let offset = usize::from(u16::from_le_bytes([block[read], block[read + 1]]));
        assert!(offset > 0 && offset <= write);
        read += 2;
        let length = 4 + more(&mut read, token & 15);
        last = Some((write, write + length));
        write += length;
    }
}

fn check_with(encoder: &mut Encoder, data: &[u8]) -> usize {
    let frame = encoded(encoder, data);
    let mut out = vec![0; data.len()];
    decode(&frame, &mut out).unwrap();
    assert!(out == data);
    let Some(block) = (data.len() <= 4 << 20).then(|| block_of(&frame)).flatten() else {
        return frame.len();
    };
    assert!(lz4_flex::block::decompress(block, data.len()).unwrap() == data);
    let room = Some(i32::try_from(data.len()).unwrap());
    assert!(::lz4::block::decompress(block, room).unwrap() == data);
    if let Some((start, end)) = last_match(block) {
        assert!(start + 12 <= data.len() && end + 5 <= data.len());
    }
    frame.len()
}

fn check(data: &[u8]) -> usize {
    check_with(&mut Encoder::default(), data)
}

fn grouped(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0; data.len()];
    assert!(bg4::split(data, &mut out));
    out
}

#[test]
fn every_short_input_of_two_letters() {
    let mut encoder = Encoder::default();
    for length in 0..=14 {
        for bits in 0..1_u32 << length {
            let data: Vec<u8> = (0..length).map(|at| (bits >> at & 1) as u8).collect();
            check_with(&mut encoder, &data);
        }
    }
}

#[test]
fn patterns_of_every_period_at_every_length() {
    let mut encoder = Encoder::default();
    for period in 1..=17 {
        let data: Vec<u8> = splitmix(period as u64, period)
            .into_iter()
            .cycle()
            .take(131_072)
            .collect();
        for length in (0..=220).chain([65_535, 65_536, 65_537, 131_071, 131_072]) {
            check_with(&mut encoder, &data[..length]);
        }
    }
}

#[test]
fn noise_and_text_of_every_length() {
    let mut encoder = Encoder::default();
    for data in [splitmix(1, 131_072), text(131_072), grouped(&bell_bf16(65_536))] {
        for length in (0..=400).chain([65_535, 65_536, 65_537, 131_072]) {
            check_with(&mut encoder, &data[..length]);
        }
    }
}

#[test]
fn positions_that_differ_by_the_window_are_not_taken_for_each_other() {
    let needle = splitmix(2, 40);
    for distance in 65_450..65_620 {
        let mut data = splitmix(3, 70_000);
        for start in [0, distance] {
            data[start..start + needle.len()].copy_from_slice(&needle);
        }
        check(&data);
    }
    // Where all is equal, positions of later in the tile look as if they were from before the window.
    let mut data = vec![0; 200_000];
    for at in (0..data.len()).step_by(97) {
        data[at] = (at % 251) as u8;
    }
    check(&data);
}

#[test]
fn what_data_becomes_depends_on_the_data_alone() {
    let samples = [
        grouped(&bell_f32(20_000)),
        splitmix(1, 131_072),
        grouped(&bell_bf16(50_000)),
        text(70_000),
        vec![0; 100_000],
        grouped(&bell_bf16(30_000)),
    ];
    let alone: Vec<Vec<u8>> = samples
        .iter()
        .map(|data| encoded(&mut Encoder::default(), data))
        .collect();
    let mut encoder = Encoder::default();
    for round in 0..3 {
        for step in 0..samples.len() {
            let index = (step * 5 + round) % samples.len();
            encoder.encode(&samples[step], &mut Vec::new());
            assert!(encoded(&mut encoder, &samples[index]) == alone[index]);
        }
    }
}

/// Of many chunks: one is up to 2 % larger or smaller, by chance.
#[test]
fn weights_become_hardly_larger_than_with_the_peer() {
    for weights in [bell_f32(524_288), bell_bf16(1_048_576)] {
        let (mut ours, mut peer) = (0, 0);
        let mut room = vec![0; 2 * 65_536];
        for chunk in weights.chunks(65_536) {
            let data = grouped(chunk);
            ours += check(&data) - OVERHEAD_BYTES;
            peer += compress_into_with_table(&data, &mut room, &mut CompressTable::large()).unwrap();
        }
        assert!(ours * 200 <= peer * 201, "{ours} against {peer}");
        assert!(ours < weights.len() * 96 / 100);
    }
}

#[test]
fn grouped_chunks_are_encoded_by_it() {
    let data = bell_bf16(32_768);
    let mut payload = Vec::new();
    codec::compress(&data, Scheme::ByteGrouping4Lz4, &mut payload);
    assert!(payload == encoded(&mut Encoder::default(), &grouped(&data)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn round_trip(seed: u64, length in 0_usize..150_000, mask: u8, repeats in prop::collection::vec((0_usize..150_000, 0_usize..150_000, 1_usize..600), 0..20)) {
        let mut data: Vec<u8> = splitmix(seed, length).into_iter().map(|byte| byte & mask).collect();
        for (from, to, bytes) in repeats {
            if from.max(to) + bytes <= length {
                data.copy_within(from..from + bytes, to);
            }
        }
        check(&data);
    }

    #[test]
    fn short_round_trip(data in prop::collection::vec(0_u8..4, 0..300)) {
        check(&data);
    }
}

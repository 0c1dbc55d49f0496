//! The LZ4 frame layer against the one of `lz4_flex`, and against damage.

use std::io::{Read as _, Write as _};

use crate::inputs::{bell_f32, hex, splitmix, text, unhex};
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use proptest::prelude::*;
use xetway_core::lz4::{OVERHEAD_BYTES, decode, encode};

fn encoded(data: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode(data, &mut frame);
    frame
}

fn peer_frame(data: &[u8], info: FrameInfo, write_bytes: usize) -> Vec<u8> {
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    for piece in data.chunks(write_bytes) {
        encoder.write_all(piece).unwrap();
        encoder.flush().unwrap();
    }
    encoder.finish().unwrap()
}

fn peer_decode(frame: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    FrameDecoder::new(frame).read_to_end(&mut out)?;
    Ok(out)
}

fn decoded(frame: &[u8], length: usize) -> xetway_core::Result<Vec<u8>> {
    let mut out = vec![0xee; length];
    decode(frame, &mut out).map(|()| out)
}

fn code(frame: &[u8], length: usize) -> &'static str {
    decoded(frame, length).unwrap_err().code()
}

fn samples() -> Vec<Vec<u8>> {
    vec![
        vec![],
        vec![7],
        b"Hello World!".to_vec(),
        vec![0; 100],
        vec![0; 131_072],
        text(65_536),
        text(65_537),
        text(131_072),
        splitmix(4, 131_072),
        bell_f32(32_768),
        [text(40_000), splitmix(4, 70_000), text(20_000)].concat(),
    ]
}

fn every_frame_info() -> impl Iterator<Item = (FrameInfo, bool)> {
    let sizes = [
        BlockSize::Max64KB,
        BlockSize::Max256KB,
        BlockSize::Max1MB,
        BlockSize::Max4MB,
    ];
    sizes.into_iter().flat_map(|size| {
        (0..16_u8).map(move |bits| {
            let mode = if bits & 1 == 0 {
                BlockMode::Independent
            } else {
                BlockMode::Linked
            };
            let info = FrameInfo::new()
                .block_size(size)
                .block_mode(mode)
                .block_checksums(bits & 2 != 0)
                .content_checksum(bits & 4 != 0);
            (info, bits & 8 != 0)
        })
    })
}

#[test]
fn the_frame_written_is_the_plainest() {
    let frame = encoded(&[0; 100]);
    assert_eq!(hex(&frame), "04224d186040820c0000001f0001004a6000000000000000000000");
    for (length, sizes, check) in [(65_536, 0x40, 0x82), (65_537, 0x50, 0xfb), (131_072, 0x50, 0xfb)] {
        assert_eq!(encoded(&vec![0; length])[4..7], [0x60, sizes, check]);
    }
    let noise = splitmix(4, 131_072);
    assert_eq!(encoded(&noise).len(), noise.len() + OVERHEAD_BYTES);
}

#[test]
fn the_peer_reads_what_we_write() {
    let mut large = samples();
    large.push(text(300_000));
    large.push([text(5_000_000), splitmix(1, 4_500_000)].concat());
    for data in large {
        let frame = encoded(&data);
        assert_eq!(peer_decode(&frame).unwrap(), data);
        assert_eq!(decoded(&frame, data.len()).unwrap(), data);
    }
}

#[test]
fn we_read_what_the_peer_writes() {
    for data in samples() {
        for (info, with_size) in every_frame_info() {
            for write_bytes in [5_000, 1 << 20] {
                let info = info.clone().content_size(with_size.then_some(data.len() as u64));
                let frame = peer_frame(&data, info, write_bytes);
                assert_eq!(decoded(&frame, data.len()).unwrap(), data);
                assert_eq!(code(&frame, data.len() + 1), "decoded_length");
                if !data.is_empty() {
                    assert_eq!(code(&frame, data.len() - 1), "decoded_length");
                }
            }
        }
    }
}

#[test]
fn every_truncation_and_extension_fails() {
    let data = [text(3_000), splitmix(4, 3_000)].concat();
    for (info, with_size) in every_frame_info().take(16) {
        let info = info.content_size(with_size.then_some(data.len() as u64));
        let frame = peer_frame(&data, info, 2_000);
        for length in 0..frame.len() {
            assert_eq!(code(&frame[..length], data.len()), "truncated");
        }
        assert_eq!(code(&[&frame[..], &[0]].concat(), data.len()), "lz4_trailing_bytes");
    }
}

#[test]
fn a_flipped_bit_never_gives_other_bytes_with_a_content_checksum() {
    let data = text(600);
    let info = FrameInfo::new()
        .content_checksum(true)
        .content_size(Some(600))
        .block_checksums(true);
    let frame = peer_frame(&data, info, 250);
    for bit in 0..frame.len() * 8 {
        let mut damaged = frame.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decoded(&damaged, data.len()).is_err(), "bit {bit}");
    }
}

#[test]
fn each_header_field_has_its_error() {
    let frame = encoded(&text(200));
    let with = |index: usize, value: u8| {
        let mut damaged = frame.clone();
        damaged[index] = value;
        damaged
    };
    for (damaged, wanted) in [
        (with(0, 5), "lz4_magic"),
        (unhex("02214c1800000000"), "lz4_unsupported"),
        (unhex("532a4d1800000000"), "lz4_unsupported"),
        (with(4, 0x20), "lz4_version"),
        (with(4, 0xa0), "lz4_version"),
        (with(4, 0x62), "lz4_reserved_bits"),
        (with(4, 0x61), "lz4_dictionary"),
        (with(5, 0xc0), "lz4_reserved_bits"),
        (with(5, 0x41), "lz4_reserved_bits"),
        (with(5, 0x30), "lz4_block_size"),
        (with(5, 0x50), "lz4_header_checksum"),
        (with(6, 0x83), "lz4_header_checksum"),
        (with(9, 0xff), "lz4_block_size"),
        (with(7, 0xff), "truncated"),
    ] {
        assert_eq!(code(&damaged, 200), wanted);
    }
}

#[test]
fn stored_and_empty_blocks() {
    let head = "04224d18604082";
    let frame = |blocks: &str| unhex(&format!("{head}{blocks}00000000"));
    assert_eq!(decoded(&frame("03000080616263"), 3).unwrap(), b"abc");
    assert_eq!(decoded(&frame("000000800300008061626300000080"), 3).unwrap(), b"abc");
    assert_eq!(decoded(&frame(""), 0).unwrap(), b"");
    assert_eq!(code(&frame("03000080616263"), 2), "decoded_length");
    // A stored block of one byte more than the frame header allows.
    let mut long = unhex(&format!("{head}01000180"));
    long.resize(long.len() + 65_537, 0);
    assert_eq!(code(&long, 65_537), "lz4_block_size");
    // One compressed block that decodes to more than the frame header allows.
    let block = lz4_flex::block::compress(&vec![0; 70_000]);
    let length = block.len();
    let length_field = hex(&u32::try_from(length).unwrap().to_le_bytes());
    assert_eq!(
        code(&frame(&format!("{length_field}{}", hex(&block))), 70_000),
        "decoded_length"
    );
}

#[test]
fn bad_blocks() {
    let frame = |block: &str| {
        let length = hex(&u32::try_from(block.len() / 2).unwrap().to_le_bytes());
        unhex(&format!("04224d18604082{length}{block}00000000"))
    };
    // Offset zero, offset before the start, literals past the end, a length that runs to the end.
    for block in ["1061000000", "1061050000", "f0ff", "1f", "f0ffffffffff", "0f0100ffffff"] {
        assert!(
            ["lz4_block", "decoded_length"].contains(&code(&frame(block), 100)),
            "{block}"
        );
    }
    // Linked: the window is only what came before.
    let mut linked = frame("1061050000");
    linked[4..7].copy_from_slice(&[0x40, 0x40, 0xc0]);
    assert_eq!(code(&linked, 100), "lz4_block");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), length in 0_usize..2000, linked: bool) {
        let _ = decoded(&bytes, length);
        let head = if linked { "04224d184040c0" } else { "04224d18604082" };
        let half = bytes.len() / 2;
        let mut frame = unhex(head);
        for block in [&bytes[..half], &bytes[half..]] {
            frame.extend_from_slice(&u32::try_from(block.len()).unwrap().to_le_bytes());
            frame.extend_from_slice(block);
        }
        frame.extend_from_slice(&[0; 4]);
        // Where both succeed, both say the same.
        if let (Ok(ours), Ok(theirs)) = (decoded(&frame, length), peer_decode(&frame)) {
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn round_trip(seed: u64, length in 0_usize..200_000, mask: u8) {
        let data: Vec<u8> = splitmix(seed, length).into_iter().map(|byte| byte & mask).collect();
        let frame = encoded(&data);
        prop_assert_eq!(decoded(&frame, length).unwrap(), &data[..]);
        prop_assert_eq!(peer_decode(&frame).unwrap(), data);
    }
}

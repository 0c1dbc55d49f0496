//! Boundaries: vectors, a naive oracle, the gear hash crate, and any split of the stream.

use crate::inputs::{dense, near_minimum, splitmix, text, xorshift};
use proptest::prelude::*;
use xetway_core::chunker::{boundaries, chunks};
use xetway_core::{Chunker, MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, gear};

const MASK: u64 = 0xFFFF_0000_0000_0000;

/// The draft's pseudo code, byte by byte, without skipping anything.
pub(crate) fn oracle(data: &[u8]) -> Vec<u64> {
    let (mut ends, mut start, mut hash) = (Vec::new(), 0, 0_u64);
    for (index, byte) in data.iter().enumerate() {
        hash = gear::step(hash, *byte);
        let size = index - start + 1;
        if size >= MIN_CHUNK_BYTES && (size >= MAX_CHUNK_BYTES || hash & MASK == 0) {
            ends.push(index as u64 + 1);
            start = index + 1;
            hash = 0;
        }
    }
    if start < data.len() {
        ends.push(data.len() as u64);
    }
    ends
}

fn streamed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u64> {
    let mut ends = Vec::new();
    let mut chunker = Chunker::new();
    for piece in pieces {
        chunker.push(piece, &mut |end| ends.push(end));
    }
    chunker.finish(&mut |end| ends.push(end));
    ends
}

fn check(data: &[u8]) {
    let wanted = oracle(data);
    assert_eq!(boundaries(data), wanted);
    for size in [1, 37, 255, 8127, 8128, 65_536, 65_599, 131_072] {
        assert_eq!(streamed(data.chunks(size)), wanted, "pieces of {size}");
    }
}

#[test]
fn gear_vectors() {
    let ascending: Vec<u8> = (0..=255).collect();
    let random = splitmix(0, 1_000_000);
    for (data, wanted) in [
        (&b"\0"[..], 0xb088d3a9e840f559),
        (b"Hello World!", 0x1023f8a80732598f),
        (&ascending, 0xd5bc3856d8dfcdeb),
        (&random[..63], 0xade92aa0aece4d3e),
        (&random[..64], 0xb18c025efc3d1c07),
        (&random, 0x0b1b3411e7fcd4c2),
        (&[0; 64], 0x4f772c5617bf0aa7),
        (&[0x3b; 64], 0x37f82d2c79424202),
    ] {
        assert_eq!(gear::update(0, data), wanted);
        let mut peer = gearhash::Hasher::default();
        peer.update(data);
        assert_eq!(peer.get_hash(), wanted);
    }
    for byte in 0..=255_u8 {
        assert_eq!(gear::step(0, byte), gearhash::DEFAULT_TABLE[usize::from(byte)]);
    }
}

#[test]
fn cut_positions_without_size_rules() {
    let data = splitmix(0, 1_000_000);
    let mut positions = Vec::new();
    let (mut hash, mut position) = (0, 0);
    while let Some(used) = gear::find(&mut hash, &data[position..]) {
        position += used;
        positions.push(position);
    }
    let wanted = [
        84493, 134421, 144853, 243318, 271793, 336457, 494581, 582000, 596735, 616815, 653164, 678202, 724510, 815591,
        827760, 961364, 991092,
    ];
    assert_eq!(positions, wanted);
    let mut peer = gearhash::Hasher::default();
    let mut position = 0;
    for wanted in wanted {
        position += peer.next_match(&data[position..], MASK).unwrap();
        assert_eq!(position, wanted);
    }
}

#[test]
fn boundary_vectors() {
    let counting: Vec<u8> = (0..204_800).map(|index| index as u8).collect();
    let random = splitmix(0, 1_000_000);
    assert_eq!([random[0], random[127], random[111_111]], [175, 132, 118]);
    let random_ends = [
        84493, 134421, 144853, 243318, 271793, 336457, 467529, 494581, 582000, 596735, 616815, 653164, 678202, 724510,
        815591, 827760, 958832, 991092, 1000000,
    ];
    let repeated = [131072, 262144, 393216, 524288, 655360, 786432, 917504, 1000000];
    let cases: [(&[u8], &[u64]); 15] = [
        (b"", &[]),
        (b"Hello World!", &[12]),
        (&[0], &[1]),
        (&[0; 8191], &[8191]),
        (&[0; 8192], &[8192]),
        (&[0; 131_072], &[131072]),
        (&[0; 131_073], &[131072, 131073]),
        (&[0x3b; 1_000_000], &repeated),
        (&counting, &[131072, 204800]),
        (&random[..63], &[63]),
        (&random[..8191], &[8191]),
        (&random[..8193], &[8193]),
        (&random[..100_000], &[84493, 100000]),
        (&random, &random_ends),
        (&splitmix(1, 256_000), &[25125, 104497, 235569, 256000]),
    ];
    for (data, wanted) in cases {
        assert_eq!(boundaries(data), wanted);
    }
}

#[test]
fn matches_before_the_minimum_do_not_cut() {
    let cases: [(usize, u8, [u64; 8]); 6] = [
        (0, 236, [8256, 16448, 24640, 32832, 41024, 49216, 57408, 65536]),
        (1, 50, [8320, 16576, 24832, 33088, 41344, 49600, 57856, 65536]),
        (7, 228, [8299, 16534, 24769, 33004, 41239, 49474, 57709, 65536]),
        (64, 0, [8320, 16576, 24832, 33088, 41344, 49600, 57856, 65536]),
        (126, 0, [8192, 16574, 24956, 33338, 41720, 50102, 58484, 65536]),
        (127, 0, [8224, 16639, 25054, 33469, 41884, 50299, 58714, 65536]),
    ];
    for (padding, at_11111, wanted) in cases {
        let data = near_minimum(padding);
        assert_eq!(data[11_111], at_11111);
        assert_eq!(boundaries(&data), wanted, "padding {padding}");
    }
    for padding in 0..128 {
        check(&near_minimum(padding));
    }
}

#[test]
fn early_matches_in_a_real_stream() {
    let data = xorshift(3_145_728);
    let parts: Vec<&[u8]> = chunks(&data).collect();
    assert_eq!(parts.len(), 52);
    assert_eq!(parts[44].len(), 131_072);
    let hash = xetway_core::hash::chunk_hash(parts[44]);
    assert_eq!(
        hash.to_hex(),
        "8ee1833ff616a01e187888865c8e22f403c860b7a6c347ba28c4511995875086"
    );
    assert_eq!(parts[..51].iter().map(|part| part.len()).min(), Some(9116));
    check(&data[..400_000]);
}

#[test]
fn any_split_gives_the_same_boundaries() {
    check(&splitmix(3, 700_000));
    check(&text(300_000));
    check(&dense(700_000));
    for length in [
        0, 1, 63, 64, 8127, 8128, 8129, 8191, 8192, 8193, 131_071, 131_072, 131_073, 262_144,
    ] {
        check(&vec![0; length]);
        check(&splitmix(9, length));
    }
}

/// Windows of 64 bytes whose hash allows a cut, placed where the size rules change.
#[test]
fn cuts_placed_at_the_edges_of_the_size_rules() {
    let random = splitmix(0, 1_000_000);
    let window = &random[84_493 - 64..84_493];
    for end in [
        64, 65, 8127, 8128, 8190, 8191, 8192, 8193, 8255, 131_008, 131_071, 131_072, 131_073, 131_136,
    ] {
        let mut data = vec![0x3b; 300_000];
        data[end - 64..end].copy_from_slice(window);
        data[2 * end + 100 - 64..2 * end + 100].copy_from_slice(window);
        check(&data);
        let first = boundaries(&data)[0];
        assert_eq!(
            first == end as u64,
            (8192..=131_072).contains(&end),
            "window ends at {end}"
        );
    }
}

/// A piece of 64 KiB or more is searched in lanes; what came before it decides what is a cut.
#[test]
fn large_pieces_after_small_ones() {
    let random = splitmix(0, 1_000_000);
    let window = &random[84_493 - 64..84_493];
    let dense = dense(250_000);
    let mut sparse = vec![0x3b; 250_000];
    for at in [
        9_000, 20_000, 27_000, 29_000, 36_500, 180_000, 188_000, 188_300, 196_400, 240_000,
    ] {
        sparse[at - 64..at].copy_from_slice(window);
    }
    for data in [&dense, &sparse, &random[..250_000]] {
        let wanted = oracle(data);
        for before in (0..140_000)
            .step_by(19_970)
            .chain(8_062..8_066)
            .chain((8_120..8_200).step_by(13))
            .chain((131_000..131_080).step_by(13))
        {
            let (first, second) = data.split_at(before);
            assert_eq!(streamed([first, second]), wanted, "first {before}");
            assert_eq!(
                streamed([first, &second[..65_536], &second[65_536..]]),
                wanted,
                "first {before}"
            );
        }
    }
}

#[test]
fn blocks_of_large_pieces_make_no_difference() {
    let random = splitmix(0, 1_000_000);
    let window = &random[84_493 - 64..84_493];
    for edge in [1_048_576 + 64, 2 * 1_048_576 + 64] {
        for end in (edge - 70..edge + 70).step_by(46).chain([edge - 8_192, edge + 8_192]) {
            let mut data = vec![0x3b; edge + 30_000];
            for end in [end, end + 5_000, end + 8_192, end + 13_191, end + 13_192] {
                data[end - 64..end].copy_from_slice(window);
            }
            assert_eq!(boundaries(&data), oracle(&data), "window ends at {end}");
        }
    }
}

#[test]
fn chunks_are_the_data_between_boundaries() {
    let data = splitmix(1, 256_000);
    assert_eq!(chunks(&data).collect::<Vec<_>>().concat(), data);
    assert_eq!(chunks(&[]).count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_splits(seed: u64, length in 0_usize..400_000, low_entropy: bool, cuts in prop::collection::vec(0_usize..400_000, 0..20)) {
        let mut data = splitmix(seed, length);
        if low_entropy {
            for byte in &mut data {
                *byte &= 1;
            }
        }
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(length)).chain([0, length]).collect();
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &data[pair[0]..pair[1]]);
        let wanted = oracle(&data);
        prop_assert_eq!(&boundaries(&data), &wanted);
        prop_assert_eq!(streamed(pieces), wanted);
    }
}

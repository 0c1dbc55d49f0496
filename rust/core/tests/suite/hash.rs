//! Hash text form, keyed hashes.

use crate::inputs::{hash, hex, unhex};
use xetway_core::hash::{chunk_hash, data_hash, keyed_hash, swapped, verification_hash};
use xetway_core::{Error, Hash};

const HELLO: &str = "d8d408e608fb9ca213b9909a65d86d725f2de4d8d540324be8a363e7a6e228cb";

#[test]
fn text_form_reverses_groups_of_eight() {
    let bytes: [u8; 32] = std::array::from_fn(|index| index as u8);
    let text = "07060504030201000f0e0d0c0b0a090817161514131211101f1e1d1c1b1a1918";
    assert_eq!(Hash::from_bytes(bytes).to_hex(), text);
    assert_eq!(hash(text).as_bytes(), &bytes);
    assert_eq!(hash(&text.to_uppercase()).as_bytes(), &bytes);
    assert_eq!(hex(&swapped(bytes)), text);
    let raw = unhex("16af3a84044b83d6be998a42e20399f2cc5650eaf99950639f50418aece7954e");
    let text = "d6834b04843aaf16f29903e2428a99be635099f9ea5056cc4e95e7ec8a41509f";
    assert_eq!(Hash::from_bytes(raw.try_into().unwrap()).to_string(), text);
}

#[test]
fn bad_text_is_refused_with_its_position() {
    let good = HELLO;
    for (text, length, position) in [
        ("", 0, 0),
        (&good[..63], 63, 63),
        (&format!("{good}0"), 65, 65),
        (&format!("{}g", &good[..63]), 64, 63),
        (&format!("+{}", &good[1..]), 64, 0),
        (&format!(" {}", &good[..63]), 64, 0),
        (&format!("{}é", &good[..62]), 64, 62),
        (&format!("{}\0", &good[..63]), 64, 63),
    ] {
        assert_eq!(Hash::parse(text), Err(Error::BadHex { length, position }), "{text:?}");
    }
}

#[test]
fn order_is_the_order_of_the_text() {
    let mut hashes: Vec<Hash> = (0..200_u64).map(|n| chunk_hash(&n.to_le_bytes())).collect();
    hashes.extend([Hash::ZERO, Hash::from_bytes([0xff; 32])]);
    let mut texts: Vec<String> = hashes.iter().map(Hash::to_hex).collect();
    hashes.sort();
    texts.sort();
    assert_eq!(hashes.iter().map(Hash::to_hex).collect::<Vec<_>>(), texts);
}

#[test]
fn words_and_dedup_eligibility() {
    let mut bytes = [0xaa; 32];
    bytes[..8].copy_from_slice(&7_u64.to_le_bytes());
    bytes[24..].copy_from_slice(&(5 * 1024_u64).to_le_bytes());
    assert_eq!(Hash::from_bytes(bytes).first_u64(), 7);
    assert_eq!(Hash::from_bytes(bytes).last_u64(), 5120);
    assert!(Hash::from_bytes(bytes).is_dedup_eligible());
    bytes[24] = 1;
    assert!(!Hash::from_bytes(bytes).is_dedup_eligible());
    assert!(Hash::ZERO.is_dedup_eligible());
}

#[test]
fn keyed_hashes() {
    assert_eq!(chunk_hash(b"Hello World!"), hash(HELLO));
    let raw = "a29cfb08e608d4d8726dd8659a90b9134b3240d5d8e42d5fcb28e2a6e763a3e8";
    assert_eq!(hex(chunk_hash(b"Hello World!").as_bytes()), raw);
    let empty = "e0f2cf784e7e5f10c34f84af150e9a5ff9664216debad915364d741049870f67";
    assert_eq!(chunk_hash(b""), hash(empty));
    assert_eq!(data_hash(b""), hash(empty));
    let pair = [
        hash("c28f58387a60d4aa200c311cda7c7f77f686614864f5869eadebf765d0a14a69"),
        hash("6e4e3263e073ce2c0e78cc770c361e2778db3b054b98ab65e277fc084fa70f22"),
    ];
    let verification = "eb06a8ad81d588ac05d1d9a079232d9c1e7d0b07232fa58091caa7bf333a2768";
    assert_eq!(verification_hash(&pair), hash(verification));
    let key: [u8; 32] = std::array::from_fn(|index| index as u8 + 1);
    let keyed = "02cc111763c1c960f0c3439d32c5becdf0c4bd2cc825f9f823b400a48d9c1e83";
    assert_eq!(keyed_hash(&hash(HELLO), &key), hash(keyed));
}

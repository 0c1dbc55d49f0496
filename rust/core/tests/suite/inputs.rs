//! Inputs the vectors were made from.

use xetway_core::Hash;

/// `SplitMix64`, little-endian words, cut to `bytes`.
pub(crate) fn splitmix(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        out.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    out.truncate(bytes);
    out
}

/// `xorshift32`, the low byte of each state.
pub(crate) fn xorshift(bytes: usize) -> Vec<u8> {
    let mut x = 0x9e37_79b9_u32;
    (0..bytes)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            x as u8
        })
        .collect()
}

/// 128 fixed bytes and `padding` zeros, repeated from the start up to 65,536 bytes: many matches
/// near the smallest chunk size.
pub(crate) fn near_minimum(padding: usize) -> Vec<u8> {
    let mut data = unhex(concat!(
        "9a342a229f4b7ee046ec0cc44fecb27c7f3263b22cb0ae7efaebcdaefc7a230a1465d645c10873699ee4786f88a2c6fb",
        "d3b7fdfca4933f10baa27517aa24cdbbae4cd2aed3af0cad913b0246deb59fe3b69cbd33e26a1832b79d8c0a0817d446",
        "0aea1721dbfe27ec4631bf7409730f651a9fa5dc0faa387d5ca35eeb26283151",
    ));
    data.resize(128 + padding, 0);
    while data.len() < 65_536 {
        let wanted = data.len().min(65_536 - data.len());
        data.extend_from_within(..wanted);
    }
    data
}

/// English-like text that compresses well.
pub(crate) fn text(bytes: usize) -> Vec<u8> {
    let words = [
        "chunk ", "xorb ", "shard ", "term ", "hash ", "of ", "the ", "file ", "and\n",
    ];
    let mut picks = splitmix(77, bytes).into_iter();
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        let pick = usize::from(picks.next().unwrap());
        out.extend_from_slice(words[pick % words.len()].as_bytes());
    }
    out.truncate(bytes);
    out
}

/// Sums of uniform values: bell-shaped `f32` around zero, like the weights of a model.
pub(crate) fn bell_f32(count: usize) -> Vec<u8> {
    splitmix(5, count * 8)
        .chunks_exact(8)
        .flat_map(|word| {
            let sum: i32 = word.iter().map(|byte| i32::from(*byte) - 128).sum();
            let fine = f32::from(u16::from_le_bytes([word[0], word[3]])) / 65_536.0;
            ((sum as f32 + fine) / 4096.0).to_le_bytes()
        })
        .collect()
}

/// The upper halves of [`bell_f32`].
pub(crate) fn bell_bf16(count: usize) -> Vec<u8> {
    bell_f32(count)
        .chunks_exact(4)
        .flat_map(|number| [number[2], number[3]])
        .collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 2, 0);
    (0..text.len())
        .step_by(2)
        .map(|index| u8::from_str_radix(&text[index..index + 2], 16).unwrap())
        .collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub(crate) fn hash(text: &str) -> Hash {
    text.parse().unwrap()
}

/// A cut is allowed at every third position: no pattern of so few bytes has more of them.
pub(crate) fn dense(bytes: usize) -> Vec<u8> {
    [0, 0x94, 0x8f].into_iter().cycle().take(bytes).collect()
}

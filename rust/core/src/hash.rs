//! The 32-byte hash of Xet, its text form, and the keyed BLAKE3 functions that make it.
//!
//! The text form is not the plain hexadecimal of the bytes: the hash is read as four
//! little-endian `u64`, each printed as 16 digits. Order and `% n` follow those integers.
//! Not here: merkle trees ([`crate::merkle`]).
//!
//! Source: draft-denis-xet-03, "Hashing Methods".

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Key of chunk hashes and of the hash that names a shard.
const DATA_KEY: [u8; 32] = [
    0x66, 0x97, 0xf5, 0x77, 0x5b, 0x95, 0x50, 0xde, 0x31, 0x35, 0xcb, 0xac, 0xa5, 0x97, 0x18, 0x1c, 0x9d, 0xe4, 0x21,
    0x10, 0x9b, 0xeb, 0x2b, 0x58, 0xb4, 0xd0, 0xb0, 0x4b, 0x93, 0xad, 0xf2, 0x29,
];

/// Key of the inner nodes of the merkle tree.
pub(crate) const INTERNAL_NODE_KEY: [u8; 32] = [
    0x01, 0x7e, 0xc5, 0xc7, 0xa5, 0x47, 0x29, 0x96, 0xfd, 0x94, 0x66, 0x66, 0xb4, 0x8a, 0x02, 0xe6, 0x5d, 0xdd, 0x53,
    0x6f, 0x37, 0xc7, 0x6d, 0xd2, 0xf8, 0x63, 0x52, 0xe6, 0x4a, 0x53, 0x71, 0x3f,
];

/// Key of the hash that proves possession of a term's chunks.
const VERIFICATION_KEY: [u8; 32] = [
    0x7f, 0x18, 0x57, 0xd6, 0xce, 0x56, 0xed, 0x66, 0x12, 0x7f, 0xf9, 0x13, 0xe7, 0xa5, 0xc3, 0xf3, 0xa4, 0xcd, 0x26,
    0xd5, 0xb5, 0xdb, 0x49, 0xe6, 0x41, 0x24, 0x98, 0x7f, 0x28, 0xfb, 0x94, 0xc3,
];

/// Chunks whose hash is a multiple of this may be looked up across repositories.
const DEDUP_MODULUS: u64 = 1024;

/// A 32-byte hash.
///
/// Ordered as its text form is ordered.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// 32 zero bytes: the hash of the empty file and of an empty list of chunks.
    pub const ZERO: Self = Self([0; 32]);

    /// Length of the raw form.
    pub const BYTES: usize = 32;

    /// Wrap 32 raw bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Return the 32 raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Read the text form: exactly 64 hexadecimal digits, of either case.
    pub fn parse(text: &str) -> Result<Self> {
        let digits = text.as_bytes();
        let bad = |position: usize| Error::BadHex {
            length: digits.len() as u64,
            position: position as u64,
        };
        let mut raw = [0_u8; 32];
        let (pairs, rest) = digits.as_chunks::<2>();
        if pairs.len() != raw.len() || !rest.is_empty() {
            let position = digits
                .iter()
                .position(|digit| nibble(*digit).is_none())
                .unwrap_or(digits.len());
            return Err(bad(position));
        }
        for (index, (byte, [high, low])) in raw.iter_mut().zip(pairs).enumerate() {
            let high = nibble(*high).ok_or_else(|| bad(index * 2))?;
            let low = nibble(*low).ok_or_else(|| bad(index * 2 + 1))?;
            *byte = high << 4 | low;
        }
        Ok(Self(swapped(raw)))
    }

    /// Return the text form: 64 lowercase hexadecimal digits.
    pub fn to_hex(&self) -> String {
        let mut text = String::with_capacity(64);
        self.push_hex(&mut text);
        text
    }

    /// Append the text form to `text`.
    pub(crate) fn push_hex(&self, text: &mut String) {
        for byte in swapped(self.0) {
            text.push(digit(byte >> 4));
            text.push(digit(byte & 15));
        }
    }

    /// Return the four little-endian integers of the hash.
    const fn words(&self) -> [u64; 4] {
        let (words, _) = self.0.as_chunks::<8>();
        match words {
            [a, b, c, d] => [
                u64::from_le_bytes(*a),
                u64::from_le_bytes(*b),
                u64::from_le_bytes(*c),
                u64::from_le_bytes(*d),
            ],
            _ => [0; 4],
        }
    }

    /// Return bytes 0..8 as a little-endian integer: the "truncated hash" of lookup tables.
    pub const fn first_u64(&self) -> u64 {
        let [first, _, _, _] = self.words();
        first
    }

    /// Return bytes 24..32 as a little-endian integer: the value used for every `hash % n`.
    pub const fn last_u64(&self) -> u64 {
        let [_, _, _, last] = self.words();
        last
    }

    /// Say whether a chunk with this hash may be looked up across repositories.
    pub const fn is_dedup_eligible(&self) -> bool {
        self.last_u64().is_multiple_of(DEDUP_MODULUS)
    }
}

impl Ord for Hash {
    fn cmp(&self, other: &Self) -> Ordering {
        self.words().cmp(&other.words())
    }
}

impl PartialOrd for Hash {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_hex())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl FromStr for Hash {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// Reverse each group of 8 bytes: between raw bytes and the bytes the text form spells out.
///
/// The SHA-256 field of a shard is stored this way too. The function is its own inverse.
pub const fn swapped(mut raw: [u8; 32]) -> [u8; 32] {
    let (words, _) = raw.as_chunks_mut::<8>();
    if let [a, b, c, d] = words {
        *a = u64::from_le_bytes(*a).to_be_bytes();
        *b = u64::from_le_bytes(*b).to_be_bytes();
        *c = u64::from_le_bytes(*c).to_be_bytes();
        *d = u64::from_le_bytes(*d).to_be_bytes();
    }
    raw
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

const fn digit(nibble: u8) -> char {
    (if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }) as char
}

/// Hash the raw bytes of one chunk.
pub fn chunk_hash(data: &[u8]) -> Hash {
    keyed(&DATA_KEY, data)
}

/// Hash the raw bytes of one chunk that lie in two places.
pub(crate) fn chunk_hash_of_two(first: &[u8], second: &[u8]) -> Hash {
    let mut hasher = blake3::Hasher::new_keyed(&DATA_KEY);
    hasher.update(first).update(second);
    Hash(*hasher.finalize().as_bytes())
}

/// Hash the bytes of a whole serialised shard: the name it is stored under.
pub fn data_hash(data: &[u8]) -> Hash {
    keyed(&DATA_KEY, data)
}

/// Hash a hash with a key of one's own: how a deduplication shard hides the chunk hashes it lists.
pub fn keyed_hash(hash: &Hash, key: &[u8; 32]) -> Hash {
    keyed(key, hash.as_bytes())
}

/// Hash the chunk hashes of one term, in order: the proof that its sender has the chunks.
pub fn verification_hash<'a>(chunks: impl IntoIterator<Item = &'a Hash>) -> Hash {
    let mut hasher = blake3::Hasher::new_keyed(&VERIFICATION_KEY);
    for chunk in chunks {
        hasher.update(chunk.as_bytes());
    }
    Hash(*hasher.finalize().as_bytes())
}

/// Hash `data` under `key`.
pub(crate) fn keyed(key: &[u8; 32], data: &[u8]) -> Hash {
    Hash(*blake3::keyed_hash(key, data).as_bytes())
}

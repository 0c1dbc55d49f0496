//! The gear rolling hash, and the search for positions where it allows a cut.
//!
//! `h = (h << 1) + GEAR[byte]`: each step pushes one bit out at the top, so the hash depends on
//! the last [`WINDOW_BYTES`] bytes and on nothing before them. Chunk sizes are not known here
//! ([`crate::chunker`]).
//!
//! Source: draft-denis-xet-03, "Gearhash Algorithm".

use crate::gear_table::GEAR;

/// How many bytes the hash remembers.
pub const WINDOW_BYTES: usize = 64;

/// A cut is allowed where the hash has none of these bits.
pub const MASK: u64 = 0xffff_0000_0000_0000;

/// Return the hash after one more byte.
#[inline]
#[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256 entries")]
pub fn step(hash: u64, byte: u8) -> u64 {
    (hash << 1).wrapping_add(GEAR[usize::from(byte)])
}

/// Return the hash after all bytes of `data`.
#[inline]
pub fn update(hash: u64, data: &[u8]) -> u64 {
    data.iter().fold(hash, |hash, byte| step(hash, *byte))
}

/// Feed `data` up to and including the first byte after which a cut is allowed.
///
/// Returns the number of bytes up to that cut, or `None` if there is no cut; `hash` is left as of
/// the last byte fed.
#[inline]
pub fn find(hash: &mut u64, data: &[u8]) -> Option<usize> {
    let mut value = *hash;
    for (index, byte) in data.iter().enumerate() {
        value = step(value, *byte);
        if value & MASK == 0 {
            *hash = value;
            return Some(index + 1);
        }
    }
    *hash = value;
    None
}

//! The gear rolling hash, and the search for positions where it allows a cut.
//!
//! `h = (h << 1) + GEAR[byte]`: each step pushes one bit out at the top, so the hash depends on
//! the last [`WINDOW_BYTES`] bytes and on nothing before them. Chunk sizes are not known here
//! ([`crate::chunker`]).
//!
//! Source: draft-denis-xet-03, "Gearhash Algorithm".

mod lanes;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::gear_table::GEAR;

pub use lanes::{Candidate, LANES, search};

/// How many bytes the hash remembers.
pub const WINDOW_BYTES: usize = 64;

/// A cut is allowed where the hash has none of these bits.
pub const MASK: u64 = 0xffff_0000_0000_0000;

/// The hash is smaller where it has none of the bits of [`MASK`].
const LIMIT: u64 = 1 << MASK.trailing_zeros();

/// Loops over the steps are unrolled to so many.
const GROUP_BYTES: usize = 8;

/// The gear table. Compilers leave an atomic load an instruction of its own, and then add
/// and shift in one (`lea`, not twice `add`), which makes a step half as long on x86-64.
static TABLE: [AtomicU64; 256] = {
    let mut table = [const { AtomicU64::new(0) }; 256];
    let mut rest = table.as_mut_slice();
    let mut values = GEAR.as_slice();
    while let (Some((entry, entries)), Some((value, others))) = (rest.split_first_mut(), values.split_first()) {
        *entry = AtomicU64::new(*value);
        (rest, values) = (entries, others);
    }
    table
};

/// Return the hash after one more byte.
#[inline]
#[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256 entries")]
pub fn step(hash: u64, byte: u8) -> u64 {
    (hash << 1).wrapping_add(TABLE[usize::from(byte)].load(Ordering::Relaxed))
}

/// Return the hash after all bytes of `data`.
#[inline]
pub fn update(hash: u64, data: &[u8]) -> u64 {
    data.iter().fold(hash, |hash, byte| step(hash, *byte))
}

/// Feed `data` up to and including the first byte after which a cut is allowed.
///
/// Returns the number of bytes up to that cut, or `None` if there is no cut; `hash` is left as of
/// the last byte fed. Never inlined: how fast it is hangs on which registers it gets.
#[inline(never)]
pub fn find(hash: &mut u64, data: &[u8]) -> Option<usize> {
    let (groups, rest) = data.as_chunks::<GROUP_BYTES>();
    let mut value = *hash;
    for (index, group) in groups.iter().enumerate() {
        for (byte, group_bytes) in group.iter().zip(1..) {
            value = step(value, *byte);
            if value < LIMIT {
                *hash = value;
                return Some(index * GROUP_BYTES + group_bytes);
            }
        }
    }
    for (byte, rest_bytes) in rest.iter().zip(1..) {
        value = step(value, *byte);
        if value < LIMIT {
            *hash = value;
            return Some(groups.len() * GROUP_BYTES + rest_bytes);
        }
    }
    *hash = value;
    None
}

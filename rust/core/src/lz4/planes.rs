//! An LZ4 block encoder for weights whose bytes are grouped, in safe Rust.
//!
//! The bytes that hold exponents are few different ones: a match of five bytes or six every eight bytes, with
//! no pattern a branch predictor could learn. So what can match is looked up first, for [`TILE`] positions at once and
//! without a branch, and only then is it decided what does: the next match is the next bit of a word. Where a tile has no
//! bit, as in mantissas, single positions are tried, ever farther apart.
//!
//! A slot of the table has a position modulo 64 KiB in its upper half, plus the index of the slot, and in its lower half a
//! tag: more bits of the hash. Less [`hash`] of the same five bytes, this leaves the position above a zero. What other
//! bytes leave above a zero, or what is from before the last 64 KiB, does not compare equal.
#![expect(
    clippy::inline_always,
    reason = "the copies of fixed length must be seen by the compiler"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "of positions and products some bits are used"
)]

use crate::lz4::block;

const LONG: usize = block::LONG as usize;
const MIN_MATCH: usize = block::MIN_MATCH as usize;
/// Most bytes that are written after as many as the input has.
pub(super) const SLACK_BYTES: usize = 64;

const TILE: usize = 64;
/// Bytes read from a tile's first to where the hash of its last position ends.
const VIEW_BYTES: usize = TILE + 8;
/// What is left after a tile is at least this: matches may begin anywhere in it.
const MARGIN_BYTES: usize = 24;
const SLOTS: usize = 4096;
/// After so many positions without a match the step between them grows by one.
const PATIENCE: usize = 32;
/// No match begins in the last bytes of a block.
const LAST_START_BYTES: usize = 12;
/// The last bytes of a block are literals.
const LAST_LITERALS: usize = 5;
/// Bytes of a sequence with at most 14 literals and a short match, and what is copied too much.
const SHORT_BYTES: usize = 32;

#[inline(always)]
fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..)?.first_chunk()
}

#[inline(always)]
fn chunk_mut<const N: usize>(bytes: &mut [u8], at: usize) -> Option<&mut [u8; N]> {
    bytes.get_mut(at..)?.first_chunk_mut()
}

/// Where the bytes that have been seen were seen; nothing of it is kept from one block to the next.
pub(super) struct Table(Box<[u32; SLOTS]>);

impl Default for Table {
    fn default() -> Self {
        Self(Box::new([0; SLOTS]))
    }
}

impl Table {
    /// Enter a position; returns the one before with the same bytes above a zero, or something else.
    #[inline(always)]
    fn replace(&mut self, hash: u32, at: usize) -> u32 {
        let Some(slot) = self.0.get_mut(slot_of(hash)) else {
            return 1;
        };
        let found = slot.wrapping_sub(hash);
        *slot = hash.wrapping_add((at as u32) << 16);
        found
    }

    /// Look up all positions of a tile and enter three of four, which is worth nearly as much as to enter all.
    ///
    /// Returns a word with a bit for each that may have a match.
    #[inline(never)]
    fn scan(&mut self, view: &[u8; VIEW_BYTES], start: usize, found: &mut [u32; TILE]) -> u64 {
        let mut at = (start as u32) << 16;
        let mut mask = 0_u64;
        for (group, found) in found.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let Some(view) = chunk::<16>(view, 8 * group) else {
                return 0;
            };
            for (offset, found) in found.iter_mut().enumerate() {
                let Some(word) = chunk(view, offset) else { return 0 };
                let hash = hash(u64::from_le_bytes(*word));
                let Some(slot) = self.0.get_mut(slot_of(hash)) else {
                    return 0;
                };
                *found = slot.wrapping_sub(hash);
                // Rotated, not shifted: LLVM would collect the bits in memory.
                mask = mask.rotate_left(1).wrapping_add(u64::from(*found as u16 == 0));
                if offset % 4 != 3 {
                    *slot = hash.wrapping_add(at.wrapping_add((offset as u32) << 16));
                }
            }
            at = at.wrapping_add(8 << 16);
        }
        mask.reverse_bits()
    }
}

/// Encode `data` as one block to the start of `out`, which has [`SLACK_BYTES`] more than `data`.
///
/// Returns its length, or nothing if it would not be smaller than `data`.
pub(super) fn encode(data: &[u8], out: &mut [u8], table: &mut Table) -> Option<usize> {
    table.0.fill(0);
    let mut found = [0; TILE];
    let (mut literals_at, mut write) = (0, 0);
    // Position 0 stands in every empty slot.
    let mut start = 1;
    'tiles: while start + TILE + MARGIN_BYTES <= data.len() {
        let mut left = table.scan(chunk(data, start)?, start, &mut found);
        if left == 0 {
            let Some(matched) = search(data, start + TILE, literals_at, table) else {
                return finish(data, literals_at, out, write);
            };
            write = put(data, literals_at, matched, out, write)?;
            literals_at = matched.at + matched.length;
            start = literals_at;
            continue;
        }
        let mut at = start;
        while left != 0 {
            let skipped = left.trailing_zeros();
            at += skipped as usize;
            let offset = offset(at, *found.get((at - start) % TILE)?);
            let source = at.wrapping_sub(offset);
            let difference = match (chunk(data, at), chunk(data, source)) {
                (Some(here), Some(there)) => u64::from_le_bytes(*here) ^ u64::from_le_bytes(*there),
                _ => 1,
            };
            let literals = at - literals_at;
            let mut length = difference.trailing_zeros() as usize / 8;
            if literals < LONG && difference != 0 && difference.trailing_zeros() >= 32 {
                let room = chunk_mut::<SHORT_BYTES>(out, write)?;
                let [token, room @ ..] = room;
                *token = (literals << 4 | (length - MIN_MATCH)) as u8;
                *chunk_mut::<16>(room, 0)? = *chunk(data, literals_at)?;
                *chunk_mut(room, literals)? = (offset as u16).to_le_bytes();
                write += literals + 3;
            } else {
                if length < MIN_MATCH || offset == 0 {
                    left = (left >> skipped) & !1;
                    continue;
                }
                if difference == 0 {
                    length = length_of(data, at, source, 8);
                }
                let matched = Match { at, offset, length };
                write = put(data, literals_at, matched, out, write)?;
                if length >= TILE {
                    literals_at = at + length;
                    start = literals_at.max(start + TILE);
                    continue 'tiles;
                }
            }
            left = left >> skipped >> length;
            at += length;
            literals_at = at;
        }
        start = literals_at.max(start + TILE);
    }
    encode_rest(data, start, literals_at, out, write, table)
}

#[derive(Clone, Copy)]
struct Match {
    at: usize,
    offset: usize,
    length: usize,
}

/// Multiply five bytes: the index of a slot, and below it a tag of 16 bits.
#[inline(always)]
const fn hash(word: u64) -> u32 {
    const PRIME: u64 = 889_523_592_379;
    ((word << 24).wrapping_mul(PRIME) >> (48 - SLOTS.trailing_zeros())) as u32
}

#[inline(always)]
const fn slot_of(hash: u32) -> usize {
    (hash >> 16) as usize % SLOTS
}

#[inline(always)]
const fn offset(at: usize, found: u32) -> usize {
    (at as u16).wrapping_sub((found >> 16) as u16) as usize
}

/// Look up one position, and enter it.
#[inline(always)]
fn find(data: &[u8], at: usize, table: &mut Table) -> Option<Match> {
    let word = chunk::<8>(data, at)?;
    let found = table.replace(hash(u64::from_le_bytes(*word)), at);
    if found as u16 != 0 {
        return None;
    }
    let offset = offset(at, found);
    let length = length_of(data, at, at.checked_sub(offset)?, 0);
    (offset > 0 && length >= MIN_MATCH).then_some(Match { at, offset, length })
}

/// Try positions from `at`, ever farther apart, up to the first match; it may begin before the one that found it.
#[inline(never)]
fn search(data: &[u8], mut at: usize, literals_at: usize, table: &mut Table) -> Option<Match> {
    let mut tried = 2 * PATIENCE;
    let end = data.len().checked_sub(LAST_START_BYTES)?;
    while at <= end {
        if let Some(Match { at, offset, length }) = find(data, at, table) {
            let before = data.get(literals_at..at).unwrap_or_default().iter().rev();
            let there = data.get(..at - offset).unwrap_or_default().iter().rev();
            let more = before.zip(there).take_while(|(here, there)| here == there).count();
            return Some(Match {
                at: at - more,
                offset,
                length: length + more,
            });
        }
        at += tried / PATIENCE;
        tried += 1;
    }
    None
}

/// Encode what is too short for a tile.
fn encode_rest(
    data: &[u8],
    mut at: usize,
    mut literals_at: usize,
    out: &mut [u8],
    mut write: usize,
    table: &mut Table,
) -> Option<usize> {
    while at + LAST_START_BYTES <= data.len() {
        if let Some(matched) = find(data, at, table) {
            write = put(data, literals_at, matched, out, write)?;
            at += matched.length;
            literals_at = at;
        } else {
            at += 1;
        }
    }
    finish(data, literals_at, out, write)
}

/// Count the equal bytes at two positions, up to the last literals; `length` are known to be.
#[inline(never)]
fn length_of(data: &[u8], at: usize, source: usize, mut length: usize) -> usize {
    let end = data.len().saturating_sub(LAST_LITERALS);
    let here = data.get(at..end).unwrap_or_default();
    let there = data.get(source..).unwrap_or_default();
    while let (Some(one), Some(other)) = (chunk::<32>(here, length), chunk::<32>(there, length)) {
        if one != other {
            break;
        }
        length += 32;
    }
    while let (Some(one), Some(other)) = (chunk(here, length), chunk(there, length)) {
        let difference = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
        if difference != 0 {
            return length + difference.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let rest = here.iter().zip(there).skip(length);
    length + rest.take_while(|(one, other)| one == other).count()
}

/// Write a sequence of any kind; returns where it ends.
#[inline(never)]
fn put(data: &[u8], literals_at: usize, matched: Match, out: &mut [u8], write: usize) -> Option<usize> {
    let extra = matched.length - MIN_MATCH;
    let literals = data.get(literals_at..matched.at)?;
    let write = put_literals(literals, extra.min(LONG), out, write)?;
    *chunk_mut(out, write)? = (matched.offset as u16).to_le_bytes();
    put_more(extra, out, write + 2)
}

/// Write the last sequence, unless it is clear that the block is not smaller than what it is of.
fn finish(data: &[u8], literals_at: usize, out: &mut [u8], write: usize) -> Option<usize> {
    let literals = data.get(literals_at..)?;
    if write + 1 + literals.len() >= data.len() {
        return None;
    }
    put_literals(literals, 0, out, write)
}

/// Write a token, and literals.
fn put_literals(literals: &[u8], short_match: usize, out: &mut [u8], write: usize) -> Option<usize> {
    *out.get_mut(write)? = (literals.len().min(LONG) << 4 | short_match) as u8;
    let write = put_more(literals.len(), out, write + 1)?;
    let end = write + literals.len();
    out.get_mut(write..end)?.copy_from_slice(literals);
    Some(end)
}

/// Write what of a length does not fit in the token, if anything.
fn put_more(length: usize, out: &mut [u8], mut write: usize) -> Option<usize> {
    if let Some(mut left) = length.checked_sub(LONG) {
        while left >= 255 {
            *out.get_mut(write)? = 255;
            write += 1;
            left -= 255;
        }
        *out.get_mut(write)? = left as u8;
        write += 1;
    }
    Some(write)
}

//! The LZ4 block decoder, in safe Rust.
//!
//! A block is a row of sequences, each a few literals and a match: bytes that were decoded before,
//! from so many bytes back. Where there is room, copies have a fixed length, which compiles to a few
//! vector instructions; what they write too much is overwritten by the next. What is long, odd, wrong
//! or near the end is decoded byte-exactly.
//!
//! The way from one token to the next bounds the speed, so it is kept to a load and a shift. As cells,
//! what is written to can be read from meanwhile: a match costs one check of where it begins.
//!
//! | size | field |
//! |---|---|
//! | 1 | token: literals (bits 7-4), match length less 4 (bits 3-0) |
//! | 0.. | if the token has 15 literals: bytes to add to it, up to the first that is not 255 |
//! | .. | literals; the block ends after those of its last sequence |
//! | 2 | match offset, little-endian, not 0 |
//! | 0.. | if the token has a match length of 15: bytes to add, as above |
//!
//! Source: LZ4 Block Format Description (2022-07-31).
#![expect(clippy::inline_always, reason = "the loop is fast because its copies are part of it")]

use std::cell::Cell;

/// What is read of a short sequence at once, with the token of the next.
const HEAD_BYTES: usize = 18;
/// What a short sequence may write to without another look at how much is free.
pub(crate) const ROOM_BYTES: usize = 48;
/// Most bytes that a short sequence decodes to: 14 literals and a match of 18.
const SHORT_SEQUENCE_BYTES: usize = 32;
/// Most literals, and the longest match, that are copied with a fixed length.
const STEP_BYTES: u32 = 64;
/// As [`HEAD_BYTES`], of any sequence that is copied so.
const LONG_HEAD_BYTES: usize = STEP_BYTES as usize + 6;
/// As [`ROOM_BYTES`], of any sequence that is copied so.
const LONG_ROOM_BYTES: usize = 2 * STEP_BYTES as usize;
/// Most bytes that are decoded to with room: it lets positions have 32 bits, whose sums cannot overflow.
const MAX_ROOMY_BYTES: usize = 1 << 31;

pub(super) const LONG: u32 = 15;
pub(super) const MIN_MATCH: u32 = 4;

/// Why a block does not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockError {
    /// It decodes to more than there is room for: to at least this many bytes.
    TooLong(usize),
    /// It is not a block.
    Malformed,
}

/// Where a decoder stands: the next byte to read and the next to write.
#[derive(Clone, Copy)]
struct Position {
    read: usize,
    write: usize,
}

/// Decode `block` to `buffer[start..end]`; returns how many bytes it has.
///
/// Matches may reach back to everything that precedes `start`. Bytes after the last decoded one may change, in all of
/// `buffer`: it may be longer than `end`, which makes the last sequences faster.
pub(super) fn decode(block: &[u8], buffer: &mut [u8], start: usize, end: usize) -> Result<usize, BlockError> {
    let end = end.min(buffer.len());
    // A short sequence thus never passes the end where there is room.
    let usable = buffer.len().min(end + ROOM_BYTES - SHORT_SEQUENCE_BYTES);
    let too_long = |error| match error {
        BlockError::TooLong(end) => BlockError::TooLong(end.saturating_sub(start)),
        BlockError::Malformed => error,
    };
    let mut position = Position { read: 0, write: start };
    loop {
        let roomy = buffer.get_mut(..usable.min(MAX_ROOMY_BYTES)).unwrap_or_default();
        position = decode_roomy(block, roomy, position, end);
        let last = decode_sequence(block, buffer, &mut position, end).map_err(too_long)?;
        if last {
            return Ok(position.write - start);
        }
    }
}

/// Decode sequences while there is room and none is long, odd or wrong; returns where the next one begins and is to go.
#[inline(never)]
fn decode_roomy(block: &[u8], buffer: &mut [u8], begin: Position, end: usize) -> Position {
    let mut input = block.get(begin.read..).unwrap_or_default();
    let out = Cell::from_mut(buffer).as_slice_of_cells();
    let (Some(token), Ok(mut write)) = (input.first(), u32::try_from(begin.write)) else {
        return begin;
    };
    // The last four bytes read: the highest is the token.
    let mut last = u32::from(*token) << 24;
    while let (Some(head), Some(room)) = (input.first_chunk::<HEAD_BYTES>(), window::<ROOM_BYTES>(out, write)) {
        let (mut literals, short) = (last >> 28, last >> 24 & 15);
        let mut read = literals as usize;
        if literals < LONG {
            let (Some(next), Some(target)) = (word(head, read), room.get(read..)) else {
                break;
            };
            put::<16>(head, 1, room);
            if short < LONG {
                let at = write + literals;
                if !copy_short(out, at, next >> 8 & 0xffff, target) {
                    break;
                }
                write = at + short + MIN_MATCH;
                last = next;
                input = input.get(read + 3..).unwrap_or_default();
                continue;
            }
        }
        let (Some(head), Some(room)) = (
            input.first_chunk::<LONG_HEAD_BYTES>(),
            window::<LONG_ROOM_BYTES>(out, write),
        ) else {
            break;
        };
        if literals == LONG {
            let [_, more, ..] = head;
            literals += u32::from(*more);
            if literals > STEP_BYTES {
                break;
            }
            put::<32>(head, 2, room);
            put::<32>(head, 34, room.get(32..).unwrap_or_default());
            read = literals as usize + 1;
        }
        let (Some(mut next), Some(target)) = (word(head, read), room.get(literals as usize..)) else {
            break;
        };
        let offset = next >> 8 & 0xffff;
        let at = write + literals;
        let mut length = short + MIN_MATCH;
        if short == LONG {
            length += next >> 24;
            let (Some(source), Some(after)) = (window::<64>(out, at.wrapping_sub(offset)), word(head, read + 1)) else {
                break;
            };
            if length > STEP_BYTES || offset < 16 || (at + length) as usize > end {
                break;
            }
            copy::<16>(source, target, 0);
            copy::<16>(source, target, 16);
            copy::<16>(source, target, 32);
            copy::<16>(source, target, 48);
            next = after;
            read += 1;
        } else if (at + length) as usize > end || !copy_short(out, at, offset, target) {
            break;
        }
        write = at + length;
        last = next;
        input = input.get(read + 3..).unwrap_or_default();
    }
    Position {
        read: block.len() - input.len(),
        write: write as usize,
    }
}

/// Decode one sequence with copies of exact length; returns whether it is the last.
fn decode_sequence(block: &[u8], buffer: &mut [u8], position: &mut Position, end: usize) -> Result<bool, BlockError> {
    let Position { mut read, mut write } = *position;
    let token = *block.get(read).ok_or(BlockError::Malformed)?;
    read += 1;
    let literals = length(block, &mut read, token >> 4)?;
    let source = block.get(read..read + literals).ok_or(BlockError::Malformed)?;
    if literals > end - write {
        return Err(BlockError::TooLong(write + literals));
    }
    if let Some(target) = buffer.get_mut(write..write + literals) {
        target.copy_from_slice(source);
    }
    read += literals;
    write += literals;
    *position = Position { read, write };
    if read == block.len() {
        return Ok(true);
    }
    let offset = block
        .get(read..)
        .and_then(<[u8]>::first_chunk)
        .ok_or(BlockError::Malformed)?;
    let offset = usize::from(u16::from_le_bytes(*offset));
    if offset == 0 {
        return Err(BlockError::Malformed);
    }
    read += 2;
    let length = length(block, &mut read, token & 15)? + MIN_MATCH as usize;
    if length > end - write {
        return Err(BlockError::TooLong(write + length));
    }
    if offset > write {
        return Err(BlockError::Malformed);
    }
    repeat(buffer, write, offset, length);
    *position = Position {
        read,
        write: write + length,
    };
    Ok(false)
}

/// Return the `N` bytes at `at`.
#[inline(always)]
fn window<const N: usize>(out: &[Cell<u8>], at: u32) -> Option<&[Cell<u8>; N]> {
    out.get(at as usize..at as usize + N)?.first_chunk()
}

/// Return the four bytes at `at`.
#[inline(always)]
fn word(head: &[u8], at: usize) -> Option<u32> {
    let bytes = head.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// Copy `N` bytes from `at` of what is read to the start of `target`.
#[inline(always)]
fn put<const N: usize>(source: &[u8], at: usize, target: &[Cell<u8>]) {
    if let (Some(source), Some(target)) = (
        source.get(at..).and_then(<[u8]>::first_chunk::<N>),
        target.first_chunk::<N>(),
    ) {
        for (source, target) in source.iter().zip(target) {
            target.set(*source);
        }
    }
}

/// Copy `N` bytes from `at` on; they are read before any is written.
#[inline(always)]
fn copy<const N: usize>(source: &[Cell<u8>], target: &[Cell<u8>], at: usize) {
    if let (Some(source), Some(target)) = (source.get(at..).and_then(<[_]>::first_chunk::<N>), target.get(at..)) {
        put::<N>(&source.each_ref().map(Cell::get), 0, target);
    }
}

/// Copy a match of up to 18 bytes to `target`, which begins at `at`; returns whether there is one.
#[inline(always)]
fn copy_short(out: &[Cell<u8>], at: u32, offset: u32, target: &[Cell<u8>]) -> bool {
    let Some(source) = window::<18>(out, at.wrapping_sub(offset)) else {
        return false;
    };
    if offset >= 8 {
        copy::<8>(source, target, 0);
        copy::<8>(source, target, 8);
        copy::<2>(source, target, 16);
    } else {
        copy_pattern(source, target, offset as usize);
    }
    offset > 0
}

/// Copy a match of up to 18 bytes from fewer than 8 bytes back: a pattern, again and again.
#[inline(always)]
fn copy_pattern(source: &[Cell<u8>; 18], target: &[Cell<u8>], offset: usize) {
    /// What a pattern of so many bytes is multiplied by, to fill a word with it, and the bytes of as many as fit whole.
    const REPEAT: [(u64, usize); 8] = [
        (0, 0),
        (0x0101_0101_0101_0101, 8),
        (0x0001_0001_0001_0001, 8),
        (0x0001_0000_0100_0001, 6),
        (0x0000_0001_0000_0001, 8),
        (0x0000_0100_0000_0001, 5),
        (0x0001_0000_0000_0001, 6),
        (0x0100_0000_0000_0001, 7),
    ];
    let (Some(word), Some((repeat, step))) = (source.first_chunk::<8>(), REPEAT.get(offset)) else {
        return;
    };
    let pattern = u64::from_le_bytes(word.each_ref().map(Cell::get)) & ((1 << (8 * offset)) - 1);
    let pattern = pattern.wrapping_mul(*repeat).to_le_bytes();
    for at in [0, *step, 2 * step, 3 * step] {
        put::<8>(&pattern, 0, target.get(at..).unwrap_or_default());
    }
}

/// Add to a length that a token has the bytes that follow if there are any.
#[inline(always)]
fn length(block: &[u8], read: &mut usize, short: u8) -> Result<usize, BlockError> {
    let mut sum = usize::from(short);
    if u32::from(short) < LONG {
        return Ok(sum);
    }
    loop {
        let byte = *block.get(*read).ok_or(BlockError::Malformed)?;
        *read += 1;
        sum += usize::from(byte);
        if byte != 255 {
            return Ok(sum);
        }
    }
}

/// Copy a match of any kind, and not a byte more.
fn repeat(buffer: &mut [u8], mut write: usize, offset: usize, mut length: usize) {
    let source = write - offset;
    if let (1, Some(byte)) = (offset, buffer.get(source).copied()) {
        buffer.get_mut(write..write + length).unwrap_or_default().fill(byte);
        return;
    }
    while length > 0 {
        // What is there by now is whole patterns: it can be copied at once.
        let bytes = length.min(write - source);
        buffer.copy_within(source..source + bytes, write);
        write += bytes;
        length -= bytes;
    }
}

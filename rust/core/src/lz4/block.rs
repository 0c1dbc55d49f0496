//! The LZ4 block decoder, in safe Rust.
//!
//! A block is a row of sequences, each a few literals and a match: bytes that were decoded before,
//! from so many bytes back. While at least [`ROOM_BYTES`] are free and [`HEAD_BYTES`] are left to
//! read, copies have a fixed length, which compiles to a few vector instructions; what they write
//! too much is overwritten by the next. The end is decoded byte-exactly.
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
#![expect(clippy::inline_always, reason = "up to 4 % faster than what the compiler chooses")]

/// What the fixed part of a sequence is read from, with 14 literals.
const HEAD_BYTES: usize = 32;
/// What one sequence may write to without another look at how much is free.
pub(crate) const ROOM_BYTES: usize = 64;
/// Most bytes that a short sequence decodes to: 14 literals and a match of 18.
const SHORT_SEQUENCE_BYTES: usize = 32;
/// Longest copy that is made step by step.
const STEPPED_BYTES: usize = 64;

pub(super) const LONG: usize = 15;
pub(super) const MIN_MATCH: usize = 4;

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
    let roomy = buffer.get_mut(..usable).unwrap_or_default();
    let too_long = |error| match error {
        BlockError::TooLong(end) => BlockError::TooLong(end.saturating_sub(start)),
        BlockError::Malformed => error,
    };
    let begin = Position { read: 0, write: start };
    let position = decode_roomy(block, roomy, begin, end).map_err(too_long)?;
    let decoded = decode_rest(block, buffer, position, end).map_err(too_long)?;
    Ok(decoded - start)
}

/// Decode as far as there is room; returns where the next sequence begins and is to go.
fn decode_roomy(block: &[u8], buffer: &mut [u8], begin: Position, end: usize) -> Result<Position, BlockError> {
    let Position { mut read, mut write } = begin;
    while let Some(head) = chunk::<HEAD_BYTES>(block, read) {
        let free = buffer.len().wrapping_sub(write);
        let Some(room) = chunk_mut::<ROOM_BYTES>(buffer, write) else {
            break;
        };
        let [token, head @ ..] = head;
        let (mut literals, short) = (usize::from(token >> 4), usize::from(token & 15));
        let offset;
        if literals < LONG {
            copy::<16>(head, 0, room, 0);
            offset = offset_at(head, literals).ok_or(BlockError::Malformed)?;
            read += literals + 3;
            // Nearer matches overlap what they are copied to.
            if short < LONG && offset >= 18 {
                let end = write + literals;
                let Some(decoded) = buffer.get(..end) else { break };
                let Some(source) = chunk::<18>(decoded, end.wrapping_sub(offset)) else {
                    return Err(BlockError::Malformed);
                };
                let source = *source;
                let Some(room) = chunk_mut::<ROOM_BYTES>(buffer, write) else {
                    break;
                };
                copy::<18>(&source, 0, room, literals);
                write = end + short + MIN_MATCH;
                continue;
            }
        } else {
            let mut from = read + 1;
            literals += more(block, &mut from)?;
            let left = block.len() - from;
            if literals + HEAD_BYTES > left || literals + ROOM_BYTES > free {
                break;
            }
            copy_literals(block, from, buffer, write, literals);
            read = from + literals;
            offset = offset_at(block, read).ok_or(BlockError::Malformed)?;
            read += 2;
        }
        write += literals;
        if offset == 0 {
            return Err(BlockError::Malformed);
        }
        let mut length = short + MIN_MATCH;
        if short == LONG {
            length += more(block, &mut read)?;
            if length > end - write {
                return Err(BlockError::TooLong(write + length));
            }
        }
        if offset > write {
            return Err(BlockError::Malformed);
        }
        copy_match(buffer, write, offset, length);
        write += length;
    }
    Ok(Position { read, write })
}

/// Decode what is left, with copies of exact length; returns where it ends.
fn decode_rest(block: &[u8], buffer: &mut [u8], begin: Position, end: usize) -> Result<usize, BlockError> {
    let Position { mut read, mut write } = begin;
    loop {
        let token = *block.get(read).ok_or(BlockError::Malformed)?;
        read += 1;
        let mut literals = usize::from(token >> 4);
        if literals == LONG {
            literals += more(block, &mut read)?;
        }
        let source = block.get(read..read + literals).ok_or(BlockError::Malformed)?;
        if literals > end - write {
            return Err(BlockError::TooLong(write + literals));
        }
        if let Some(target) = buffer.get_mut(write..write + literals) {
            target.copy_from_slice(source);
        }
        read += literals;
        write += literals;
        if read == block.len() {
            return Ok(write);
        }
        let offset = offset_at(block, read)
            .filter(|offset| *offset > 0)
            .ok_or(BlockError::Malformed)?;
        read += 2;
        let mut length = usize::from(token & 15) + MIN_MATCH;
        if length == LONG + MIN_MATCH {
            length += more(block, &mut read)?;
        }
        if length > end - write {
            return Err(BlockError::TooLong(write + length));
        }
        if offset > write {
            return Err(BlockError::Malformed);
        }
        repeat(buffer, write, offset, length);
        write += length;
    }
}

#[inline(always)]
pub(super) fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..)?.first_chunk()
}

#[inline(always)]
pub(super) fn chunk_mut<const N: usize>(bytes: &mut [u8], at: usize) -> Option<&mut [u8; N]> {
    bytes.get_mut(at..)?.first_chunk_mut()
}

/// Copy `N` bytes if there are as many on both sides.
#[inline(always)]
fn copy<const N: usize>(source: &[u8], from: usize, target: &mut [u8], to: usize) {
    if let (Some(source), Some(target)) = (chunk::<N>(source, from), chunk_mut::<N>(target, to)) {
        *target = *source;
    }
}

/// Read the offset of a match.
#[inline(always)]
fn offset_at(bytes: &[u8], at: usize) -> Option<usize> {
    chunk(bytes, at).map(|offset| usize::from(u16::from_le_bytes(*offset)))
}

/// Read the bytes that add to a length.
#[inline(always)]
fn more(block: &[u8], read: &mut usize) -> Result<usize, BlockError> {
    let mut sum = 0;
    loop {
        let byte = *block.get(*read).ok_or(BlockError::Malformed)?;
        *read += 1;
        sum += usize::from(byte);
        if byte != 255 {
            return Ok(sum);
        }
    }
}

/// Copy literals; up to 31 bytes more are read and written.
#[inline(always)]
fn copy_literals(block: &[u8], from: usize, buffer: &mut [u8], write: usize, literals: usize) {
    if literals <= 32 {
        copy::<32>(block, from, buffer, write);
    } else if let (Some(source), Some(target)) = (
        block.get(from..from + literals),
        buffer.get_mut(write..write + literals),
    ) {
        target.copy_from_slice(source);
    }
}

/// Copy a match; up to 31 bytes more are written if there is room for them.
#[inline(always)]
fn copy_match(buffer: &mut [u8], write: usize, offset: usize, length: usize) {
    if length <= 32
        && offset >= 32
        && let Some(source) = chunk::<32>(buffer, write - offset)
    {
        let source = *source;
        if let Some(target) = chunk_mut::<32>(buffer, write) {
            *target = source;
            return;
        }
    }
    copy_rare_match(buffer, write, offset, length);
}

#[inline(never)]
fn copy_rare_match(buffer: &mut [u8], write: usize, offset: usize, length: usize) {
    if length > STEPPED_BYTES || write + length + 16 > buffer.len() {
        repeat(buffer, write, offset, length);
    } else if offset >= 16 {
        copy_steps::<16>(buffer, write, offset, length);
    } else if offset >= 8 {
        copy_steps::<8>(buffer, write, offset, length);
    } else {
        copy_pattern(buffer, write, offset, length);
    }
}

/// Copy a match from at least `N` bytes back.
#[inline(always)]
fn copy_steps<const N: usize>(buffer: &mut [u8], write: usize, offset: usize, length: usize) {
    let mut to = write;
    while to < write + length {
        let Some(source) = chunk::<N>(buffer, to - offset) else {
            return;
        };
        let source = *source;
        if let Some(target) = chunk_mut::<N>(buffer, to) {
            *target = source;
        }
        to += N;
    }
}

/// Copy a match from fewer than 8 bytes back: a pattern, again and again.
fn copy_pattern(buffer: &mut [u8], write: usize, offset: usize, length: usize) {
    /// What a pattern of so many bytes is multiplied by, to fill a word with it.
    const REPEAT: [u64; 8] = [
        0,
        0x0101_0101_0101_0101,
        0x0001_0001_0001_0001,
        0x0001_0000_0100_0001,
        0x0000_0001_0000_0001,
        0x0000_0100_0000_0001,
        0x0001_0000_0000_0001,
        0x0100_0000_0000_0001,
    ];
    let (Some(word), Some(repeat)) = (chunk::<8>(buffer, write - offset), REPEAT.get(offset)) else {
        return;
    };
    let pattern = u64::from_le_bytes(*word) & ((1 << (8 * offset)) - 1);
    let pattern = pattern.wrapping_mul(*repeat).to_le_bytes();
    // As many bytes as hold the pattern a whole number of times.
    let step = 8 / offset * offset;
    let mut to = write;
    while to < write + length {
        if let Some(target) = chunk_mut::<8>(buffer, to) {
            *target = pattern;
        }
        to += step;
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

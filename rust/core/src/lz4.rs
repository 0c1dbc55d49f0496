//! The LZ4 frame layer: headers, blocks and checksums around a block decoder of our own, a block
//! encoder of our own for grouped weights and that of `lz4_flex` for all else.
//!
//! Reads every legal frame (independent or linked blocks, stored blocks, several blocks, block and
//! content checksums, content size) into a buffer of exactly the expected length, and writes the
//! plainest one. Not supported: dictionaries, skippable and legacy frames, more than one frame.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | magic 0x184d2204, little-endian |
//! | 4 | 1 | FLG: version (bits 7-6, 01), independent (5), block checksums (4), content size (3), content checksum (2), reserved (1), dictionary (0) |
//! | 5 | 1 | BD: largest block (bits 6-4: 4..=7 for 64 KiB, 256 KiB, 1 MiB, 4 MiB), the rest reserved |
//! | 6 | 8 or 0 | content size, little-endian |
//! | .. | 1 | second byte of xxh32 over FLG..here |
//! | .. | .. | blocks: u32 length (bit 31: stored), bytes, optional xxh32 of the bytes |
//! | .. | 4 | end mark, zero |
//! | .. | 4 or 0 | xxh32 of the content |
//!
//! Source: LZ4 Frame Format Description 1.6.

mod block;
mod planes;

use std::ops::Range;

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
use twox_hash::XxHash32;

use crate::buffer::front;
use crate::error::{Error, Result};
use crate::lz4::block::BlockError;
pub(crate) use crate::lz4::block::ROOM_BYTES;
use crate::reader::Reader;

const FORMAT: &str = "lz4 frame";
const MAGIC: u32 = 0x184d_2204;
const LEGACY_MAGIC: u32 = 0x184c_2102;
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;
const STORED_BIT: u32 = 1 << 31;

/// Bytes a frame of one block adds to the block: header, block length and end mark.
pub const OVERHEAD_BYTES: usize = 7 + 4 + 4;

struct Descriptor {
    independent: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_bytes: Option<u64>,
    max_block_bytes: usize,
}

/// Decode the one frame `frame` into `dst`, which must have exactly the length of its content.
///
/// Never writes outside `dst` and never allocates. Bytes after the frame are an error.
pub fn decode(frame: &[u8], dst: &mut [u8]) -> Result<()> {
    let length = dst.len();
    decode_front(frame, dst, length)
}

/// Decode `frame` to the first `length` bytes of `buffer`; the rest is room, which makes it faster.
///
/// As [`decode`] in all else.
pub(crate) fn decode_front(frame: &[u8], buffer: &mut [u8], length: usize) -> Result<()> {
    let mut reader = Reader::new(FORMAT, frame);
    let descriptor = read_descriptor(&mut reader)?;
    if let Some(bytes) = descriptor.content_bytes
        && bytes != length as u64
    {
        return Err(wrong_length(length, bytes, 0));
    }
    let mut filled = 0_usize;
    while let Some(written) = decode_block(&mut reader, &descriptor, buffer, filled..length)? {
        filled = filled.saturating_add(written);
    }
    if filled != length {
        return Err(wrong_length(length, filled as u64, reader.offset()));
    }
    let content = buffer.get(..length).unwrap_or_default();
    if descriptor.content_checksum && reader.u32()? != XxHash32::oneshot(0, content) {
        return Err(reader.malformed(4, "lz4_content_checksum", "content checksum does not match"));
    }
    if reader.remaining() > 0 {
        return Err(reader.malformed(0, "lz4_trailing_bytes", "bytes follow the end of the frame"));
    }
    Ok(())
}

fn read_descriptor(reader: &mut Reader<'_>) -> Result<Descriptor> {
    match reader.u32()? {
        MAGIC => {}
        LEGACY_MAGIC => return Err(reader.malformed(4, "lz4_unsupported", "legacy frames are not supported")),
        magic if magic & 0xffff_fff0 == SKIPPABLE_MAGIC => {
            return Err(reader.malformed(4, "lz4_unsupported", "skippable frames are not supported"));
        }
        _ => return Err(reader.malformed(4, "lz4_magic", "wrong magic number")),
    }
    let start = reader.clone();
    let flags = reader.u8()?;
    let sizes = reader.u8()?;
    if flags >> 6 != 1 {
        return Err(reader.malformed(2, "lz4_version", "frame version is not 1"));
    }
    if flags & 0b10 != 0 || sizes & 0x8f != 0 {
        return Err(reader.malformed(2, "lz4_reserved_bits", "reserved bits are set"));
    }
    let max_block_bytes = match sizes >> 4 {
        4 => 64 << 10,
        5 => 256 << 10,
        6 => 1 << 20,
        7 => 4 << 20,
        _ => return Err(reader.malformed(1, "lz4_block_size", "largest block size is not 4, 5, 6 or 7")),
    };
    let content_bytes = if flags & 0b1000 != 0 { Some(reader.u64()?) } else { None };
    if flags & 0b1 != 0 {
        return Err(reader.malformed(0, "lz4_dictionary", "frame needs a dictionary, which Xet never has"));
    }
    let header_bytes = reader.offset().saturating_sub(start.offset());
    let header = start
        .rest()
        .get(..usize::try_from(header_bytes).unwrap_or_default())
        .unwrap_or_default();
    let [_, check, _, _] = XxHash32::oneshot(0, header).to_le_bytes();
    if reader.u8()? != check {
        return Err(reader.malformed(1, "lz4_header_checksum", "header checksum does not match"));
    }
    Ok(Descriptor {
        independent: flags & 0b10_0000 != 0,
        block_checksums: flags & 0b1_0000 != 0,
        content_checksum: flags & 0b100 != 0,
        content_bytes,
        max_block_bytes,
    })
}

/// Decode the next block to the start of `free` in `buffer`; returns its length, or `None` at the end mark.
fn decode_block(
    reader: &mut Reader<'_>,
    descriptor: &Descriptor,
    buffer: &mut [u8],
    free: Range<usize>,
) -> Result<Option<usize>> {
    let header = reader.u32()?;
    if header == 0 {
        return Ok(None);
    }
    let offset = reader.offset();
    let stored_bytes = usize::try_from(header & !STORED_BIT).unwrap_or(usize::MAX);
    if stored_bytes > descriptor.max_block_bytes {
        return Err(reader.malformed(4, "lz4_block_size", "block is larger than the frame header allows"));
    }
    let block = reader.take(stored_bytes)?;
    if descriptor.block_checksums && reader.u32()? != XxHash32::oneshot(0, block) {
        return Err(reader.malformed(4, "lz4_block_checksum", "block checksum does not match"));
    }
    let too_long = |bytes: usize| wrong_length(free.end, (free.start as u64).saturating_add(bytes as u64), offset);
    if header & STORED_BIT != 0 {
        if block.len() > free.len() {
            return Err(too_long(block.len()));
        }
        if let Some(target) = buffer.get_mut(free.start..free.start + block.len()) {
            target.copy_from_slice(block);
        }
        return Ok(Some(block.len()));
    }
    // What an independent block may refer to begins with itself.
    let origin = if descriptor.independent { free.start } else { 0 };
    let window = buffer.get_mut(origin..).unwrap_or_default();
    let start = free.start - origin;
    let end = start.saturating_add(free.len().min(descriptor.max_block_bytes));
    match block::decode(block, window, start, end) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(BlockError::TooLong(bytes)) => Err(too_long(bytes)),
        Err(BlockError::Malformed) => Err(Error::Malformed {
            format: FORMAT,
            offset,
            code: "lz4_block",
            reason: "block does not decode",
        }),
    }
}

const fn wrong_length(expected: usize, actual: u64, offset: u64) -> Error {
    Error::LengthMismatch {
        what: "lz4 content",
        expected: expected as u64,
        actual,
        offset,
        code: "decoded_length",
    }
}

/// What makes a block of data, or nothing if it cannot.
type Compress = for<'a> fn(&'a mut Encoder, &[u8]) -> &'a [u8];

/// Writes frames; keeps its hash tables and its buffer between calls.
pub struct Encoder {
    table: CompressTable,
    planes: planes::Table,
    block: Vec<u8>,
}

impl Default for Encoder {
    /// With the table for long inputs, which the first of them would bring for good: what data becomes
    /// depends on the data alone.
    fn default() -> Self {
        Self {
            table: CompressTable::large(),
            planes: planes::Table::default(),
            block: Vec::new(),
        }
    }
}

impl Encoder {
    /// Append one frame that holds `data` to `out`.
    ///
    /// Independent blocks, no checksums, no content size: one block for anything a xorb can hold.
    pub fn encode(&mut self, data: &[u8], out: &mut Vec<u8>) {
        self.encode_by(Self::compress, data, out);
    }

    /// Append one frame that holds `planes`, bytes grouped by position modulo 4, to `out`.
    ///
    /// As [`Self::encode`] in all else, and for any data; faster than it where these are weights.
    pub fn encode_planes(&mut self, planes: &[u8], out: &mut Vec<u8>) {
        self.encode_by(Self::compress_planes, planes, out);
    }

    fn encode_by(&mut self, compress: Compress, data: &[u8], out: &mut Vec<u8>) {
        const FLAGS: u8 = 0x60;
        let (sizes, block_bytes) = match data.len() {
            0..=0x1_0000 => (0x40, 64 << 10),
            0x1_0001..=0x4_0000 => (0x50, 256 << 10),
            0x4_0001..=0x10_0000 => (0x60, 1 << 20),
            _ => (0x70, 4 << 20),
        };
        let [_, check, _, _] = XxHash32::oneshot(0, &[FLAGS, sizes]).to_le_bytes();
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&[FLAGS, sizes, check]);
        for block in data.chunks(block_bytes) {
            self.encode_block(compress, block, out);
        }
        out.extend_from_slice(&[0; 4]);
    }

    fn encode_block(&mut self, compress: Compress, data: &[u8], out: &mut Vec<u8>) {
        let block = compress(self, data);
        let (block, stored) = if block.is_empty() || block.len() >= data.len() {
            (data, STORED_BIT)
        } else {
            (block, 0)
        };
        // A block is at most 4 MiB, so the length always fits.
        let header = u32::try_from(block.len()).unwrap_or_default() | stored;
        out.extend_from_slice(&header.to_le_bytes());
        out.extend_from_slice(block);
    }

    /// Return `data` as one block, or nothing if it cannot be.
    ///
    /// Written apart and then copied: to write to the end of a vector would be to fill it with zeros first.
    fn compress(&mut self, data: &[u8]) -> &[u8] {
        let room = front(&mut self.block, get_maximum_output_size(data.len()));
        let bytes = compress_into_with_table(data, room, &mut self.table).unwrap_or_default();
        room.get(..bytes).unwrap_or_default()
    }

    /// Return planes as one block, or nothing if it would not be smaller.
    fn compress_planes(&mut self, planes: &[u8]) -> &[u8] {
        let room = front(&mut self.block, planes.len().saturating_add(planes::SLACK_BYTES));
        let bytes = planes::encode(planes, room, &mut self.planes).unwrap_or_default();
        room.get(..bytes).unwrap_or_default()
    }

    /// Say whether LZ4 makes `data` any smaller.
    pub(crate) fn shrinks(&mut self, data: &[u8]) -> bool {
        let bytes = self.compress(data).len();
        bytes > 0 && bytes < data.len()
    }
}

/// Append one frame that holds `data` to `out`.
pub fn encode(data: &[u8], out: &mut Vec<u8>) {
    Encoder::default().encode(data, out);
}

//! Xorbs: containers of up to 8192 chunks and 64 MiB of raw bytes.
//!
//! A stored xorb is its chunks, a footer that repeats their hashes and offsets, and the length of
//! the footer as `u32`. An uploaded xorb is the chunks alone. Parsing decodes and hashes every
//! chunk; the limits count raw bytes, not stored ones.
//!
//! Source: draft-denis-xet-03, "Xorb Format"; where it differs, the deployed client.

mod builder;
mod footer;
mod header;
mod meta;
mod parser;

use crate::chunker;
use crate::error::Error;

pub use builder::XorbBuilder;
pub use footer::{Footer, footer_bytes, parse_footer, write_footer};
pub use header::ChunkHeader;
pub use meta::{ChunkMeta, XorbMeta};
pub use parser::{ParsedChunk, XorbParser, parse_xorb};

/// Most raw bytes in a xorb.
pub const MAX_RAW_BYTES: u64 = 67_108_864;

/// Most chunks in a xorb.
pub const MAX_CHUNKS: usize = 8192;

/// Most raw bytes in a chunk.
pub const MAX_CHUNK_BYTES: u32 = 131_072;

/// Most payload bytes of a chunk that a reader accepts; no writer makes more than the raw length.
pub const MAX_COMPRESSED_CHUNK_BYTES: u32 = 2 * MAX_CHUNK_BYTES;

/// Most bytes of chunk data that a writer can make: every chunk stored raw.
pub const MAX_CHUNK_DATA_BYTES: u64 = MAX_RAW_BYTES + (MAX_CHUNKS * ChunkHeader::BYTES) as u64;

/// Longest footer, with its length field.
pub const MAX_FOOTER_BYTES: usize = footer::v1_bytes(MAX_CHUNKS) + footer::LENGTH_BYTES;

const _: () = assert!(MAX_CHUNK_BYTES as usize == chunker::MAX_CHUNK_BYTES);

pub(crate) const fn too_many_chunks(actual: u64, offset: u64) -> Error {
    Error::LimitExceeded {
        what: "xorb chunk count",
        limit: MAX_CHUNKS as u64,
        actual,
        offset,
        code: "xorb_chunks",
    }
}

pub(crate) const fn too_many_bytes(actual: u64, offset: u64) -> Error {
    Error::LimitExceeded {
        what: "xorb raw length",
        limit: MAX_RAW_BYTES,
        actual,
        offset,
        code: "xorb_raw_bytes",
    }
}

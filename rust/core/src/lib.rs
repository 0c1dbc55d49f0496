//! The Xet codec: bytes in, values out.
//!
//! Chunk boundaries, keyed BLAKE3 hashes, merkle roots, chunk codecs, xorbs, shards and
//! reconstruction plans. Nothing here opens a file, reads a clock or an environment variable,
//! starts a thread (what runs on several, runs on those of the current rayon pool) or knows about Python; every parser takes an explicit output limit or is
//! bounded by the bytes it was given.
//!
//! Source: draft-denis-xet-03, and where the deployed `hf_xet` 1.8.0 differs from it, `hf_xet`.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub mod bg4;
pub mod buffer;
pub mod chunker;
pub mod codec;
mod cuts;
pub mod error;
pub mod gear;
mod gear_table;
pub mod hash;
pub mod lz4;
pub mod merkle;
pub mod parallel;
pub mod plan;
mod probe;
mod reader;
pub mod shard;
pub mod xorb;

pub use chunker::{Chunker, MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, TARGET_CHUNK_BYTES};
pub use codec::Scheme;
pub use error::{Error, Result};
pub use hash::Hash;

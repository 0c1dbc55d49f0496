//! Content of other hosts, kept on disk: chunks of xorbs, plain files, plans of files.
//!
//! Under one root: `xorbs/`, `plain/`, `plans/`, `tmp/` and `lock`. One process, the holder of the
//! lock, writes; others may read, verify and delete beside it. A kill at any instruction loses at
//! most what was being written: records are appended after the bytes they speak of, each with a
//! checksum, and every read is checked against one. Nothing here opens a connection; what content is
//! right is decided by the caller, who proves chunks and files by their hashes.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )
)]

#[cfg(test)]
extern crate self as xetway_cache;

mod cache;
mod damage;
mod disk;
mod error;
mod evict;
#[cfg(test)]
mod full_disk;
mod kinds;
mod layout;
mod log;
mod plain;
mod plan;
mod records;
mod registry;
mod scan;
mod table;
mod usage;
mod verify;
mod xorb;

pub use cache::{Cache, Lock};
pub use error::{Error, Result};
pub use kinds::{
    ChunkInfo, Entry, FilePlan, Holding, Kind, Limits, NewChunk, Piece, PlainKey, Pruned, Usage, Verdict, VerifyReport,
};
pub use plain::PlainFile;
pub use xorb::CachedXorb;

//! The pull-through mirror: content of another store, fetched once, proven, and served to many.
//!
//! [`Mirror`] joins the network (`xetway-client`) and the disk (`xetway-cache`): however many ask, a
//! range is fetched once, and readers follow it as it grows. Hashes decide what is right: what is
//! proven when, and what happens to those who were shown bytes that turn out wrong, is said where
//! it is done, in `proof`, `reader` and `files`. Who may read what is decided elsewhere.
//!
//! Everything async needs a `tokio` runtime with time and I/O.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod addresses;
mod content;
mod digests;
mod error;
mod files;
mod flights;
mod growing;
mod known;
mod landing;
mod ledger;
mod mirror;
mod plain;
mod plan;
mod prefetch;
mod proof;
mod reader;
mod registry;
mod sources;
mod stats;
mod stream;

pub use error::{Error, Result};
pub use mirror::{Known, KnownPlain, Mirror, PlainSource, Planned};
pub use stats::MirrorStats;
pub use stream::Stream;
pub use xetway_cache::{Limits, PlainKey};

//! Xorbs as immutable files in a folder: written once, verified whenever they are read.
//!
//! Under one root: `xorbs/<2 hex>/<64 hex>.xorb` (chunk data, V1 footer, footer length) and `tmp/` for
//! what is being written. Every chunk is decoded and hashed before a byte of it is handed out.
//! Nothing here knows files, repositories, databases or Python; which xorbs may be removed is
//! decided elsewhere.
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

mod check;
mod cutter;
mod dedup;
mod encoding;
mod error;
mod file_hash;
mod footers;
mod ingest;
mod layout;
mod packer;
mod packing;
mod part;
mod positioned;
mod reader;
mod rebuild;
mod scratch;
mod serialized;
mod sha256;
mod store;
mod stored;
mod target;
mod writer;
mod xorb_file;

pub use error::{Error, Result};
pub use file_hash::{hash_file, hash_files};
pub use ingest::{FileIngest, Ingested};
pub use reader::{ContentReader, PieceReader};
pub use scratch::Scratch;
pub use serialized::SerializedReader;
pub use sha256::Sha256Reader;
pub use store::XorbStore;
pub use writer::{Finished, XorbWriter};

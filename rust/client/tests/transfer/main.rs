//! Downloads and uploads against a small store on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod files;
mod plain;
mod resume;
mod samples;
mod store;
mod streams;
mod uploads;

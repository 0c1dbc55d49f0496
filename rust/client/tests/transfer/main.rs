//! Downloads and uploads against a small store on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a panic in a test is a failure, and samples are small"
)]

mod files;
mod plain;
mod resume;
mod samples;
mod store;
mod streams;
mod together;
mod uploads;

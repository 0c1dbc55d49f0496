//! What becomes of requests when upstreams behave, and when they do not: real sockets, raw bytes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod answers;
mod connections;
mod encrypted;
mod failures;
mod raw;

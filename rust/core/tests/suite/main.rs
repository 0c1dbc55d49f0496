//! Tests of the codec against vectors made with the deployed client, naive oracles and other crates.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::large_stack_arrays,
    clippy::too_many_lines,
    clippy::unreadable_literal,
    reason = "a test that panics is a test that fails; vectors are copied as they were measured"
)]

mod bg4;
mod chunker;
mod codec;
mod gear;
mod hash;
mod inputs;
mod lz4;
mod lz4_blocks;
mod lz4_planes;
mod merkle;
mod parallel;
mod plan;
mod shard;
mod streams;
mod xorb;
mod xorb_damage;

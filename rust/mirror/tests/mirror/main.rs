//! The mirror between a store and its readers, over real sockets and a real folder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::large_futures,
    clippy::needless_for_each,
    clippy::semicolon_if_nothing_returned,
    clippy::single_range_in_vec_init,
    unreachable_pub
)]

mod changes;
mod content;
mod faults;
mod offline;
mod plain;
mod plans;
mod proof;
mod restarts;
mod sharing;
mod upstream;
mod world;

//! The transfer client: Xet and plain files over HTTP, fast, bounded and verified.
//!
//! One [`Http`] holds what all transfers of a process share: connections, trust, proxies, retries,
//! concurrency, the rate limit. On it stand the content-addressed store ([`Cas`]), ranges of xorbs
//! that survive cuts and expired URLs ([`RangeBody`]) and the frames inside them ([`FrameParser`]).
//! No disk cache, no command line, no Python.
//!
//! Needs a `tokio` runtime with time and I/O. Nothing here blocks an I/O thread: decoding and
//! hashing run on the threads of [`compute`].
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

pub mod budget;
pub mod cas;
pub mod compute;
pub mod credentials;
pub mod download;
pub mod error;
mod failure;
pub mod fetch;
pub mod frames;
pub mod http;
pub mod limiter;
pub mod options;
mod proxies;
mod rate;
pub mod reconstruction;
mod retry;
pub mod seal;
pub mod secret;
mod tls;
pub mod upload;

pub use budget::{Budget, Permit};
pub use cas::Cas;
pub use credentials::Credentials;
pub use error::{Error, Result, TransportKind};
pub use fetch::{RangeBody, UrlSource};
pub use frames::{Decoded, Frame, FrameParser};
pub use futures_util::future::BoxFuture;
pub use http::{Answer, Body, Http, Request, Stats};
pub use limiter::Limiter;
pub use options::{Concurrency, Options, StallPolicy};
pub use reconstruction::{Fetch, Reconstruction};
pub use secret::Secret;

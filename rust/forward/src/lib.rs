//! One request to one upstream, and its answer, at the lowest cost per request.
//!
//! Connections are kept for each upstream and driven by the task of the request that uses them: no task and no
//! channel stands between the socket and who waits for it. Nothing is decided here but what HTTP asks
//! for (RFC 9110, RFC 9112, RFC 9113): who may call, which upstream is asked and what is tried after a failure
//! is the caller's business.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod answer;
mod connect;
mod error;
mod exchange;
mod failure;
mod headers;
mod io;
mod pool;
mod shared;
mod tls;
mod upstream;

pub use answer::{Answer, Body, Reading};
pub use error::{Error, Kind, Result};
pub use headers::RequestHeaders;
pub use http::HeaderMap;
pub use upstream::{Limits, Protocol, Request, Settings, Upstream};

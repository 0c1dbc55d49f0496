//! What can be set about transfers; every default is safe on an unknown network.

use std::path::PathBuf;
use std::time::Duration;

/// How many bodies are read at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// Follow the goodput: begin with `initial`, never more than `max`.
    Adaptive {
        /// Bodies at the beginning.
        initial: usize,
        /// Most bodies ever.
        max: usize,
    },
    /// Exactly this many.
    Fixed(usize),
}

/// When a body that still trickles counts as stalled: fewer than `min_bytes` in `window` of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StallPolicy {
    /// Time waited for the network; time the reader takes is not counted.
    pub window: Duration,
    /// Bytes that must have come in it.
    pub min_bytes: u64,
}

/// Settings of an [`crate::Http`].
#[derive(Clone, Debug)]
pub struct Options {
    /// `User-Agent` of every request.
    pub user_agent: String,
    /// PEM file of certificates to trust besides those of the system and the environment.
    pub ca_bundle: Option<PathBuf>,
    /// How many bodies are read at a time.
    pub concurrency: Concurrency,
    /// Most bytes received per second, over all bodies.
    pub rate_limit_bytes_s: Option<u64>,
    /// Size of the [`crate::Budget`] that bulk transfers share.
    pub max_in_flight_bytes: u64,
    /// Most time to connect, TLS and proxy included.
    pub connect_timeout: Duration,
    /// Most time between the request of a body and the head of its answer, connecting not included.
    pub first_byte_timeout: Duration,
    /// When a body counts as stalled.
    pub stall: StallPolicy,
    /// Tries in all, the first included, before a failure is final.
    pub attempts: u32,
    /// Tries in all while none of them connects to the host; `None` means as many as otherwise.
    ///
    /// Does not concern the ranges of xorbs.
    pub connect_attempts: Option<u32>,
    /// Longest first pause between tries; it doubles with each.
    pub retry_base: Duration,
    /// Longest pause we choose ourselves.
    pub retry_cap: Duration,
    /// Whether the proxies of the environment are used.
    pub use_proxies: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            user_agent: concat!("xetway/", env!("CARGO_PKG_VERSION")).to_owned(),
            ca_bundle: None,
            concurrency: Concurrency::Adaptive { initial: 8, max: 64 },
            rate_limit_bytes_s: None,
            max_in_flight_bytes: 128 << 20,
            connect_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(60),
            stall: StallPolicy {
                window: Duration::from_secs(30),
                min_bytes: 64 << 10,
            },
            attempts: 6,
            connect_attempts: None,
            retry_base: Duration::from_millis(500),
            retry_cap: Duration::from_secs(30),
            use_proxies: true,
        }
    }
}

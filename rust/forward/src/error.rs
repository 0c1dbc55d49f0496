//! The one error type: what failed, and whether anything of the answer had come.
//!
//! Messages name hosts, never whole URLs, and never hold a header.

use std::fmt;
use std::sync::Arc;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where on the way to the upstream and back it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The name of the host could not be resolved.
    Dns,
    /// No connection could be made.
    Connect,
    /// No connection in time.
    ConnectTimeout,
    /// TLS failed: a certificate that is not trusted, or the handshake itself.
    Tls,
    /// All connections were in use, for as long as a new one may take.
    Busy,
    /// No head of an answer in time.
    FirstByteTimeout,
    /// The body came to a halt.
    Stalled,
    /// The answer took too long as a whole.
    TotalTimeout,
    /// The connection ended before anything of an answer.
    Reset,
    /// The connection ended in the middle of the answer.
    Cut,
    /// The answer breaks the protocol.
    Malformed,
    /// The head of the answer is longer than 64 KiB, or has too many headers.
    HeadTooLarge,
}

/// Why a request was not answered.
#[derive(Clone, Debug)]
pub enum Error {
    /// A setting cannot be used.
    Setting {
        /// The setting.
        what: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// What was asked for cannot be sent.
    Request {
        /// What is wrong with it.
        message: String,
    },
    /// The network or the upstream failed.
    Transport {
        /// Where on the way.
        kind: Kind,
        /// Host, with the port.
        host: Arc<str>,
        /// Whether bytes of the answer had come: then another upstream must not be asked.
        seen: bool,
        /// Cause, and remedy where there is one.
        message: String,
    },
}

impl Error {
    /// Return the stable `snake_case` code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Setting { .. } => "bad_setting",
            Self::Request { .. } => "bad_header",
            Self::Transport { kind, .. } => match kind {
                Kind::Dns => "dns_failure",
                Kind::Connect => "connect_failed",
                Kind::ConnectTimeout => "connect_timed_out",
                Kind::Tls => "tls_untrusted",
                Kind::Busy => "upstream_busy",
                Kind::FirstByteTimeout => "first_byte_timed_out",
                Kind::Stalled => "stalled",
                Kind::TotalTimeout => "timed_out",
                Kind::Reset => "connection_reset",
                Kind::Cut => "connection_cut",
                Kind::Malformed => "bad_answer",
                Kind::HeadTooLarge => "head_too_large",
            },
        }
    }

    /// Say whether nothing of an answer had come, so that the request may be sent elsewhere.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Transport { seen: false, .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { what, message } => write!(f, "{what}: {message}"),
            Self::Request { message } | Self::Transport { message, .. } => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

//! The one error type of the client: structured fields, a stable code for each case.
//!
//! One failure is told to every waiter, hence `Clone`. Messages name hosts, never whole URLs, and
//! never hold a token, a query string or the credentials of a proxy.

use std::fmt;
use std::io;
use std::sync::Arc;

/// `X-Error-Code` of a mirror that does not have something and may not ask for it: it will not have it soon.
const NOT_CACHED: &str = "NotCached";

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where on the way to the other side it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransportKind {
    /// The name of the host could not be resolved.
    Dns,
    /// There is no host of that name.
    NoSuchHost,
    /// No connection could be made.
    Connect,
    /// TLS failed: a certificate that is not trusted, or the handshake itself.
    Tls,
    /// The proxy could not be reached, or would not connect to the host.
    Proxy,
    /// The proxy refused our credentials, or wants some.
    ProxyAuth,
    /// No connection in time.
    ConnectTimeout,
    /// No answer in time.
    Timeout,
    /// The body came to a halt, or nearly.
    Stalled,
    /// The connection ended before the body did.
    Cut,
    /// The answer breaks the protocol, or is not the one asked for.
    Protocol,
}

/// Why a transfer failed.
#[derive(Clone, Debug)]
pub enum Error {
    /// A setting cannot be used.
    Config {
        /// The setting or environment variable.
        what: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The network failed.
    Transport {
        /// Where on the way.
        kind: TransportKind,
        /// Host, with the port if it is not the usual one.
        host: String,
        /// Cause, and remedy where there is one.
        message: String,
    },
    /// The other side refused, or failed itself.
    Status {
        /// HTTP status.
        status: u16,
        /// Host, with the port if it is not the usual one.
        host: String,
        /// `X-Error-Code`.
        code: Option<String>,
        /// `X-Error-Message`, or `error` of a JSON body: one line, at most 300 characters.
        message: String,
        /// `X-Request-Id`.
        request_id: Option<String>,
        /// `Retry-After`, in seconds from now.
        retry_after_s: Option<u64>,
    },
    /// Bytes that are not what their format wants.
    Format(xetway_core::Error),
    /// Content that is not what its name promises.
    Integrity {
        /// What was checked.
        what: &'static str,
        /// What it should have been.
        expected: String,
        /// What it was.
        actual: String,
    },
    /// A local file failed.
    Io {
        /// What was being done.
        action: &'static str,
        /// The failure.
        source: Arc<io::Error>,
    },
    /// The transfer was given up before it ended.
    Cancelled,
}

impl Error {
    /// Make a transport error.
    pub fn transport(kind: TransportKind, host: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Transport {
            kind,
            host: host.into(),
            message: message.into(),
        }
    }

    /// Make an error of a local file.
    pub fn io(action: &'static str, source: io::Error) -> Self {
        Self::Io {
            action,
            source: Arc::new(source),
        }
    }

    /// Say whether the same request may succeed when it is sent again.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport { kind, .. } => !matches!(
                kind,
                TransportKind::NoSuchHost | TransportKind::Tls | TransportKind::ProxyAuth
            ),
            Self::Status { status, code, .. } => is_retryable_status(*status) && code.as_deref() != Some(NOT_CACHED),
            // Bytes damaged on the way look like these.
            Self::Format(_) | Self::Integrity { .. } => true,
            Self::Config { .. } | Self::Io { .. } | Self::Cancelled => false,
        }
    }

    /// Say whether the host could not even be connected to.
    pub fn is_unreachable(&self) -> bool {
        use TransportKind::{Connect, ConnectTimeout, Dns, NoSuchHost, Proxy, Tls};
        matches!(
            self,
            Self::Transport {
                kind: Dns | NoSuchHost | Connect | ConnectTimeout | Tls | Proxy,
                ..
            }
        )
    }

    /// Return the stable `snake_case` code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config { .. } => "bad_setting",
            Self::Transport { kind, .. } => match kind {
                TransportKind::Dns | TransportKind::NoSuchHost => "dns_failure",
                TransportKind::Connect => "connect_failed",
                TransportKind::Tls => "tls_untrusted",
                TransportKind::Proxy => "proxy_failed",
                TransportKind::ProxyAuth => "proxy_auth_failed",
                TransportKind::ConnectTimeout | TransportKind::Timeout => "timed_out",
                TransportKind::Stalled => "stalled",
                TransportKind::Cut => "connection_cut",
                TransportKind::Protocol => "bad_answer",
            },
            Self::Status { .. } => "upstream_status",
            Self::Format(error) => error.code(),
            Self::Integrity { .. } => "upstream_integrity",
            Self::Io { .. } => "local_io",
            Self::Cancelled => "cancelled",
        }
    }

    /// Return how long the other side asked us to wait.
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Status { retry_after_s, .. } => *retry_after_s,
            _ => None,
        }
    }
}

/// Say whether a status is worth another try: the server's own trouble, not ours.
pub(crate) fn is_retryable_status(status: u16) -> bool {
    matches!(status, 408 | 429) || ((500..600).contains(&status) && !matches!(status, 501 | 508))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config { what, message } => write!(f, "{what}: {message}"),
            Self::Transport { message, .. } => f.write_str(message),
            Self::Status {
                status,
                host,
                code,
                message,
                request_id,
                ..
            } => {
                write!(f, "{host} answered with status {status}")?;
                if let Some(code) = code {
                    write!(f, " ({code})")?;
                }
                if !message.is_empty() {
                    write!(f, ": {message}")?;
                }
                match request_id {
                    Some(id) => write!(f, " [request {id}]"),
                    None => Ok(()),
                }
            }
            Self::Format(error) => error.fmt(f),
            Self::Integrity { what, expected, actual } => {
                write!(f, "{what} is not what it should be: wanted {expected}, got {actual}")
            }
            Self::Io { action, source } => write!(f, "cannot {action}: {source}"),
            Self::Cancelled => f.write_str("the transfer was cancelled"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Format(error) => Some(error),
            Self::Io { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}

impl From<xetway_core::Error> for Error {
    fn from(error: xetway_core::Error) -> Self {
        Self::Format(error)
    }
}

//! The one error type of the mirror: exhaustive, with a stable code for each case.

use std::fmt;

use xetway_core::Hash;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the mirror could not do what it was asked. Cheap to clone: one failure is told to many waiters.
#[derive(Clone, Debug)]
pub enum Error {
    /// The upstream, or the way to it, failed.
    Client(xetway_client::Error),
    /// The disk, or what is on it, failed.
    Cache(xetway_cache::Error),
    /// It is not held, and the upstream must not be asked.
    NotCached {
        /// What is not held.
        what: String,
    },
    /// The addresses of the file's content are not known any more: it has to be planned again.
    PlanLost {
        /// The file.
        file: Hash,
    },
    /// Bytes that were shown before turned out wrong, or can't be vouched for any more: the transfer
    /// has to begin anew.
    ContentChanged {
        /// The file, by its hash or digest.
        what: String,
    },
    /// What the upstream sends is not what the name of the file promises, however often it is asked.
    UpstreamIntegrity {
        /// What was checked.
        what: String,
        /// The hash it should have.
        expected: String,
        /// What it has.
        actual: String,
    },
    /// A range that does not lie in the file.
    RangeOutside {
        /// First byte asked for.
        start: u64,
        /// One past the last byte asked for.
        end: u64,
        /// Size of the file in bytes.
        size: u64,
    },
}

impl Error {
    /// Return the stable `snake_case` code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Client(error) => error.code(),
            Self::Cache(error) => error.code(),
            Self::NotCached { .. } => "not_cached",
            Self::PlanLost { .. } => "plan_lost",
            Self::ContentChanged { .. } => "mirror_content_changed",
            Self::UpstreamIntegrity { .. } => "upstream_integrity",
            Self::RangeOutside { .. } => "range_outside",
        }
    }

    pub(crate) fn changed(file: &Hash) -> Self {
        Self::ContentChanged {
            what: format!("file {file}"),
        }
    }

    /// Whether a transfer was given up because nobody waited for it: whoever waits now tries again.
    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(self, Self::Client(xetway_client::Error::Cancelled))
    }
}

impl From<xetway_client::Error> for Error {
    fn from(error: xetway_client::Error) -> Self {
        Self::Client(error)
    }
}

impl From<xetway_cache::Error> for Error {
    fn from(error: xetway_cache::Error) -> Self {
        Self::Cache(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::Cache(error) => error.fmt(f),
            Self::NotCached { what } => write!(f, "not cached, and the upstream is not to be asked: {what}"),
            Self::PlanLost { file } => write!(f, "the content of file {file} has to be planned again"),
            Self::ContentChanged { what } => write!(
                f,
                "bytes of {what} that were sent before turned out wrong: discard them and begin again"
            ),
            Self::UpstreamIntegrity { what, expected, actual } => write!(
                f,
                "{what} from the upstream is not what its name promises: wanted {expected}, got {actual}"
            ),
            Self::RangeOutside { start, end, size } => {
                write!(f, "byte range [{start}, {end}) does not lie in a file of {size} bytes")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Client(error) => Some(error),
            Self::Cache(error) => Some(error),
            _ => None,
        }
    }
}

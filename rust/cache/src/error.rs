//! What can go wrong with cached content: one enum, exhaustive, without paths or content.

use std::fmt;
use std::io;
use std::sync::Arc;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a cache operation failed. Cheap to clone: one failure is told to many waiters.
#[derive(Clone, Debug)]
pub enum Error {
    /// What the caller passed in is outside the limits of its format.
    Format(xetway_core::Error),
    /// New content differs from content that was proven.
    Integrity {
        /// What it is, by name.
        what: String,
        /// What is known to be right.
        expected: String,
        /// What arrived.
        actual: String,
    },
    /// New content differs from content that nobody has proven yet: one of the two is wrong.
    Conflict {
        /// What it is, by name.
        what: String,
        /// What arrived first.
        known: String,
        /// What arrived now.
        actual: String,
    },
    /// The limits leave no room, and what is not in use cannot make enough.
    Full {
        /// Bytes that were to be stored.
        wanted_bytes: u64,
        /// Bytes that could have been made free.
        evictable_bytes: u64,
    },
    /// Another process serves from this folder.
    InUse,
    /// An operation that does not fit the state of the thing it was called on.
    State {
        /// What was used.
        object: &'static str,
        /// Why it can't be.
        problem: &'static str,
    },
    /// The operating system refused.
    Io {
        /// What was being done.
        action: &'static str,
        /// Its answer.
        source: Arc<io::Error>,
    },
}

impl Error {
    /// Return the stable `snake_case` code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Format(error) => error.code(),
            Self::Integrity { .. } => "cache_integrity",
            Self::Conflict { .. } => "cache_conflict",
            Self::Full { .. } => "storage_full",
            Self::InUse => "cache_in_use",
            Self::State { .. } => "cache_state",
            Self::Io { .. } => "cache_io",
        }
    }

    /// Wrap an operating system error: `map_err(Error::io("..."))`.
    pub(crate) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            source: Arc::new(source),
        }
    }

    /// Say whether the disk, or a quota, has no room left.
    pub(crate) fn is_disk_full(&self) -> bool {
        let Self::Io { source, .. } = self else {
            return false;
        };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

impl From<xetway_core::Error> for Error {
    fn from(error: xetway_core::Error) -> Self {
        Self::Format(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(cause) => cause.fmt(f),
            Self::Integrity { what, expected, actual } => {
                write!(f, "{what} is not what was proven: wanted {expected}, got {actual}")
            }
            Self::Conflict { what, known, actual } => {
                write!(
                    f,
                    "{what} arrived twice and differs: first {known}, now {actual}; neither is proven"
                )
            }
            Self::Full {
                wanted_bytes,
                evictable_bytes,
            } => write!(
                f,
                "the cache is full: wanted {wanted_bytes} bytes, {evictable_bytes} could be freed; \
                 raise the cache size, lower the free space to keep, or make room on the disk"
            ),
            Self::InUse => f.write_str("the cache folder is in use by another server; each server needs its own"),
            Self::State { object, problem } => write!(f, "{object} {problem}"),
            Self::Io { action, source } => write!(f, "cannot {action}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Format(cause) => Some(cause),
            Self::Io { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}

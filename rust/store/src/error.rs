//! What can go wrong with stored xorbs: one enum, exhaustive, without paths or content.

use std::fmt;
use std::io;

use xetway_core::Hash;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a store operation failed.
#[derive(Debug)]
pub enum Error {
    /// What the caller passed in is not what it claims to be.
    Format(xetway_core::Error),
    /// Stored bytes do not match their hash, length or format any more.
    Corrupt {
        /// The xorb they belong to.
        xorb: Hash,
        /// The chunk, if it is one.
        chunk: Option<u32>,
        /// What is wrong with them.
        cause: Box<xetway_core::Error>,
    },
    /// A xorb that stored content needs has no file.
    Missing {
        /// The xorb.
        xorb: Hash,
    },
    /// A writer or reader was used after its end.
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
        source: io::Error,
    },
}

impl Error {
    /// Wrap an operating system error: `map_err(Error::io("..."))`.
    pub(crate) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }

    /// Wrap the reason why a chunk or, without `chunk`, a footer is corrupt.
    pub(crate) fn corrupt(xorb: Hash, chunk: Option<u32>) -> impl FnOnce(xetway_core::Error) -> Self {
        move |cause| Self::Corrupt {
            xorb,
            chunk,
            cause: Box::new(cause),
        }
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
            Self::Corrupt {
                xorb,
                chunk: Some(chunk),
                cause,
            } => {
                write!(f, "stored xorb {xorb} is corrupt in chunk {chunk}: {cause}")
            }
            Self::Corrupt {
                xorb,
                chunk: None,
                cause,
            } => write!(f, "stored xorb {xorb} is corrupt: {cause}"),
            Self::Missing { xorb } => write!(f, "stored xorb {xorb} is missing"),
            Self::State { object, problem } => write!(f, "{object} {problem}"),
            Self::Io { action, source } => write!(f, "cannot {action}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Format(cause) => Some(cause),
            Self::Corrupt { cause, .. } => Some(cause.as_ref()),
            Self::Io { source, .. } => Some(source),
            Self::Missing { .. } | Self::State { .. } => None,
        }
    }
}

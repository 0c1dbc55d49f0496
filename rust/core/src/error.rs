//! The one error type of the codec: structured fields, a stable code for each case.
//!
//! The enum is exhaustive on purpose: whoever maps it to another error type must say what a new
//! variant becomes. Messages name what was read, where, what was wanted and what was there;
//! they never hold content.

use std::fmt;

use crate::hash::Hash;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why bytes were refused.
///
/// `offset` counts bytes from the start of what the caller passed in (for the push parser: from
/// the first byte ever pushed).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The bytes end before the format does.
    Truncated {
        /// Name of the format or record.
        format: &'static str,
        /// Where the missing field starts.
        offset: u64,
        /// Bytes the field needs.
        wanted: u64,
        /// Bytes that were there.
        got: u64,
    },
    /// A field holds a value its format does not allow.
    Malformed {
        /// Name of the format or record.
        format: &'static str,
        /// Where the field starts.
        offset: u64,
        /// Stable `snake_case` code.
        code: &'static str,
        /// What is wrong, in words.
        reason: &'static str,
    },
    /// Content does not have the hash claimed for it.
    HashMismatch {
        /// What was hashed.
        what: &'static str,
        /// The hash claimed.
        expected: Hash,
        /// The hash computed.
        actual: Hash,
        /// Where the content starts.
        offset: u64,
        /// Stable `snake_case` code.
        code: &'static str,
    },
    /// Content does not have the length claimed for it.
    LengthMismatch {
        /// What was measured.
        what: &'static str,
        /// The length claimed, in bytes.
        expected: u64,
        /// The length found, in bytes.
        actual: u64,
        /// Where the content or the claim starts.
        offset: u64,
        /// Stable `snake_case` code.
        code: &'static str,
    },
    /// A count or length is over the limit of its format.
    LimitExceeded {
        /// What is limited.
        what: &'static str,
        /// The largest value allowed.
        limit: u64,
        /// The value found.
        actual: u64,
        /// Where the value was found.
        offset: u64,
        /// Stable `snake_case` code.
        code: &'static str,
    },
    /// A hash in text form is not exactly 64 hexadecimal digits.
    BadHex {
        /// Length of the text in bytes.
        length: u64,
        /// First byte that is not a hexadecimal digit, or the length if all are.
        position: u64,
    },
    /// A compression scheme number that the format does not define.
    BadScheme {
        /// The number found.
        scheme: u8,
        /// Where it was found.
        offset: u64,
    },
    /// A term names a xorb nobody knows.
    UnknownXorb {
        /// The xorb named.
        xorb: Hash,
    },
    /// A term names chunks its xorb does not have, or none at all.
    ChunkRange {
        /// The xorb named.
        xorb: Hash,
        /// First chunk of the term.
        start: u32,
        /// One past the last chunk of the term.
        end: u32,
        /// Chunks the xorb has.
        chunks: u64,
    },
    /// A byte range that starts after the end of the file, or ends before it starts.
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
            Self::Truncated { .. } => "truncated",
            Self::Malformed { code, .. }
            | Self::HashMismatch { code, .. }
            | Self::LengthMismatch { code, .. }
            | Self::LimitExceeded { code, .. } => code,
            Self::BadHex { .. } => "bad_hash_hex",
            Self::BadScheme { .. } => "bad_scheme",
            Self::UnknownXorb { .. } => "unknown_xorb",
            Self::ChunkRange { .. } => "chunk_range",
            Self::RangeOutside { .. } => "range_outside",
        }
    }

    /// Return the name of the format, record or thing the error is about.
    pub fn format(&self) -> &'static str {
        match self {
            Self::Truncated { format, .. } | Self::Malformed { format, .. } => format,
            Self::HashMismatch { what, .. } | Self::LengthMismatch { what, .. } | Self::LimitExceeded { what, .. } => {
                what
            }
            Self::BadHex { .. } => "hash",
            Self::BadScheme { .. } => "chunk header",
            Self::UnknownXorb { .. } | Self::ChunkRange { .. } => "term",
            Self::RangeOutside { .. } => "range",
        }
    }

    /// Return the byte offset the error is about, where there is one.
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::Truncated { offset, .. }
            | Self::Malformed { offset, .. }
            | Self::HashMismatch { offset, .. }
            | Self::LengthMismatch { offset, .. }
            | Self::LimitExceeded { offset, .. }
            | Self::BadScheme { offset, .. } => Some(*offset),
            Self::BadHex { position, .. } => Some(*position),
            Self::UnknownXorb { .. } | Self::ChunkRange { .. } | Self::RangeOutside { .. } => None,
        }
    }

    /// Move the offset by `base`: for a part that was parsed on its own.
    #[must_use]
    pub fn shifted(mut self, base: u64) -> Self {
        match &mut self {
            Self::Truncated { offset, .. }
            | Self::Malformed { offset, .. }
            | Self::HashMismatch { offset, .. }
            | Self::LengthMismatch { offset, .. }
            | Self::LimitExceeded { offset, .. }
            | Self::BadScheme { offset, .. } => *offset = offset.saturating_add(base),
            Self::BadHex { .. } | Self::UnknownXorb { .. } | Self::ChunkRange { .. } | Self::RangeOutside { .. } => {}
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated {
                format,
                offset,
                wanted,
                got,
            } => {
                write!(
                    f,
                    "{format} ends early at byte {offset}: wanted {wanted} bytes, got {got}"
                )
            }
            Self::Malformed {
                format, offset, reason, ..
            } => {
                write!(f, "{format} is malformed at byte {offset}: {reason}")
            }
            Self::HashMismatch {
                what,
                expected,
                actual,
                offset,
                ..
            } => {
                write!(
                    f,
                    "{what} at byte {offset} has the wrong hash: wanted {expected}, got {actual}"
                )
            }
            Self::LengthMismatch {
                what,
                expected,
                actual,
                offset,
                ..
            } => {
                write!(
                    f,
                    "{what} at byte {offset} has the wrong length: wanted {expected}, got {actual}"
                )
            }
            Self::LimitExceeded {
                what,
                limit,
                actual,
                offset,
                ..
            } => {
                write!(
                    f,
                    "{what} at byte {offset} is over its limit: wanted at most {limit}, got {actual}"
                )
            }
            Self::BadHex { length, position } => write!(
                f,
                "hash is not 64 hexadecimal digits: {length} bytes, first bad one at {position}"
            ),
            Self::BadScheme { scheme, offset } => write!(
                f,
                "chunk header at byte {offset} has an unknown compression scheme: wanted 0, 1 or 2, got {scheme}"
            ),
            Self::UnknownXorb { xorb } => write!(f, "term names unknown xorb {xorb}"),
            Self::ChunkRange {
                xorb,
                start,
                end,
                chunks,
            } => write!(
                f,
                "term names chunks [{start}, {end}) of xorb {xorb}, which has {chunks}"
            ),
            Self::RangeOutside { start, end, size } => {
                write!(f, "byte range [{start}, {end}) does not fit a file of {size} bytes")
            }
        }
    }
}

impl std::error::Error for Error {}

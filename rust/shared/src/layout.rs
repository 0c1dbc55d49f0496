//! How much of everything a table has, and where it lies.

use std::fmt;
use std::sync::atomic::AtomicU64;

use crate::group::WAYS;

/// As much as processors move at once.
pub(crate) type Line = [AtomicU64; 8];

const VERSION: u64 = 1;
const MAX_WORKERS: usize = 1024;
const MAX_ENTRIES: usize = 1 << 24;

/// How many there are of each; all processes must say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Processes that have a column of each gate and a row of counters.
    pub workers: usize,
    /// Names whose rates are limited at a time; rounded up to full groups.
    pub buckets: usize,
    /// Names whose concurrency is limited at a time; rounded up to full groups.
    pub gates: usize,
    /// Counters of each worker.
    pub counters: usize,
    /// Words for anything else.
    pub words: usize,
}

/// Why memory can't be used as a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A number of the layout is out of range.
    Number {
        /// Which one.
        name: &'static str,
        /// The least it may be.
        least: usize,
        /// The most it may be.
        most: usize,
        /// What it was.
        got: usize,
    },
    /// There is not enough memory.
    TooSmall {
        /// Bytes that the layout takes.
        wanted: usize,
        /// Bytes that there are.
        got: usize,
    },
    /// The memory is in use with another layout, or is no table.
    OtherLayout,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { least, most, got, .. } => {
                write!(formatter, "{got} is not a number from {least} to {most}")
            }
            Self::TooSmall { wanted, got } => write!(formatter, "the table takes {wanted} bytes, and there are {got}"),
            Self::OtherLayout => formatter.write_str("the memory holds something else, or a table with other numbers"),
        }
    }
}

impl Layout {
    /// Lines of buckets, gates, counters, words.
    pub(crate) fn lines(&self) -> Result<[usize; 4], Problem> {
        for (name, got, least, most) in [
            ("workers", self.workers, 1, MAX_WORKERS),
            ("buckets", self.buckets, 1, MAX_ENTRIES),
            ("gates", self.gates, 1, MAX_ENTRIES),
            ("counters", self.counters, 0, MAX_ENTRIES),
            ("words", self.words, 0, MAX_ENTRIES),
        ] {
            if !(least..=most).contains(&got) {
                return Err(Problem::Number { name, least, most, got });
            }
        }
        Ok([
            2 * self.buckets.div_ceil(WAYS),
            (1 + self.workers) * self.gates.div_ceil(WAYS),
            self.workers * self.counters.div_ceil(8),
            self.words.div_ceil(8),
        ])
    }

    /// Bytes of memory that the table takes.
    pub fn size_bytes(&self) -> Result<usize, Problem> {
        Ok((1 + self.lines()?.iter().sum::<usize>()) * size_of::<Line>())
    }

    /// What says in the memory which layout it has; not 0.
    pub(crate) fn signature(&self) -> u64 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"xetway shared table");
        hasher.update(&VERSION.to_le_bytes());
        for number in [self.workers, self.buckets, self.gates, self.counters, self.words] {
            hasher.update(&number.to_le_bytes());
        }
        let hash = hasher.finalize();
        u64::from_le_bytes(hash.as_bytes().first_chunk().copied().unwrap_or_default()) | 1
    }
}

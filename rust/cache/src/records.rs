//! What the records of the sidecar files of a xorb say. All integers are little-endian.
//!
//! `.chunks` and `.held` start with a header of 48 bytes: name and version (8), xorb hash (32), check (8).
//!
//! | kind | file | body |
//! |---|---|---|
//! | 1 | `.chunks` | table: first chunk (4), its start (4), then for each chunk hash (32), raw length (4), stored length (4) |
//! | 2 | `.chunks` | proven: first chunk (4), one past the last (4); those known so far |
//! | 3 | `.chunks` | forgotten: first chunk (4), one past the last (4); those not proven so far |
//! | 4 | `.chunks` | whole: number of chunks (4); all are known and proven |
//! | 16 | `.held` | held: first chunk (4), its start (4), then for each chunk stored length (4), check (8) |
//! | 17 | `.held` | dropped: first chunk (4), one past the last (4) |
//!
//! Starts are offsets in the chunk data of the xorb. The check of a chunk is XXH3-64 of its stored
//! bytes, seeded with the first eight bytes of its hash: bytes that were stored for another hash never
//! match, whichever of the two files is the older.

use std::ops::Range;

use twox_hash::XxHash3_64;
use xetway_core::Hash;

use crate::log::{Record, header};

const CHUNKS_MAGIC: [u8; 8] = *b"XWCHNKS\x01";
const HELD_MAGIC: [u8; 8] = *b"XWXHELD\x01";

/// Header of the `.chunks` file of a xorb.
pub(crate) fn chunks_header(xorb: &Hash) -> Vec<u8> {
    header(CHUNKS_MAGIC, &[xorb.as_bytes()])
}

/// Header of the `.held` file of a xorb.
pub(crate) fn held_header(xorb: &Hash) -> Vec<u8> {
    header(HELD_MAGIC, &[xorb.as_bytes()])
}

const TABLE: u32 = 1;
const PROVEN: u32 = 2;
const FORGOTTEN: u32 = 3;
const WHOLE: u32 = 4;
const HELD: u32 = 16;
const DROPPED: u32 = 17;

/// One chunk of a table, at a known place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) index: u32,
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) raw_bytes: u32,
    pub(crate) hash: Hash,
}

/// One chunk that is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OnDisk {
    pub(crate) index: u32,
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) check: u64,
}

/// A record of a `.chunks` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChunksRecord {
    Table(Vec<Placed>),
    Proven(Range<u32>),
    Forgotten(Range<u32>),
    Whole(u32),
}

/// A record of a `.held` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeldRecord {
    Held(Vec<OnDisk>),
    Dropped(Range<u32>),
}

/// Compute the check of a chunk's stored bytes.
pub(crate) fn check_of(hash: &Hash, stored: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(hash.first_u64(), stored)
}

impl ChunksRecord {
    /// Encode; chunks of a table must follow one another without a gap.
    pub(crate) fn to_record(&self) -> Record {
        let (kind, body) = match self {
            Self::Table(chunks) => {
                let mut body = place(chunks.first().map(|chunk| (chunk.index, chunk.start)));
                for chunk in chunks {
                    body.extend_from_slice(chunk.hash.as_bytes());
                    push_u32(&mut body, chunk.raw_bytes);
                    push_u32(&mut body, chunk.end.saturating_sub(chunk.start));
                }
                (TABLE, body)
            }
            Self::Proven(chunks) => (PROVEN, pair(chunks.start, chunks.end)),
            Self::Forgotten(chunks) => (FORGOTTEN, pair(chunks.start, chunks.end)),
            Self::Whole(count) => (WHOLE, count.to_le_bytes().to_vec()),
        };
        Record { kind, body }
    }

    /// Decode; `None` if it is no such record.
    pub(crate) fn parse(kind: u32, body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        match kind {
            TABLE => {
                let (mut index, mut start) = (fields.u32()?, fields.u32()?);
                let mut chunks = Vec::new();
                while !fields.0.is_empty() {
                    let hash = Hash::from_bytes(fields.array()?);
                    let raw_bytes = fields.u32()?;
                    let end = start.checked_add(fields.u32()?)?;
                    chunks.push(Placed {
                        index,
                        start,
                        end,
                        raw_bytes,
                        hash,
                    });
                    (index, start) = (index.checked_add(1)?, end);
                }
                Some(Self::Table(chunks))
            }
            PROVEN => Some(Self::Proven(fields.range()?)),
            FORGOTTEN => Some(Self::Forgotten(fields.range()?)),
            WHOLE => Some(Self::Whole(fields.u32()?)),
            _ => None,
        }
    }
}

impl HeldRecord {
    /// Encode; chunks that are held must follow one another without a gap.
    pub(crate) fn to_record(&self) -> Record {
        let (kind, body) = match self {
            Self::Held(chunks) => {
                let mut body = place(chunks.first().map(|chunk| (chunk.index, chunk.start)));
                for chunk in chunks {
                    push_u32(&mut body, chunk.end.saturating_sub(chunk.start));
                    body.extend_from_slice(&chunk.check.to_le_bytes());
                }
                (HELD, body)
            }
            Self::Dropped(chunks) => (DROPPED, pair(chunks.start, chunks.end)),
        };
        Record { kind, body }
    }

    /// Decode; `None` if it is no such record.
    pub(crate) fn parse(kind: u32, body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        match kind {
            HELD => {
                let (mut index, mut start) = (fields.u32()?, fields.u32()?);
                let mut chunks = Vec::new();
                while !fields.0.is_empty() {
                    let end = start.checked_add(fields.u32()?)?;
                    let check = u64::from_le_bytes(fields.array()?);
                    chunks.push(OnDisk {
                        index,
                        start,
                        end,
                        check,
                    });
                    (index, start) = (index.checked_add(1)?, end);
                }
                Some(Self::Held(chunks))
            }
            DROPPED => Some(Self::Dropped(fields.range()?)),
            _ => None,
        }
    }
}

fn push_u32(body: &mut Vec<u8>, value: u32) {
    body.extend_from_slice(&value.to_le_bytes());
}

fn pair(first: u32, second: u32) -> Vec<u8> {
    let mut body = Vec::new();
    push_u32(&mut body, first);
    push_u32(&mut body, second);
    body
}

fn place(first: Option<(u32, u32)>) -> Vec<u8> {
    let (index, start) = first.unwrap_or_default();
    pair(index, start)
}

/// Reads fields off the front of a body.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn range(&mut self) -> Option<Range<u32>> {
        Some(self.u32()?..self.u32()?)
    }
}

//! What the records of the `.held` file of a plain file say. All integers are little-endian.
//!
//! The file starts with a header of 64 bytes: name and version (8), algorithm (8: 1 SHA-256, 2 git's
//! SHA-1), digest (32, zeros after a short one), size (8), check (8).
//!
//! | kind | body |
//! |---|---|
//! | 32 | held: first block (8), then for each block its check (8) |
//! | 33 | proven: nothing; all blocks are held and have the digest |
//! | 34 | cut: number of blocks that stay (8); the proof is void |
//!
//! Blocks are 128 KiB of content, the last one may be shorter. The check of a block is XXH3-64 of its
//! bytes, seeded with its number.

use twox_hash::XxHash3_64;

use crate::kinds::PlainKey;
use crate::log::{Record, header};

/// Content covered by one check.
pub(crate) const BLOCK_BYTES: usize = 128 * 1024;
/// The same, for sums of offsets.
pub(crate) const BLOCK_BYTES_U64: u64 = BLOCK_BYTES as u64;

const MAGIC: [u8; 8] = *b"XWPHELD\x01";
const HELD: u32 = 32;
const PROVEN: u32 = 33;
const CUT: u32 = 34;

/// Length of the header.
pub(crate) const HEADER_BYTES: usize = 64;

/// Header of the `.held` file of a plain file.
pub(crate) fn plain_header(key: &PlainKey, size: u64) -> Vec<u8> {
    let (algorithm, digest) = match key {
        PlainKey::Sha256(digest) => (1_u64, digest.as_slice()),
        PlainKey::GitSha1(digest) => (2, digest.as_slice()),
    };
    let zeros = [0_u8; 32];
    let padding = zeros.get(digest.len()..).unwrap_or_default();
    header(MAGIC, &[&algorithm.to_le_bytes(), digest, padding, &size.to_le_bytes()])
}

/// The size in a header that is right in all else.
pub(crate) fn size_in_header(key: &PlainKey, found: &[u8; HEADER_BYTES]) -> Option<u64> {
    let (_, tail) = found.split_last_chunk::<16>()?;
    let size = u64::from_le_bytes(*tail.first_chunk::<8>()?);
    (plain_header(key, size) == found).then_some(size)
}

/// Compute the check of a block.
pub(crate) fn check_of(block: u64, bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(block, bytes)
}

/// What is on disk of a plain file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blocks {
    pub(crate) checks: Vec<u64>,
    pub(crate) proven: bool,
}

impl Blocks {
    /// Apply a record of a file of `size` bytes; returns whether it makes sense.
    pub(crate) fn replay(&mut self, size: u64, kind: u32, body: &[u8]) -> bool {
        match kind {
            HELD => {
                let Some((first, checks)) = body.split_first_chunk::<8>() else {
                    return false;
                };
                let (checks, rest) = checks.as_chunks::<8>();
                let total = self.checks.len().saturating_add(checks.len()) as u64;
                let fits = u64::from_le_bytes(*first) == self.checks.len() as u64
                    && rest.is_empty()
                    && total <= size.div_ceil(BLOCK_BYTES_U64);
                if fits {
                    self.checks
                        .extend(checks.iter().map(|check| u64::from_le_bytes(*check)));
                }
                fits
            }
            PROVEN => {
                self.proven = self.checks.len() as u64 == size.div_ceil(BLOCK_BYTES_U64);
                self.proven
            }
            CUT => {
                let Some(blocks) = body.first_chunk::<8>() else {
                    return false;
                };
                self.cut(usize::try_from(u64::from_le_bytes(*blocks)).unwrap_or(usize::MAX));
                true
            }
            _ => false,
        }
    }

    /// Keep only the first `blocks` blocks.
    pub(crate) fn cut(&mut self, blocks: usize) {
        self.checks.truncate(blocks);
        self.proven = false;
    }

    /// Length of the content that these blocks of a file of `size` bytes make.
    pub(crate) fn bytes(&self, size: u64) -> u64 {
        (self.checks.len() as u64).saturating_mul(BLOCK_BYTES_U64).min(size)
    }

    /// The record that says all of this. A cut file is not recorded so.
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut records = vec![held_record(0, &self.checks)];
        records.extend(self.proven.then(proven_record));
        records
    }
}

/// The record of blocks that were written.
pub(crate) fn held_record(first: u64, checks: &[u64]) -> Record {
    let mut body = first.to_le_bytes().to_vec();
    body.extend(checks.iter().flat_map(|check| check.to_le_bytes()));
    Record { kind: HELD, body }
}

/// The record of the proof.
pub(crate) const fn proven_record() -> Record {
    Record {
        kind: PROVEN,
        body: Vec::new(),
    }
}

/// The record of damage from block `blocks` on.
pub(crate) fn cut_record(blocks: u64) -> Record {
    Record {
        kind: CUT,
        body: blocks.to_le_bytes().to_vec(),
    }
}

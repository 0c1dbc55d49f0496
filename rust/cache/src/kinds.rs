//! The small public types of the cache: limits, keys, listings and reports.

use std::fmt;

use xetway_core::Hash;
use xetway_core::plan::PlannedTerm;

/// How much a cache may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes on disk, as blocks are allocated; without it only the free disk space counts.
    pub max_bytes: Option<u64>,
    /// Bytes of the disk that stay free for others.
    pub min_free_bytes: u64,
}

/// What names and proves a plain file.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlainKey {
    /// SHA-256 of the content.
    Sha256([u8; 32]),
    /// SHA-1 of git's blob object: `blob <size>`, a zero byte, the content.
    GitSha1([u8; 20]),
}

impl fmt::Display for PlainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (algorithm, digest) = match self {
            Self::Sha256(digest) => ("sha256", digest.as_slice()),
            Self::GitSha1(digest) => ("git-sha1", digest.as_slice()),
        };
        f.write_str(algorithm)?;
        f.write_str("-")?;
        digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PlainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlainKey({self})")
    }
}

/// How a whole file is made of chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilePlan {
    /// All terms in file order.
    pub terms: Vec<PlannedTerm>,
    /// Length of the file.
    pub size: u64,
    /// Whether the chunks of these terms were seen to hash to the file.
    pub proven: bool,
}

/// One chunk to be stored; the caller has decoded and hashed it.
#[derive(Clone, Copy, Debug)]
pub struct NewChunk<'a> {
    /// Hash of the raw bytes.
    pub hash: Hash,
    /// Length of the raw bytes.
    pub raw_bytes: u32,
    /// The chunk as stored in the xorb: header and payload.
    pub stored: &'a [u8],
}

/// What is known about one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkInfo {
    /// Position in the xorb.
    pub index: u32,
    /// Hash of the raw bytes.
    pub hash: Hash,
    /// Length of the raw bytes.
    pub raw_bytes: u32,
    /// Where it starts in the chunk data.
    pub start: u64,
    /// One past its last byte in the chunk data.
    pub end: u64,
    /// Whether the hash is proven to belong here.
    pub proven: bool,
    /// Whether the bytes are on disk.
    pub held: bool,
}

/// Bytes of a xorb's chunk data, read from disk and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where the bytes start: the position asked for.
    pub start: u64,
    /// The bytes; never none.
    pub bytes: Vec<u8>,
    /// Whether every chunk touched was proven when they were read.
    pub proven: bool,
    /// Where the last chunk touched starts; may lie before `start`.
    pub last_chunk_start: u64,
}

/// What an entry of the cache is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Chunks of a xorb.
    Xorb,
    /// A plain file.
    Plain,
    /// The plan of a file.
    Plan,
}

impl Kind {
    /// Return the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Xorb => "xorb",
            Self::Plain => "plain",
            Self::Plan => "plan",
        }
    }
}

/// What takes room in a cache. Plans and the tables of evicted xorbs are not listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// A xorb or a plain file.
    pub kind: Kind,
    /// Its hash, or algorithm and digest.
    pub name: String,
    /// Bytes on disk, as blocks are allocated, with its sidecars.
    pub bytes: u64,
    /// When it was last used, in seconds since 1970.
    pub last_used_s: u64,
    /// Chunks that are held; 1 for a plain file.
    pub chunks: u32,
    /// Those of them that are proven.
    pub proven_chunks: u32,
}

/// What is held of a file that is made of chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Bytes of the file that are on disk.
    pub held_bytes: u64,
    /// The xorbs that it is made of, each once.
    pub xorbs: Vec<Hash>,
}

/// How much a cache holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on disk, as blocks are allocated.
    pub bytes: u64,
    /// The limit on them, if there is one.
    pub max_bytes: Option<u64>,
    /// Bytes of the disk that anybody may still use; `u64::MAX` where the system does not say.
    pub free_disk_bytes: u64,
    /// Xorbs of which anything is held.
    pub xorbs: u64,
    /// Plain files of which anything is held.
    pub plain_files: u64,
    /// Whether everything was counted; just after opening it may not be.
    pub complete: bool,
}

/// What a check of one entry gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What it is.
    pub kind: Kind,
    /// Its hash, or algorithm and digest.
    pub name: String,
    /// Bytes that were checked.
    pub bytes: u64,
    /// What was wrong, if anything; it has been removed.
    pub problem: Option<String>,
}

/// What a check of a whole cache gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Xorbs checked.
    pub xorbs: u64,
    /// Plain files checked.
    pub plain_files: u64,
    /// Plans checked.
    pub plans: u64,
    /// Bytes checked.
    pub bytes: u64,
    /// Entries that had damage.
    pub damaged: u64,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Entries removed.
    pub entries: u64,
    /// Bytes of the disk made free.
    pub bytes: u64,
}

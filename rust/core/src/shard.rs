//! Shards: which chunks of which xorbs make up files, and which chunks xorbs hold.
//!
//! A shard is a header, file blocks, xorb blocks and, when stored or sent as the answer to a
//! deduplication query, a footer; older stored shards have lookup tables before the footer. All
//! records are 48 bytes. Whether what a shard claims is true is not checked here.
//!
//! Source: draft-denis-xet-03, "Shard Format"; forms seen on the wire from the deployed client.

mod read;
mod records;
mod write;

use std::borrow::Cow;

use crate::hash::{Hash, keyed_hash};

pub use read::parse;
pub use records::{Term, terms_from_bytes, terms_to_bytes};
pub use write::{Form, serialise};

/// Bit of [`ChunkInfo::flags`]: the chunk may be looked up across repositories.
pub const CHUNK_DEDUP_ELIGIBLE: u32 = 1 << 31;

/// Bit of [`FileInfo::flags`]: verification hashes are present.
pub const FILE_WITH_VERIFICATION: u32 = 1 << 31;

/// Bit of [`FileInfo::flags`]: the SHA-256 is present.
pub const FILE_WITH_METADATA: u32 = 1 << 30;

/// Length of the header and of every record.
pub const RECORD_BYTES: usize = 48;

/// Length of the footer.
pub const FOOTER_BYTES: usize = 200;

/// One file: its terms in order, and what its sender proved or said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// File hash.
    pub hash: Hash,
    /// Flags as read. When written, the two known bits follow the two fields below.
    pub flags: u32,
    /// Where the content is; empty for the empty file.
    pub terms: Vec<Term>,
    /// One verification hash for each term.
    pub verification: Option<Vec<Hash>>,
    /// SHA-256 of the content, in its usual byte order.
    pub sha256: Option<[u8; 32]>,
}

/// One chunk of a xorb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkInfo {
    /// Chunk hash, or the chunk hash under the footer's key.
    pub hash: Hash,
    /// Where the chunk starts in the raw bytes of the xorb.
    pub offset: u32,
    /// Length of the raw bytes.
    pub raw_bytes: u32,
    /// See [`CHUNK_DEDUP_ELIGIBLE`].
    pub flags: u32,
}

/// One xorb and its chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XorbInfo {
    /// Xorb hash.
    pub hash: Hash,
    /// Reserved; zero from every known writer.
    pub flags: u32,
    /// Raw bytes in the xorb.
    pub bytes_in_xorb: u32,
    /// Stored bytes of the xorb; clients send zero.
    pub bytes_on_disk: u32,
    /// The chunks in order.
    pub chunks: Vec<ChunkInfo>,
}

/// What the footer says beyond offsets, which are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Key the chunk hashes are hashed with; zeros for none.
    pub key: [u8; 32],
    /// When the shard was made, in Unix seconds.
    pub created_s: u64,
    /// When the key expires, in Unix seconds; 0 for never.
    pub expiry_s: u64,
    /// Sum of `bytes_on_disk` over the xorbs.
    pub stored_bytes_on_disk: u64,
    /// Sum of the sizes of the files.
    pub materialized_bytes: u64,
    /// Sum of `bytes_in_xorb` over the xorbs.
    pub stored_bytes: u64,
}

/// A parsed shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    /// Files, each hash once.
    pub files: Vec<FileInfo>,
    /// Xorbs in the order found.
    pub xorbs: Vec<XorbInfo>,
    /// Present if the bytes had a footer.
    pub footer: Option<Footer>,
}

impl FileInfo {
    /// Return the size of the file that the terms add up to.
    pub fn size_bytes(&self) -> u64 {
        self.terms.iter().map(|term| u64::from(term.unpacked_bytes)).sum()
    }
}

impl Shard {
    /// Order files and xorbs by hash, as the deployed client writes them.
    pub fn sort(&mut self) {
        self.files.sort_by_key(|file| file.hash);
        self.xorbs.sort_by_key(|xorb| xorb.hash);
    }

    /// Set [`CHUNK_DEDUP_ELIGIBLE`] on each chunk that starts a file of this shard.
    ///
    /// A server does so before it stores a shard; other flags are kept.
    pub fn mark_first_chunks(&mut self) {
        let mut firsts: Vec<(Hash, u32)> = self
            .files
            .iter()
            .filter_map(|file| file.terms.first().map(|term| (term.xorb, term.start)))
            .collect();
        firsts.sort_unstable();
        for xorb in &mut self.xorbs {
            for (index, chunk) in (0_u32..).zip(&mut xorb.chunks) {
                if firsts.binary_search(&(xorb.hash, index)).is_ok() {
                    chunk.flags |= CHUNK_DEDUP_ELIGIBLE;
                }
            }
        }
    }

    fn keyed<'a>(xorb: &'a XorbInfo, key: Option<&[u8; 32]>) -> Cow<'a, [ChunkInfo]> {
        let Some(key) = key else {
            return Cow::Borrowed(&xorb.chunks);
        };
        xorb.chunks
            .iter()
            .map(|chunk| ChunkInfo {
                hash: keyed_hash(&chunk.hash, key),
                ..*chunk
            })
            .collect()
    }
}

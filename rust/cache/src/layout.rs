//! Where things are under the root folder.
//!
//! | name | content |
//! |---|---|
//! | `xorbs/<2 hex>/<hash>.chunks` | what is known of the chunks; survives eviction |
//! | `xorbs/<2 hex>/<hash>.held` | which chunks are on disk; its time of change is the last use |
//! | `xorbs/<2 hex>/<hash>.data` | chunk data, each byte at its offset in the xorb; sparse |
//! | `plain/<2 hex>/<algorithm>-<digest>.held` | which blocks are on disk, and the proof |
//! | `plain/<2 hex>/<algorithm>-<digest>.data` | the content |
//! | `plans/<2 hex>/<hash>.plan` | the plan of a file |
//! | `tmp/` | what is being written or deleted |
//! | `lock` | held by the server |

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use xetway_core::Hash;

use crate::disk;
use crate::error::{Error, Result};
use crate::kinds::PlainKey;

/// Suffix of chunk tables.
pub(crate) const CHUNKS: &str = "chunks";
/// Suffix of the list of what is on disk.
pub(crate) const HELD: &str = "held";
/// Suffix of content.
pub(crate) const DATA: &str = "data";
/// Suffix of plans.
pub(crate) const PLAN: &str = "plan";

/// The name of something that can be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    Xorb(Hash),
    Plain(PlainKey),
}

/// The folders of one cache.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
    pub(crate) xorbs: PathBuf,
    pub(crate) plain: PathBuf,
    pub(crate) plans: PathBuf,
    pub(crate) tmp: PathBuf,
    /// Begins the names of our files in `tmp`.
    session: String,
    next: AtomicU64,
}

impl Layout {
    /// Name the folders under `root` and make those that are missing.
    pub(crate) fn make(root: &Path) -> Result<Self> {
        let layout = Self {
            root: root.to_path_buf(),
            xorbs: root.join("xorbs"),
            plain: root.join("plain"),
            plans: root.join("plans"),
            tmp: root.join("tmp"),
            session: format!("{}-{:016x}-", std::process::id(), RandomState::new().hash_one(0_u8)),
            next: AtomicU64::new(0),
        };
        for folder in [&layout.xorbs, &layout.plain, &layout.plans, &layout.tmp] {
            fs::create_dir_all(folder).map_err(Error::io("make a folder of the cache"))?;
        }
        Ok(layout)
    }

    /// A file of a xorb, there or not.
    pub(crate) fn xorb(&self, xorb: &Hash, suffix: &str) -> PathBuf {
        file(&self.xorbs, &xorb.to_hex(), 0, suffix)
    }

    /// A file of a plain file, there or not.
    pub(crate) fn plain(&self, key: &PlainKey, suffix: &str) -> PathBuf {
        let name = key.to_string();
        let digest_at = name.rfind('-').map_or(0, |dash| dash + 1);
        file(&self.plain, &name, digest_at, suffix)
    }

    /// The plan of a file, there or not.
    pub(crate) fn plan(&self, hash: &Hash) -> PathBuf {
        file(&self.plans, &hash.to_hex(), 0, PLAN)
    }

    /// A file of something that can be evicted, there or not.
    pub(crate) fn named(&self, name: &Name, suffix: &str) -> PathBuf {
        match name {
            Name::Xorb(xorb) => self.xorb(xorb, suffix),
            Name::Plain(key) => self.plain(key, suffix),
        }
    }

    /// A name in `tmp` that was never used.
    pub(crate) fn temporary(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.tmp.join(format!("{}{number}", self.session))
    }

    /// Delete what other sessions left in `tmp`; returns how many files.
    pub(crate) fn clean_temporary(&self) -> Result<u64> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.tmp).map_err(Error::io("list the temporary files"))? {
            let entry = entry.map_err(Error::io("list the temporary files"))?;
            let ours = entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(&self.session));
            if !ours && disk::remove_if_there(&entry.path()).map_err(Error::io("remove a temporary file"))? {
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn file(folder: &Path, name: &str, shard_at: usize, suffix: &str) -> PathBuf {
    let shard = name.get(shard_at..shard_at + 2).unwrap_or("00");
    folder.join(shard).join(format!("{name}.{suffix}"))
}

/// The key that `text` names, if it is one.
pub(crate) fn parse_plain_key(text: &str) -> Option<PlainKey> {
    let (algorithm, digest) = text.rsplit_once('-')?;
    match algorithm {
        "sha256" => Some(PlainKey::Sha256(parse_hex(digest)?)),
        "git-sha1" => Some(PlainKey::GitSha1(parse_hex(digest)?)),
        _ => None,
    }
}

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

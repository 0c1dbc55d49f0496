//! The aggregated hash tree over (hash, size) pairs, and the xorb and file hashes made of it.
//!
//! A level is cut into groups of 3 to 9 nodes: after the first node, from the third on, whose
//! hash is a multiple of 4, or after the ninth; what is left at the end is a group of its own,
//! even of one node. Each group becomes one node of the next level, until one is left.
//! A single chunk is its own root.
//!
//! Source: draft-denis-xet-03, "Merkle Tree Construction"; for the empty file, the deployed client
//! (32 zero bytes, where the draft has the keyed hash of them).

use std::fmt::Write as _;
use std::mem;

use crate::hash::{Hash, INTERNAL_NODE_KEY, keyed, keyed_hash};

const MEAN_CHILDREN: u64 = 4;
const MIN_CUT_CHILDREN: usize = 3;
const MAX_CHILDREN: usize = 9;

/// The salt of file hashes in every known deployment.
pub const ZERO_SALT: [u8; 32] = [0; 32];

/// One node: its hash and the number of content bytes below it.
pub type Node = (Hash, u64);

#[derive(Clone, Debug, Default)]
struct Level {
    /// The group that is being filled: never more than [`MAX_CHILDREN`] nodes.
    group: Vec<Node>,
    /// Whether a group of this level was closed before.
    closed: bool,
}

/// Computes a root from nodes that arrive one at a time.
///
/// Keeps one unfinished group for each level: memory grows with the logarithm of the count.
#[derive(Clone, Debug, Default)]
pub struct MerkleHasher {
    levels: Vec<Level>,
    text: String,
}

impl MerkleHasher {
    /// Make a hasher over no nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Add the next node of the lowest level: a chunk hash and the chunk's length in bytes.
    pub fn push(&mut self, hash: Hash, bytes: u64) {
        self.push_at(0, (hash, bytes));
    }

    fn push_at(&mut self, mut depth: usize, mut node: Node) {
        loop {
            if self.levels.len() <= depth {
                self.levels.resize_with(depth + 1, Level::default);
            }
            let Some(level) = self.levels.get_mut(depth) else {
                return;
            };
            level.group.push(node);
            let count = level.group.len();
            let cut = count >= MIN_CUT_CHILDREN && node.0.last_u64().is_multiple_of(MEAN_CHILDREN);
            if !cut && count < MAX_CHILDREN {
                return;
            }
            node = merge(&level.group, &mut self.text);
            level.group.clear();
            level.closed = true;
            depth += 1;
        }
    }

    /// Return the root over all nodes: the xorb hash of a list of chunks.
    ///
    /// Without nodes it is [`Hash::ZERO`].
    pub fn root(mut self) -> Hash {
        let mut depth = 0;
        while let Some(level) = self.levels.get_mut(depth) {
            let group = mem::take(&mut level.group);
            match (level.closed, group.as_slice()) {
                (false, []) => return Hash::ZERO,
                (false, [only]) => return only.0,
                (true, []) => {}
                _ => {
                    let node = merge(&group, &mut self.text);
                    self.push_at(depth + 1, node);
                }
            }
            depth += 1;
        }
        Hash::ZERO
    }

    /// Return the file hash over all nodes, under the zero salt.
    pub fn file_hash(self) -> Hash {
        self.file_hash_with_salt(&ZERO_SALT)
    }

    /// Return the file hash over all nodes, under `salt`.
    ///
    /// Without nodes it is [`Hash::ZERO`] whatever the salt.
    pub fn file_hash_with_salt(self, salt: &[u8; 32]) -> Hash {
        if self.levels.is_empty() {
            return Hash::ZERO;
        }
        keyed_hash(&self.root(), salt)
    }
}

/// Merge one group into a node of the next level.
///
/// Sizes saturate: no real file comes near 2^64 bytes, and a made-up one must not panic.
fn merge(group: &[Node], text: &mut String) -> Node {
    text.clear();
    let mut total = 0_u64;
    for (hash, bytes) in group {
        hash.push_hex(text);
        // Writing to a String cannot fail.
        let _ = writeln!(text, " : {bytes}");
        total = total.saturating_add(*bytes);
    }
    (keyed(&INTERNAL_NODE_KEY, text.as_bytes()), total)
}

fn hasher(nodes: &[Node]) -> MerkleHasher {
    let mut hasher = MerkleHasher::new();
    for (hash, bytes) in nodes {
        hasher.push(*hash, *bytes);
    }
    hasher
}

/// Return the merkle root over `nodes`: the xorb hash of a list of chunks.
pub fn root(nodes: &[Node]) -> Hash {
    hasher(nodes).root()
}

/// Return the file hash over `nodes`, the chunks of the file in order.
pub fn file_hash(nodes: &[Node]) -> Hash {
    hasher(nodes).file_hash()
}

/// Return the file hash over `nodes` under a salt other than the usual 32 zero bytes.
pub fn file_hash_with_salt(nodes: &[Node], salt: &[u8; 32]) -> Hash {
    hasher(nodes).file_hash_with_salt(salt)
}

//! Chunks that need not be sent: those of this session, and those the store has told of.

use std::collections::{HashMap, HashSet};

use xetway_core::Hash;
use xetway_core::hash::{data_hash, keyed_hash};
use xetway_core::shard;
use xetway_core::xorb::MAX_CHUNKS;

use crate::error::Result;

/// Chunks of this session that are remembered at least: the last 16 GiB or so. Twice as many at most.
const REMEMBERED_CHUNKS: usize = 256 * 1024;

/// Most chunks of the store that are remembered.
const TOLD_CHUNKS: usize = 512 * 1024;

/// Where a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) xorb: Xorb,
    pub(super) index: u32,
}

/// A xorb of this session, by number, or one that the store has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Xorb {
    New(usize),
    Stored(Hash),
}

/// Chunks of this session, found by hash. The oldest are forgotten.
#[derive(Debug, Default)]
pub(super) struct Session {
    recent: HashMap<Hash, (usize, u32)>,
    older: HashMap<Hash, (usize, u32)>,
}

impl Session {
    pub(super) fn insert(&mut self, hash: Hash, xorb: usize, index: u32) {
        if self.recent.len() >= REMEMBERED_CHUNKS {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(hash, (xorb, index));
    }

    pub(super) fn find(&self, hash: &Hash) -> Option<Place> {
        let (xorb, index) = *self.recent.get(hash).or_else(|| self.older.get(hash))?;
        Some(Place {
            xorb: Xorb::New(xorb),
            index,
        })
    }
}

/// What one key hides.
#[derive(Debug)]
struct Table {
    /// Zeros for none.
    key: [u8; 32],
    chunks: HashMap<Hash, (u32, u32)>,
}

/// Chunks the store has told of. Their hashes may be hidden behind a key: a chunk is found only by
/// who has it.
#[derive(Debug, Default)]
pub(super) struct Told {
    xorbs: Vec<Hash>,
    tables: Vec<Table>,
    answers: HashSet<Hash>,
    count: usize,
}

impl Told {
    /// Take an answer of the store: a shard with a footer.
    pub(super) fn insert(&mut self, answer: &[u8]) -> Result<()> {
        if !self.answers.insert(data_hash(answer)) {
            return Ok(());
        }
        let shard = shard::parse(answer)?;
        let key = shard.footer.map_or([0; 32], |footer| footer.key);
        let known = self.tables.iter().position(|table| table.key == key);
        let table = known.unwrap_or_else(|| {
            self.tables.push(Table {
                key,
                chunks: HashMap::new(),
            });
            self.tables.len() - 1
        });
        let Some(table) = self.tables.get_mut(table) else {
            return Ok(());
        };
        for xorb in shard.xorbs.iter().filter(|xorb| xorb.chunks.len() <= MAX_CHUNKS) {
            if self.count.saturating_add(xorb.chunks.len()) > TOLD_CHUNKS {
                break;
            }
            let number = u32::try_from(self.xorbs.len()).unwrap_or(u32::MAX);
            self.xorbs.push(xorb.hash);
            self.count += xorb.chunks.len();
            for (index, chunk) in (0_u32..).zip(&xorb.chunks) {
                table.chunks.entry(chunk.hash).or_insert((number, index));
            }
        }
        Ok(())
    }

    /// Say whether more answers would be remembered.
    pub(super) fn has_room(&self) -> bool {
        self.count < TOLD_CHUNKS
    }

    pub(super) fn find(&self, hash: &Hash) -> Option<Place> {
        self.tables.iter().find_map(|table| {
            let name = if table.key == [0; 32] {
                *hash
            } else {
                keyed_hash(hash, &table.key)
            };
            let (number, index) = *table.chunks.get(&name)?;
            let xorb = *self.xorbs.get(number as usize)?;
            Some(Place {
                xorb: Xorb::Stored(xorb),
                index,
            })
        })
    }
}

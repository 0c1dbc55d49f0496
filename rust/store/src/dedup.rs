//! The answer to a deduplication query: a shard that lists the chunks of some xorbs.

use xetway_core::Hash;
use xetway_core::shard::{ChunkInfo, Form, Shard, XorbInfo, serialise};
use xetway_core::xorb::XorbMeta;

use crate::error::{Error, Result};
use crate::store::XorbStore;

impl XorbStore {
    /// List the chunks of `xorbs` in a shard whose chunk hashes are hashed with `key`.
    ///
    /// A xorb without a file is left out: nobody may be told to rely on it. Times are in Unix seconds.
    pub fn dedup_shard(&self, xorbs: &[Hash], key: [u8; 32], created_s: u64, expiry_s: u64) -> Result<Vec<u8>> {
        let mut shard = Shard::default();
        for xorb in xorbs {
            match self.meta(xorb) {
                Ok(meta) => shard.xorbs.push(describe(&meta)),
                Err(Error::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        shard.sort();
        shard.xorbs.dedup_by_key(|xorb| xorb.hash);
        Ok(serialise(
            &shard,
            Form::Keyed {
                key,
                created_s,
                expiry_s,
            },
        ))
    }
}

fn describe(meta: &XorbMeta) -> XorbInfo {
    let chunk = |chunk: &xetway_core::xorb::ChunkMeta| ChunkInfo {
        hash: chunk.hash,
        offset: chunk.raw_start(),
        raw_bytes: chunk.raw_bytes,
        flags: 0,
    };
    XorbInfo {
        hash: meta.hash(),
        flags: 0,
        bytes_in_xorb: meta.raw_bytes(),
        bytes_on_disk: meta.chunk_data_bytes(),
        chunks: meta.chunks().iter().map(chunk).collect(),
    }
}

//! A file read in large blocks, cut into chunks and hashed.
//!
//! The end of a block that is not a whole chunk is copied in front of the next one: each chunk lies
//! in one piece, and no other byte is copied.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;
use ring::digest::{Context, SHA256};
use xetway_core::hash::chunk_hash;
use xetway_core::merkle::MerkleHasher;
use xetway_core::{Chunker, Hash, MAX_CHUNK_BYTES};

use crate::download::{Buffers, blocking};
use crate::error::{Error, Result};

/// Bytes read at a time.
const BLOCK_BYTES: usize = 4 << 20;

/// Room in front of a block: an unfinished chunk is always shorter.
const HEADROOM_BYTES: usize = MAX_CHUNK_BYTES;

/// Fewest chunks worth another thread: about 256 KiB.
const MIN_CHUNKS_PER_THREAD: usize = 4;

/// Reads a file in blocks.
#[derive(Debug)]
pub(super) struct BlockReader {
    file: File,
    buffers: Buffers,
}

impl BlockReader {
    /// Open a file; also returns its size now.
    pub(super) async fn open(path: &Path) -> Result<(Self, u64)> {
        let path = path.to_owned();
        blocking(move || {
            let failed = |error| Error::io("open the file to upload", error);
            let file = File::open(path).map_err(failed)?;
            let size = file.metadata().map_err(failed)?.len();
            let buffers = Buffers::default();
            Ok((Self { file, buffers }, size))
        })
        .await
    }

    /// Read the next block, with room in front; at the end of the file that is all there is.
    pub(super) async fn next(mut self) -> Result<(Self, Vec<u8>)> {
        blocking(move || {
            let mut block = self.buffers.take(HEADROOM_BYTES + BLOCK_BYTES);
            let mut filled = HEADROOM_BYTES;
            while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match self.file.read(rest) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(Error::io("read the file to upload", error)),
                }
            }
            block.truncate(filled);
            Ok((self, block))
        })
        .await
    }

    pub(super) fn buffers(&self) -> Buffers {
        self.buffers.clone()
    }
}

/// A block and the chunks that end in it.
#[derive(Debug)]
pub(super) struct Hashed {
    pub(super) block: Vec<u8>,
    pub(super) chunks: Vec<(Range<usize>, Hash)>,
    /// Whether the file ends here.
    pub(super) is_last: bool,
}

/// What a file turned out to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sums {
    pub(super) file: Hash,
    pub(super) size: u64,
    pub(super) sha256: [u8; 32],
}

/// Cuts blocks into chunks and hashes them, and the whole file.
pub(super) struct BlockHasher {
    chunker: Chunker,
    /// The bytes after the last chunk.
    tail: Vec<u8>,
    sha256: Context,
    merkle: MerkleHasher,
}

impl BlockHasher {
    pub(super) fn new() -> Self {
        Self {
            chunker: Chunker::new(),
            tail: Vec::new(),
            sha256: Context::new(&SHA256),
            merkle: MerkleHasher::new(),
        }
    }

    /// Take the next block; one without bytes is the last. Runs on a compute thread.
    pub(super) fn push(&mut self, mut block: Vec<u8>) -> Hashed {
        let is_last = block.len() <= HEADROOM_BYTES;
        let start = HEADROOM_BYTES.saturating_sub(self.tail.len());
        if let Some(room) = block.get_mut(start..HEADROOM_BYTES) {
            room.copy_from_slice(&self.tail);
        }
        let Self { chunker, sha256, .. } = self;
        let data = block.get(HEADROOM_BYTES..).unwrap_or_default();
        let (ranges, hashes) = rayon::join(
            || sha256.update(data),
            || {
                let ranges = cut(chunker, &block, start);
                let hash = |range: &Range<usize>| chunk_hash(block.get(range.clone()).unwrap_or_default());
                let hashes: Vec<Hash> = ranges
                    .par_iter()
                    .with_min_len(MIN_CHUNKS_PER_THREAD)
                    .map(hash)
                    .collect();
                (ranges, hashes)
            },
        )
        .1;
        for (range, hash) in ranges.iter().zip(&hashes) {
            self.merkle.push(*hash, range.len() as u64);
        }
        let end = ranges.last().map_or(start, |range| range.end);
        self.tail.clear();
        self.tail.extend_from_slice(block.get(end..).unwrap_or_default());
        Hashed {
            block,
            chunks: ranges.into_iter().zip(hashes).collect(),
            is_last,
        }
    }

    /// Return the hashes of the file, after its last block.
    pub(super) fn finish(self) -> Sums {
        let mut sha256 = [0; 32];
        let digest = self.sha256.finish();
        for (to, from) in sha256.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Sums {
            file: self.merkle.file_hash(),
            size: self.chunker.position(),
            sha256,
        }
    }
}

/// Return where in `block` the chunks lie that end in it; the first begins at `start`.
fn cut(chunker: &mut Chunker, block: &[u8], start: usize) -> Vec<Range<usize>> {
    let before = chunker.position();
    let mut ends = Vec::new();
    let data = block.get(HEADROOM_BYTES..).unwrap_or_default();
    if data.is_empty() {
        chunker.clone().finish(&mut |end| ends.push(end));
    } else {
        chunker.push(data, &mut |end| ends.push(end));
    }
    let mut start = start;
    ends.into_iter()
        .map(|end| {
            // No further than the block, whose length is a usize.
            let end = HEADROOM_BYTES + usize::try_from(end.saturating_sub(before)).unwrap_or(data.len());
            let range = start..end;
            start = end;
            range
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_do_not_depend_on_blocks() {
        let content: Vec<u8> = (0_u64..1_000_000).map(|at| (at.wrapping_mul(at) >> 7) as u8).collect();
        let expected: Vec<Hash> = xetway_core::chunker::chunks(&content).map(chunk_hash).collect();
        assert!(expected.len() > 7);
        for block_bytes in [1000, 8191, 65_536, 700_001, 1_000_000] {
            let mut hasher = BlockHasher::new();
            let mut found = Vec::new();
            for data in content.chunks(block_bytes).chain([&[][..]]) {
                let mut block = vec![0xee; HEADROOM_BYTES];
                block.extend_from_slice(data);
                let pushed = hasher.push(block);
                assert_eq!(pushed.is_last, data.is_empty());
                for (range, hash) in pushed.chunks {
                    assert_eq!(chunk_hash(&pushed.block[range]), hash);
                    found.push(hash);
                }
            }
            assert_eq!(found, expected, "blocks of {block_bytes}");
            let sums = hasher.finish();
            assert_eq!(sums.size, 1_000_000);
            assert_eq!(
                sums.sha256,
                *ring::digest::digest(&SHA256, &content).as_ref().first_chunk().unwrap()
            );
        }
    }
}

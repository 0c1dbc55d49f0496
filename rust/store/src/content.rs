//! The Xet hash of a file on disk.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use xetway_core::hash::chunk_hash;
use xetway_core::merkle::MerkleHasher;
use xetway_core::{Chunker, Hash, MAX_CHUNK_BYTES};

const READ_BYTES: usize = 1024 * 1024;

/// Cuts content into chunks, whatever the pieces it comes in. Memory: one chunk.
#[derive(Default)]
struct ChunkSplitter {
    chunker: Chunker,
    pending: Vec<u8>,
}

impl ChunkSplitter {
    /// Take the next bytes and pass on each chunk they complete.
    fn push<E>(&mut self, data: &[u8], mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let before = self.chunker.position();
        let mut ends = Vec::new();
        self.chunker.push(data, &mut |end| ends.push(end));
        let mut start = 0;
        for end in ends {
            let end = usize::try_from(end.saturating_sub(before)).unwrap_or(data.len());
            let chunk = data.get(start..end).unwrap_or_default();
            if self.pending.is_empty() {
                sink(chunk)?;
            } else {
                self.pending.extend_from_slice(chunk);
                sink(&self.pending)?;
                self.pending.clear();
            }
            start = end;
        }
        self.pending.reserve(MAX_CHUNK_BYTES.saturating_sub(self.pending.len()));
        self.pending.extend_from_slice(data.get(start..).unwrap_or_default());
        Ok(())
    }

    /// Pass on the last chunk, if there is one.
    fn finish<E>(self, mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if self.pending.is_empty() {
            Ok(())
        } else {
            sink(&self.pending)
        }
    }
}

/// Hash the file at `path`; returns its Xet hash and size. Memory: about 1.2 MiB whatever the size.
pub fn hash_file(path: &Path) -> io::Result<(Hash, u64)> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; READ_BYTES];
    let mut splitter = ChunkSplitter::default();
    let mut merkle = MerkleHasher::new();
    let mut size = 0_u64;
    let mut add = |chunk: &[u8]| -> io::Result<()> {
        merkle.push(chunk_hash(chunk), chunk.len() as u64);
        Ok(())
    };
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        size = size.saturating_add(count as u64);
        splitter.push(buffer.get(..count).unwrap_or_default(), &mut add)?;
    }
    splitter.finish(&mut add)?;
    Ok((merkle.file_hash(), size))
}

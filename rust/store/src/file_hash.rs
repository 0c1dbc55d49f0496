//! The Xet hash of files on disk.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::ThreadPool;
use rayon::prelude::*;
use xetway_core::Hash;
use xetway_core::hash::chunk_hash;
use xetway_core::merkle::MerkleHasher;
use xetway_core::parallel::{BLOCK_BYTES, LOADED_BYTES, MIN_PARALLEL_BYTES, hash_blocks};

use crate::cutter::Cutter;
use crate::positioned;

/// Of several files, those up to this size are hashed side by side, each on one thread.
const MAX_SIDE_BY_SIDE_BYTES: u64 = 8 * 1024 * 1024;

/// Each thread looks for the work of others after so much of small files.
const ROUND_BYTES: u64 = 32 * 1024 * 1024;

/// What is read at a time on one thread: the whole file if it is not larger than the second.
const MIN_READ_BYTES: usize = 64 * 1024;
const MAX_READ_BYTES: usize = 256 * 1024;

/// Hash the file at `path`; returns its Xet hash and size.
///
/// A large one is read and hashed on all threads of the pool. Memory: at most 2 MiB for each
/// thread and a little, whatever the size.
pub fn hash_file(path: &Path) -> io::Result<(Hash, u64)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let pool = (metadata.is_file() && metadata.len() >= MIN_PARALLEL_BYTES as u64)
        .then(xetway_pool::pool)
        .flatten();
    match pool {
        Some(pool) => hash_in_blocks(&pool, &file),
        None => hash_in_order(file, metadata.len()),
    }
}

/// Hash the files at `paths`, in order; an error is returned with the index of its file.
///
/// Small files are hashed side by side, large ones one after the other, each on all threads.
pub fn hash_files(paths: &[PathBuf]) -> Result<Vec<(Hash, u64)>, (usize, io::Error)> {
    let small = paths.iter().enumerate().map(|(index, path)| match path.metadata() {
        Ok(metadata) => Ok(Some(metadata.len()).filter(|bytes| metadata.is_file() && *bytes <= MAX_SIDE_BY_SIDE_BYTES)),
        Err(error) => Err((index, error)),
    });
    let small: Vec<Option<u64>> = small.collect::<Result<_, _>>()?;
    let pool = xetway_pool::pool();
    let mut hashes = Vec::with_capacity(paths.len());
    while let Some(rest) = small.get(hashes.len()..).filter(|rest| !rest.is_empty()) {
        let Some(pool) = &pool else {
            hashes.resize_with(paths.len(), || None);
            break;
        };
        let count = round(rest, ROUND_BYTES.saturating_mul(pool.current_num_threads() as u64));
        let files = paths
            .iter()
            .skip(hashes.len())
            .zip(rest)
            .take(count)
            .collect::<Vec<_>>();
        let side_by_side = files.par_iter().map(|(path, small)| small.map(|_| hash_alone(path)));
        hashes.append(&mut pool.install(|| side_by_side.collect::<Vec<_>>()));
    }
    let files = paths.iter().zip(hashes).enumerate();
    let hashes =
        files.map(|(index, (path, known))| known.unwrap_or_else(|| hash_file(path)).map_err(|error| (index, error)));
    hashes.collect()
}

/// How many of the next files to hash before others have their turn.
fn round(files: &[Option<u64>], bytes: u64) -> usize {
    let mut taken = 0_u64;
    let fits = |file: &&Option<u64>| {
        let fits = taken < bytes;
        taken = taken.saturating_add(file.unwrap_or_default().max(MIN_READ_BYTES as u64));
        fits
    };
    files.iter().take_while(fits).count()
}

/// Hash the file at `path` on this thread.
fn hash_alone(path: &Path) -> io::Result<(Hash, u64)> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    hash_in_order(file, bytes)
}

/// Read `file` from its beginning; it may be a pipe, and have more or less than `expected` bytes.
fn hash_in_order(mut file: File, expected: u64) -> io::Result<(Hash, u64)> {
    let wanted = usize::try_from(expected).unwrap_or(usize::MAX).saturating_add(1);
    let mut buffer = vec![0; wanted.clamp(MIN_READ_BYTES, MAX_READ_BYTES)];
    let mut cutter = Cutter::default();
    let mut merkle = MerkleHasher::new();
    let mut size = 0_u64;
    let mut add = |chunk: &[u8]| merkle.push(chunk_hash(chunk), chunk.len() as u64);
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        size = size.saturating_add(count as u64);
        for chunk in cutter.cut(buffer.get(..count).unwrap_or_default()) {
            add(chunk.bytes);
        }
    }
    if let Some(last) = cutter.finish() {
        add(last.bytes);
    }
    Ok((merkle.file_hash(), size))
}

/// Read `file` block by block on all threads of `pool`.
fn hash_in_blocks(pool: &ThreadPool, file: &File) -> io::Result<(Hash, u64)> {
    let buffers = Buffers::default();
    let mut merkle = MerkleHasher::new();
    let mut size = 0_u64;
    let load = |index: u64| buffers.read(file, index.saturating_mul(BLOCK_BYTES as u64));
    hash_blocks(pool, load, |hash, bytes| {
        size = size.saturating_add(bytes as u64);
        merkle.push(hash, bytes as u64);
    })?;
    Ok((merkle.file_hash(), size))
}

/// Buffers for blocks, used again and again.
#[derive(Default)]
struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// Read a block of `file` from byte `offset` on; it is shorter where the file ends in it.
    fn read(&self, file: &File, offset: u64) -> io::Result<Block<'_>> {
        let unused = self.unused().pop();
        let mut block = Block {
            buffer: unused.unwrap_or_else(|| vec![0; LOADED_BYTES]),
            filled: 0,
            home: self,
        };
        block.filled = positioned::read_up_to(file, &mut block.buffer, offset)?;
        Ok(block)
    }

    fn unused(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of one block; gives its buffer back.
struct Block<'a> {
    buffer: Vec<u8>,
    filled: usize,
    home: &'a Buffers,
}

impl AsRef<[u8]> for Block<'_> {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        self.home.unused().push(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_some_bytes_or_files() {
        let files = [Some(70_000), None, Some(200_000), Some(0), Some(1)];
        let taken = [0, 1, 70_001, 200_000, 400_000, 1_000_000].map(|bytes| round(&files, bytes));
        assert_eq!(taken, [0, 1, 2, 3, 4, 5]);
    }
}

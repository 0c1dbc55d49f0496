//! Xorbs to cache, and caches to test with.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "each test file uses some of it"
)]

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use xetway_cache::{Cache, CachedXorb, Limits, NewChunk};
use xetway_core::Hash;
use xetway_core::codec::Decoder;
use xetway_core::hash::chunk_hash;
use xetway_core::xorb::{ChunkHeader, XorbBuilder};

/// Numbers that are the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides.max(1)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| u8::try_from(self.roll(256)).unwrap()).collect()
    }
}

/// One chunk of a sample.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) hash: Hash,
    pub(crate) raw_bytes: u32,
    pub(crate) stored: Vec<u8>,
    pub(crate) start: u64,
}

/// A xorb as it would come from another host.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) hash: Hash,
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) data: Vec<u8>,
}

impl Sample {
    /// Chunks of up to `max_bytes`; every third one compresses.
    pub(crate) fn new(seed: u64, count: usize, max_bytes: usize) -> Self {
        let mut dice = Dice(seed);
        let mut builder = XorbBuilder::new();
        let mut hashes = Vec::new();
        for index in 0..count {
            let bytes = 1 + usize::try_from(dice.roll(max_bytes as u64)).unwrap();
            let mut raw = dice.bytes(bytes);
            if index % 3 == 2 {
                raw = vec![raw[0]; bytes];
            }
            let hash = chunk_hash(&raw);
            hashes.push(hash);
            builder.push(&raw, hash).unwrap();
        }
        let (data, meta) = builder.finish().unwrap();
        let mut start = 0;
        let chunks = meta
            .chunks()
            .iter()
            .map(|chunk| {
                let stored = data[start..chunk.end as usize].to_vec();
                let placed = Chunk {
                    hash: chunk.hash,
                    raw_bytes: chunk.raw_bytes,
                    stored,
                    start: start as u64,
                };
                start = chunk.end as usize;
                placed
            })
            .collect();
        Self {
            hash: meta.hash(),
            chunks,
            data,
        }
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.chunks.len()).unwrap()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.data.len() as u64
    }

    pub(crate) fn range(&self, chunks: Range<u32>) -> &[Chunk] {
        &self.chunks[chunks.start as usize..chunks.end as usize]
    }

    pub(crate) fn start(&self, chunk: u32) -> u64 {
        self.chunks
            .get(chunk as usize)
            .map_or(self.bytes(), |chunk| chunk.start)
    }

    pub(crate) fn append(&self, xorb: &CachedXorb, chunks: Range<u32>) -> xetway_cache::Result<()> {
        append(xorb, chunks.start, self.range(chunks))
    }

    pub(crate) fn append_all(&self, xorb: &CachedXorb) {
        self.append(xorb, 0..self.count()).unwrap();
    }

    pub(crate) fn file(&self, root: &Path, suffix: &str) -> PathBuf {
        let name = self.hash.to_hex();
        root.join("xorbs").join(&name[..2]).join(format!("{name}.{suffix}"))
    }
}

pub(crate) fn append(xorb: &CachedXorb, first: u32, chunks: &[Chunk]) -> xetway_cache::Result<()> {
    let new: Vec<NewChunk<'_>> = chunks
        .iter()
        .map(|chunk| NewChunk {
            hash: chunk.hash,
            raw_bytes: chunk.raw_bytes,
            stored: &chunk.stored,
        })
        .collect();
    xorb.append(first, chunks.first().map_or(0, |chunk| chunk.start), &new)
}

/// A cache in a folder that goes with it.
pub(crate) struct Folder {
    pub(crate) folder: TempDir,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn open(&self) -> Cache {
        self.open_with(None)
    }

    pub(crate) fn open_with(&self, max_bytes: Option<u64>) -> Cache {
        let limits = Limits {
            max_bytes,
            min_free_bytes: 0,
        };
        let cache = Cache::open(self.root(), limits).unwrap();
        // What a test does next is then not counted twice.
        assert!(cache.counted_usage().unwrap().complete);
        cache
    }
}

/// Read all that is held of `range`, in pieces; every piece must be what `sample` has there.
pub(crate) fn read_range(xorb: &CachedXorb, sample: &Sample, range: Range<u64>, max_bytes: usize) -> Vec<Range<u64>> {
    let mut found: Vec<Range<u64>> = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let Some(piece) = xorb.read(at, range.end, max_bytes).unwrap() else {
            at = sample
                .chunks
                .iter()
                .map(|chunk| chunk.start)
                .find(|start| *start > at)
                .unwrap_or(range.end);
            continue;
        };
        assert_eq!(piece.start, at);
        assert!(!piece.bytes.is_empty() && piece.bytes.len() <= max_bytes);
        let end = at + piece.bytes.len() as u64;
        assert!(end <= range.end);
        let (from, to) = (usize::try_from(at).unwrap(), usize::try_from(end).unwrap());
        assert!(piece.bytes == sample.data[from..to], "wrong bytes at {at}");
        match found.last_mut() {
            Some(last) if last.end == at => last.end = end,
            _ => found.push(at..end),
        }
        at = end;
    }
    found
}

/// Read everything; returns what is held.
pub(crate) fn read_all(xorb: &CachedXorb, sample: &Sample) -> Vec<Range<u64>> {
    read_range(xorb, sample, 0..sample.bytes(), 1 << 20)
}

/// Whatever a cache says of a chunk and gives as its bytes must belong together.
pub(crate) fn assert_honest(xorb: &CachedXorb) {
    let mut raw = Vec::new();
    for chunk in xorb.chunks(0..8192) {
        let Some(piece) = xorb.read(chunk.start, chunk.end, 1 << 20).unwrap() else {
            continue;
        };
        assert_eq!(piece.bytes.len() as u64, chunk.end - chunk.start);
        let (head, payload) = piece.bytes.split_first_chunk::<{ ChunkHeader::BYTES }>().unwrap();
        let header = ChunkHeader::parse(head).unwrap();
        raw.resize(header.raw_bytes as usize, 0);
        Decoder::new()
            .decompress_into(header.scheme, payload, &mut raw)
            .unwrap();
        assert_eq!(chunk_hash(&raw), chunk.hash);
        assert_eq!(header.raw_bytes, chunk.raw_bytes);
    }
}

/// Copy a folder file by file, as it is at the moment each is reached.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let Ok(entries) = fs::read_dir(from) else { return };
    for entry in entries {
        let Ok(entry) = entry else { continue };
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            // It may have been deleted meanwhile.
            let _ = fs::copy(entry.path(), target);
        }
    }
}

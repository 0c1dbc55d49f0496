//! Xorbs and files made of pseudo-random chunks, stored raw so that a flipped bit still decodes.

use std::ops::Range;
use std::sync::Arc;

use xetway_core::codec::Scheme;
use xetway_core::hash::chunk_hash;
use xetway_core::merkle::file_hash;
use xetway_core::shard::Term;
use xetway_core::xorb::{XorbBuilder, XorbMeta};
use xetway_core::{Hash, codec};

/// A xorb and the raw bytes of its chunks.
#[derive(Clone)]
pub struct Xorb {
    pub hash: Hash,
    pub data: Arc<Vec<u8>>,
    pub meta: Arc<XorbMeta>,
    pub chunks: Arc<Vec<Vec<u8>>>,
}

impl Xorb {
    /// Make a xorb of `count` chunks of 8 to 24 KiB.
    pub fn new(seed: u64, count: usize) -> Self {
        let mut random = Random(seed * 2 + 1);
        let chunks = (0..count).map(|_| {
            let length = 8192 + (random.next() % 16_384) as usize;
            random.bytes(length)
        });
        Self::of(chunks.collect(), Scheme::None)
    }

    /// Make a xorb of more than 8 MiB: what is smaller is proven before it is shown, if it can be.
    pub fn large(seed: u64) -> Self {
        let mut random = Random(seed * 2 + 1);
        Self::of((0..96).map(|_| random.bytes(100_000)).collect(), Scheme::None)
    }

    /// Make a xorb of these chunks.
    pub fn of(chunks: Vec<Vec<u8>>, scheme: Scheme) -> Self {
        let mut builder = XorbBuilder::new();
        for chunk in &chunks {
            builder.push_as(chunk, chunk_hash(chunk), scheme).unwrap();
        }
        let (data, meta) = builder.finish().unwrap();
        Self {
            hash: meta.hash(),
            data: Arc::new(data),
            meta: Arc::new(meta),
            chunks: Arc::new(chunks),
        }
    }

    /// Where the chunk data ends.
    pub fn len(&self) -> u64 {
        self.data.len() as u64
    }

    /// Offset of a byte in the middle of the payload of `chunk`.
    pub fn inside(&self, chunk: usize) -> u64 {
        let end = u64::from(self.meta.chunks()[chunk].end);
        end - self.chunks[chunk].len() as u64 / 2
    }

    /// Stored bytes of a run of chunks.
    pub fn stored(&self, chunks: Range<usize>) -> Range<u64> {
        let start = chunks
            .start
            .checked_sub(1)
            .map_or(0, |before| self.meta.chunks()[before].end);
        u64::from(start)..u64::from(self.meta.chunks()[chunks.end - 1].end)
    }
}

/// A file: its hash, its terms, its content.
#[derive(Clone)]
pub struct File {
    pub hash: Hash,
    pub terms: Vec<Term>,
    pub content: Arc<Vec<u8>>,
}

impl File {
    /// Make a file of runs of chunks.
    pub fn new(parts: &[(&Xorb, Range<u32>)]) -> Self {
        let (mut terms, mut content, mut nodes) = (Vec::new(), Vec::new(), Vec::new());
        for (xorb, chunks) in parts {
            let before = content.len();
            for index in chunks.clone() {
                let chunk = &xorb.chunks[index as usize];
                content.extend_from_slice(chunk);
                nodes.push((chunk_hash(chunk), chunk.len() as u64));
            }
            terms.push(Term {
                xorb: xorb.hash,
                flags: 0,
                unpacked_bytes: (content.len() - before) as u32,
                start: chunks.start,
                end: chunks.end,
            });
        }
        Self {
            hash: file_hash(&nodes),
            terms,
            content: Arc::new(content),
        }
    }

    /// A file of all chunks of these xorbs.
    pub fn whole(xorbs: &[&Xorb]) -> Self {
        let parts: Vec<_> = xorbs.iter().map(|xorb| (*xorb, 0..xorb.chunks.len() as u32)).collect();
        Self::new(&parts)
    }

    pub fn size(&self) -> u64 {
        self.content.len() as u64
    }
}

/// Decode the stored chunks in `stored`, which begins with chunk `first`, and return the raw bytes of `wanted`.
pub fn decode(stored: &[u8], first: u32, wanted: Range<u32>) -> Vec<u8> {
    let (mut at, mut index, mut raw) = (0, first, Vec::new());
    while index < wanted.end {
        let header = xetway_core::xorb::ChunkHeader::parse(stored[at..at + 8].try_into().unwrap()).unwrap();
        let end = at + header.stored_bytes() as usize;
        if index >= wanted.start {
            let mut chunk = vec![0; header.raw_bytes as usize];
            codec::decompress_into(header.scheme, &stored[at + 8..end], &mut chunk).unwrap();
            raw.extend_from_slice(&chunk);
        }
        (at, index) = (end, index + 1);
    }
    raw
}

/// Small and repeatable.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 ^ (self.0 >> 29)
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(count);
        bytes
    }
}

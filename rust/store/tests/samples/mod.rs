//! Content, xorbs and stores to test with.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses some of it")]

use std::path::PathBuf;

use tempfile::TempDir;
use xetway_core::codec::Scheme;
use xetway_core::hash::chunk_hash;
use xetway_core::shard::Term;
use xetway_core::xorb::{XorbBuilder, XorbMeta, write_footer};
use xetway_core::{Hash, chunker};
use xetway_store::{Ingested, PieceReader, Scratch, XorbStore};

/// `SplitMix64`: bytes that do not compress.
pub(crate) fn noise(mut seed: u64, bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = seed;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        out.extend((word ^ (word >> 31)).to_le_bytes());
    }
    out.truncate(bytes);
    out
}

/// Content in which every scheme pays somewhere.
pub(crate) fn mixture(bytes: usize) -> Vec<u8> {
    let floats = noise(7, bytes / 3)
        .chunks(2)
        .flat_map(|pair| [pair[0], 0, 0x80 | pair[0] & 1, 0x3f])
        .collect::<Vec<u8>>();
    let mut out = noise(1, bytes / 3);
    out.extend(&floats[..bytes / 3]);
    out.resize(bytes, b'x');
    out
}

/// A store in a folder that goes with it.
pub(crate) struct Sample {
    pub(crate) folder: TempDir,
    pub(crate) store: XorbStore,
}

impl Sample {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = XorbStore::open(folder.path()).unwrap();
        Self { folder, store }
    }

    pub(crate) fn file_of(&self, xorb: &Hash) -> PathBuf {
        let name = xorb.to_hex();
        self.folder
            .path()
            .join("xorbs")
            .join(&name[..2])
            .join(format!("{name}.xorb"))
    }

    pub(crate) fn temporary(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join("tmp")).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Take content in, in pieces, and publish its xorbs.
    pub(crate) fn add(&self, content: &[u8], piece_bytes: usize) -> Ingested {
        let mut ingest = self.store.ingest();
        for piece in content.chunks(piece_bytes) {
            ingest.write(piece).unwrap();
        }
        let mut file = ingest.finish().unwrap();
        for (_, writer, _) in &mut file.xorbs {
            assert!(writer.publish(false).unwrap());
        }
        file
    }

    /// Store a serialized xorb.
    pub(crate) fn put(&self, xorb: &Hash, data: &[u8]) -> bool {
        let mut writer = self.store.create(*xorb).unwrap();
        writer.write(data).unwrap();
        writer.finish().unwrap();
        writer.publish(false).unwrap()
    }
}

/// Serialize the chunks of `content`, all with one scheme.
pub(crate) fn xorb_of(content: &[u8], scheme: Scheme) -> (Vec<u8>, XorbMeta) {
    let mut builder = XorbBuilder::new();
    for chunk in chunker::chunks(content) {
        builder.push_as(chunk, chunk_hash(chunk), scheme).unwrap();
    }
    builder.finish().unwrap()
}

/// The bytes that a stored xorb's file has.
pub(crate) fn file_bytes(data: &[u8], meta: &XorbMeta) -> Vec<u8> {
    let mut bytes = data.to_vec();
    write_footer(meta, &mut bytes);
    bytes
}

/// The whole of a xorb as one term.
pub(crate) fn whole(meta: &XorbMeta) -> Term {
    let end = u32::try_from(meta.len()).unwrap();
    Term {
        xorb: meta.hash(),
        flags: 0,
        unpacked_bytes: meta.raw_bytes(),
        start: 0,
        end,
    }
}

/// Read to the end, about `max_bytes` at a time, checking that pieces are as long as they say.
pub(crate) fn drain(reader: &mut impl PieceReader, max_bytes: usize) -> xetway_store::Result<Vec<u8>> {
    let (mut out, mut scratch) = (Vec::new(), Scratch::default());
    while reader.remaining() > 0 {
        let before = reader.remaining();
        let piece = reader.next(max_bytes, &mut scratch)?;
        out.extend_from_slice(piece);
        let bytes = piece.len() as u64;
        assert!(bytes > 0);
        assert_eq!(before - reader.remaining(), bytes);
    }
    assert!(reader.next(max_bytes, &mut scratch)?.is_empty());
    Ok(out)
}

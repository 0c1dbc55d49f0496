//! Content, and clients to move it with.

use std::time::Duration;

use xetway_client::download::FileDownload;
use xetway_client::{Cas, Concurrency, Credentials, Http, Options, Secret};
use xetway_core::Hash;
use xetway_core::chunker;
use xetway_core::hash::chunk_hash;
use xetway_core::merkle::MerkleHasher;

use crate::store::Store;

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

/// Content of which some compresses.
pub(crate) fn mixture(seed: u64, bytes: usize) -> Vec<u8> {
    let mut out = noise(seed, bytes / 2);
    let noise = noise(seed + 1, bytes / 8);
    out.extend(noise.iter().flat_map(|byte| [*byte, 0, 0x80 | byte & 1, 0x3f]));
    out.resize(bytes, b'x');
    out
}

pub(crate) fn file_hash(content: &[u8]) -> Hash {
    let mut merkle = MerkleHasher::new();
    for chunk in chunker::chunks(content) {
        merkle.push(chunk_hash(chunk), chunk.len() as u64);
    }
    merkle.file_hash()
}

/// Quick to try again, patient otherwise.
pub(crate) fn options() -> Options {
    Options {
        retry_base: Duration::from_millis(1),
        retry_cap: Duration::from_millis(4),
        use_proxies: false,
        concurrency: Concurrency::Fixed(4),
        ..Options::default()
    }
}

pub(crate) fn http() -> Http {
    Http::new(options()).unwrap()
}

pub(crate) fn cas(store: &Store) -> Cas {
    cas_with(store, options())
}

pub(crate) fn cas_with(store: &Store, options: Options) -> Cas {
    let credentials = Credentials::Fixed {
        cas_url: store.url.clone(),
        token: Secret::new("t"),
    };
    Cas::new(Http::new(options).unwrap(), credentials)
}

pub(crate) fn whole(file: Hash) -> FileDownload {
    FileDownload {
        file,
        size: None,
        range: None,
    }
}

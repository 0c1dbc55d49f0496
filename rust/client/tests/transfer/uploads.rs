//! Files into the store, and out again.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ring::digest::{SHA256, digest};
use tempfile::TempDir;
use xetway_client::download::{DownloadOptions, to_path};
use xetway_client::upload::{Progress, Uploaded, Uploader};
use xetway_core::hash::verification_hash;
use xetway_core::{Hash, chunker};

use crate::samples::{cas, file_hash, mixture, noise, whole};
use crate::store::{Fault, Store};

fn write(folder: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

async fn upload(store: &Store, folder: &TempDir, contents: &[&[u8]]) -> Uploaded {
    let mut uploader = Uploader::new(cas(store));
    for (index, content) in contents.iter().enumerate() {
        let path = write(folder, &format!("up{index}"), content);
        let added = uploader.add_path(&path, None).await.unwrap();
        assert_eq!(added.file, file_hash(content));
        assert_eq!(added.size, content.len() as u64);
        assert_eq!(added.sha256, digest(&SHA256, content).as_ref());
    }
    uploader.finish().await.unwrap()
}

async fn assert_stored(store: &Store, folder: &TempDir, content: &[u8]) {
    let path = folder.path().join("down");
    to_path(cas(store), whole(file_hash(content)), &path, DownloadOptions::default())
        .await
        .unwrap();
    assert!(fs::read(&path).unwrap() == content);
}

#[tokio::test]
async fn files_come_out_as_they_went_in() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let contents = [
        mixture(41, 9_000_000),
        b"Hello World!".to_vec(),
        noise(42, 4_194_304),
        vec![0; 1_000_000],
    ];
    let slices: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    let uploaded = upload(&store, &folder, &slices).await;
    assert_eq!(uploaded.xorbs, 1);
    let total: usize = contents.iter().map(Vec::len).sum();
    assert_eq!(uploaded.new_bytes + uploaded.dedup_bytes, total as u64);
    for content in &contents {
        assert_stored(&store, &folder, content).await;
    }
    let state = store.state();
    let shard = &state.shards[0];
    assert_eq!((state.shards.len(), shard.xorbs.len(), shard.files.len()), (1, 1, 4));
    assert!(shard.files.is_sorted_by_key(|file| file.hash));
    assert_eq!(shard.xorbs[0].bytes_on_disk, 0);
    for file in &shard.files {
        let hashes = |term: &xetway_core::shard::Term| {
            let chunks = state.xorbs[&term.xorb].1.range(term.start, term.end).unwrap();
            verification_hash(chunks.iter().map(|chunk| &chunk.hash))
        };
        assert_eq!(file.verification, Some(file.terms.iter().map(hashes).collect()));
    }
    let hello = shard
        .files
        .iter()
        .find(|file| file.hash == file_hash(b"Hello World!"))
        .unwrap();
    assert_eq!(hello.sha256.unwrap(), digest(&SHA256, b"Hello World!").as_ref());
}

#[tokio::test]
async fn the_empty_file_has_no_terms_and_no_xorb() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    assert_eq!(upload(&store, &folder, &[b"", b""]).await, Uploaded::default());
    {
        let state = store.state();
        assert_eq!(
            (state.shards.len(), state.shards[0].files.len(), state.xorbs.len()),
            (1, 1, 0)
        );
        let file = &state.shards[0].files[0];
        assert_eq!(
            (file.hash, file.terms.len(), file.sha256),
            (Hash::ZERO, 0, Some([0; 32]))
        );
    }
    assert_eq!(store.count("chunks"), 0);
    Uploader::new(cas(&store)).finish().await.unwrap();
    assert_eq!(store.count("shards"), 1, "nothing to tell, nothing sent");
}

#[tokio::test]
async fn what_a_session_has_sent_is_not_sent_again() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let content = noise(43, 3_000_000);
    let longer = [content.as_slice(), &noise(44, 500_000)].concat();
    let uploaded = upload(&store, &folder, &[&content, &longer, &content]).await;
    assert!(uploaded.dedup_bytes > 5_800_000, "{uploaded:?}");
    assert!(uploaded.new_bytes < 3_700_000, "{uploaded:?}");
    assert_stored(&store, &folder, &content).await;
    assert_stored(&store, &folder, &longer).await;
}

#[tokio::test]
async fn what_the_store_has_is_not_sent_again() {
    for key in [[0; 32], [9; 32]] {
        let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
        store.state().key = Some(key);
        let content = noise(45, 3_000_000);
        upload(&store, &folder, &[&content]).await;
        let uploaded = upload(&store, &folder, &[&content]).await;
        let expected = Uploaded {
            new_bytes: 0,
            dedup_bytes: 3_000_000,
            xorbs: 0,
        };
        assert_eq!(uploaded, expected);
        let asked = store.count("/v1/chunks/default/");
        assert_eq!(asked, 2, "once for each file: its first chunk");
        assert_eq!(store.count("/v1/xorbs"), 1);
        assert_eq!(store.state().shards[1].xorbs.len(), 0);
        assert_stored(&store, &folder, &content).await;
    }
}

#[tokio::test]
async fn a_store_that_cannot_tell_is_not_asked_for_ever() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    store.fault(|seen, _| {
        if seen.path.contains("chunks") {
            Fault::Status(403)
        } else {
            Fault::None
        }
    });
    let contents: Vec<Vec<u8>> = (0..6).map(|seed| noise(seed, 100)).collect();
    let slices: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    upload(&store, &folder, &slices).await;
    assert_eq!(store.count("chunks"), 3);
    assert_stored(&store, &folder, &contents[3]).await;
}

#[tokio::test]
async fn xorbs_are_cut_at_their_limit_and_sent_on_the_way() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    // Zeros compress: 70 MiB cost little. Each chunk is new because of its first bytes.
    let mut content = vec![0_u8; 70 << 20];
    for (index, chunk) in content.chunks_mut(131_072).enumerate() {
        chunk[..4].copy_from_slice(&(index as u32).to_le_bytes());
    }
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&events);
    let progress = Progress::new(move |event| told.lock().unwrap().push(event));
    let path = write(&folder, "big", &content);
    let mut uploader = Uploader::new(cas(&store));
    uploader.add_path(&path, Some(progress)).await.unwrap();
    assert!(store.count("/v1/xorbs") >= 1, "sent before the end");
    assert_eq!(uploader.finish().await.unwrap().xorbs, 2);
    assert_stored(&store, &folder, &content).await;
    let last = events.lock().unwrap().iter().map(|event| event.content_bytes).max();
    assert_eq!(last, Some(70 << 20));
    let chunks: usize = store.state().shards[0].xorbs.iter().map(|xorb| xorb.chunks.len()).sum();
    assert_eq!(chunks, chunker::boundaries(&content).len());
}

#[tokio::test]
async fn failures_of_the_store_are_retried_and_refusals_told() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    store.fault(|seen, before| match before {
        0 if seen.method == "POST" => Fault::Status(500),
        1 if seen.method == "POST" => Fault::Cut(0),
        _ => Fault::None,
    });
    let content = noise(46, 300_000);
    upload(&store, &folder, &[&content]).await;
    assert_stored(&store, &folder, &content).await;
    store.fault(|seen, _| {
        if seen.path.contains("xorbs") {
            Fault::Status(403)
        } else {
            Fault::None
        }
    });
    let mut uploader = Uploader::new(cas(&store));
    let path = write(&folder, "f", &noise(47, 300_000));
    uploader.add_path(&path, None).await.unwrap();
    let error = uploader.finish().await.unwrap_err();
    assert_eq!(error.code(), "upstream_status");
    assert_eq!(store.count("shards"), 3, "no shard without its xorbs");
}

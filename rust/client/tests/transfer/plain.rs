//! Files by URL.

use std::fs;
use std::sync::Arc;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use tokio::sync::Notify;
use xetway_client::download::plain::{Digest, PlainDownload, to_path};
use xetway_client::download::{DownloadOptions, Progress};
use xetway_client::{Error, Secret};

use crate::samples::{http, noise};
use crate::store::{Fault, PlainFile, Store};

fn put(store: &Store, content: &[u8], etag: Option<&str>) {
    let file = PlainFile {
        content: content.to_vec(),
        etag: etag.map(str::to_owned),
    };
    store.state().plain.insert("f".to_owned(), file);
}

fn what(store: &Store, digest: Option<Digest>) -> PlainDownload {
    PlainDownload {
        url: Secret::new(format!("{}/plain/f", store.url)),
        headers: vec![("authorization".to_owned(), Secret::new("Bearer t"))],
        size: None,
        digest,
    }
}

fn sha256(content: &[u8]) -> Digest {
    Digest::Sha256(*digest(&SHA256, content).as_ref().first_chunk().unwrap())
}

fn git(content: &[u8]) -> Digest {
    let blob = [format!("blob {}\0", content.len()).as_bytes(), content].concat();
    Digest::GitSha1(*digest(&SHA1_FOR_LEGACY_USE_ONLY, &blob).as_ref().first_chunk().unwrap())
}

#[tokio::test]
async fn digests_are_checked() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("f");
    for content in [noise(31, 2_500_000), b"hello".to_vec(), Vec::new()] {
        put(&store, &content, Some("\"e\""));
        for right in [Some(sha256(&content)), Some(git(&content)), None] {
            let finished = to_path(http(), what(&store, right), &path, DownloadOptions::default())
                .await
                .unwrap();
            assert_eq!(fs::read(&path).unwrap(), content);
            assert_eq!(
                (finished.size, finished.verified),
                (content.len() as u64, right.is_some())
            );
            fs::remove_file(&path).unwrap();
        }
        for wrong in [sha256(b"other"), git(b"other")] {
            let error = to_path(http(), what(&store, Some(wrong)), &path, DownloadOptions::default())
                .await
                .unwrap_err();
            assert_eq!(error.code(), "upstream_integrity");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }
}

#[tokio::test]
async fn cuts_are_made_up_for() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let content = noise(32, 5_000_000);
    put(&store, &content, Some("\"e\""));
    store.fault(|_, before| match before {
        0..3 => Fault::Cut(1_100_000),
        3 => Fault::Status(500),
        _ => Fault::None,
    });
    let path = folder.path().join("f");
    let finished = to_path(
        http(),
        what(&store, Some(git(&content))),
        &path,
        DownloadOptions::default(),
    )
    .await
    .unwrap();
    assert_eq!(fs::read(&path).unwrap(), content);
    assert_eq!(finished.received_bytes, 5_000_000);
}

#[tokio::test]
async fn other_content_is_fetched_again_from_the_start() {
    let content = noise(36, 1_500_000);
    let faults = [
        (Fault::Page(400), "upstream_integrity"),
        (Fault::EndlessPage(2_000_000), "upstream_integrity"),
        (Fault::Flip(1_200_000), "upstream_integrity"),
        (Fault::EndlessPage(400), "connection_cut"),
    ];
    for (fault, code) in faults {
        let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
        put(&store, &content, Some("\"e\""));
        let path = folder.path().join("f");
        let sized = PlainDownload {
            size: Some(1_500_000),
            ..what(&store, Some(sha256(&content)))
        };
        store.fault(move |_, before| if before < 1 { fault } else { Fault::None });
        to_path(http(), sized.clone(), &path, DownloadOptions::default())
            .await
            .unwrap();
        assert!(fs::read(&path).unwrap() == content, "{fault:?}");

        fs::remove_file(&path).unwrap();
        store.fault(move |_, _| fault);
        store.clear();
        let error = to_path(http(), sized, &path, DownloadOptions::default())
            .await
            .unwrap_err();
        assert_eq!(error.code(), code, "{fault:?}");
        assert!(store.count("/plain/f") > 1, "{fault:?}");
        let is_nothing_left = fs::read_dir(folder.path()).unwrap().count() == 0;
        assert_eq!(is_nothing_left, code == "upstream_integrity", "{fault:?}");
    }
}

/// Drop a transfer half way.
async fn interrupt(store: &Store, what: PlainDownload, path: &std::path::Path) {
    store.fault(|_, _| Fault::Hang(3_000_000));
    let reached = Arc::new(Notify::new());
    let notify = Arc::clone(&reached);
    let options = DownloadOptions {
        progress: Some(Progress::new(move |event| {
            if event.content_bytes >= 1_500_000 {
                notify.notify_one();
            }
        })),
        ..DownloadOptions::default()
    };
    tokio::select! {
        outcome = to_path(http(), what, path, options) => panic!("ended: {outcome:?}"),
        () = reached.notified() => {}
    }
    store.no_faults();
    store.clear();
}

#[tokio::test]
async fn a_transfer_goes_on_only_if_the_content_is_the_same() {
    let (content, other) = (noise(33, 5_000_000), noise(34, 5_000_000));
    let digest = Some(sha256(&content));
    // Validator then and now, content now, digest, whether it can go on.
    let cases = [
        (Some("\"a\""), Some("\"a\""), &content, None, true),
        (Some("\"a\""), Some("\"b\""), &other, None, false),
        (Some("\"a\""), None, &other, None, false),
        (None, None, &content, None, false),
        (Some("W/\"a\""), Some("W/\"a\""), &content, None, false),
        (None, None, &content, digest, true),
        (Some("\"a\""), Some("\"b\""), &content, digest, true),
    ];
    for (index, (then, now, content_now, digest, goes_on)) in cases.into_iter().enumerate() {
        let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
        let path = folder.path().join("f");
        put(&store, &content, then);
        interrupt(&store, what(&store, digest), &path).await;
        put(&store, content_now, now);
        let finished = to_path(http(), what(&store, digest), &path, DownloadOptions::default())
            .await
            .unwrap();
        assert_eq!(&fs::read(&path).unwrap(), content_now, "case {index}");
        let is_saved = finished.received_bytes < 4_000_000;
        assert_eq!(is_saved, goes_on, "case {index}: {finished:?}");
    }
}

#[tokio::test]
async fn a_damaged_part_is_not_trusted() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let content = noise(35, 5_000_000);
    put(&store, &content, Some("\"a\""));
    let path = folder.path().join("f");
    interrupt(&store, what(&store, None), &path).await;
    let part = folder.path().join("f.xetway-part");
    let mut bytes = fs::read(&part).unwrap();
    bytes[2_000_000] ^= 1;
    fs::write(&part, bytes).unwrap();
    let finished = to_path(http(), what(&store, None), &path, DownloadOptions::default())
        .await
        .unwrap();
    assert_eq!(fs::read(&path).unwrap(), content);
    assert!((1_000_000..2_000_000).contains(&finished.resumed_bytes), "{finished:?}");
}

#[tokio::test]
async fn a_refusal_leaves_nothing() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("f");
    let error = to_path(http(), what(&store, None), &path, DownloadOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Status { status: 404, .. }));
    put(&store, b"12345", None);
    let sized = PlainDownload {
        size: Some(6),
        ..what(&store, None)
    };
    let error = to_path(http(), sized, &path, DownloadOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "upstream_integrity");
    assert_eq!(
        store.count("/plain/f"),
        1 + 2,
        "one request that was refused, and two of the wrong size"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

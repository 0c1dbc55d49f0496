//! Whole files and ranges to a path.

use std::fs;
use std::sync::{Arc, Mutex};

use xetway_client::download::{DownloadOptions, FileDownload, Finished, Progress, to_path};
use xetway_client::{Error, Options};
use xetway_core::{Hash, chunker};

use crate::samples::{cas, cas_with, mixture, noise, options, whole};
use crate::store::{Fault, Store};

#[tokio::test]
async fn a_whole_file_is_verified_and_nothing_is_left_beside_it() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let content = mixture(1, 9_000_000);
    let file = store.add(&content, 20);
    let path = folder.path().join("model.bin");
    fs::write(&path, b"old").unwrap();
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&events);
    let options = DownloadOptions {
        progress: Some(Progress::new(move |event| told.lock().unwrap().push(event))),
        ..DownloadOptions::default()
    };
    let finished = to_path(cas(&store), whole(file), &path, options).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), content);
    let received_bytes = store.served();
    let expected = Finished {
        size: 9_000_000,
        received_bytes,
        resumed_bytes: 0,
        verified: true,
    };
    assert_eq!(finished, expected);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(store.count("reconstructions"), 1);
    assert_eq!(store.count("data"), store.state().xorbs.len());
    let last = *events.lock().unwrap().last().unwrap();
    assert_eq!((last.content_bytes, last.total_bytes), (9_000_000, 9_000_000));
    assert_eq!(last.network_bytes, received_bytes);
}

#[tokio::test]
async fn the_empty_file_needs_no_request() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("empty");
    let finished = to_path(cas(&store), whole(Hash::ZERO), &path, DownloadOptions::default())
        .await
        .unwrap();
    assert_eq!((finished.size, finished.verified), (0, true));
    assert_eq!(fs::read(&path).unwrap(), b"");
    assert_eq!(store.count(""), 0);
}

#[tokio::test]
async fn a_chunk_that_many_terms_use_is_fetched_once() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let content = noise(2, 2_000_000);
    let chunks: Vec<&[u8]> = chunker::chunks(&content).collect();
    let (xorb, count) = store.add_xorb(&chunks);
    let (other, _) = store.add_xorb(&chunks[3..6]);
    let terms = [
        store.term(xorb, 5..count),
        store.term(other, 0..2),
        store.term(xorb, 0..count),
        store.term(other, 1..3),
        store.term(xorb, 2..7),
        store.term(xorb, 2..3),
        store.term(xorb, 2..3),
    ];
    let file = store.add_file(&terms);
    let expected: Vec<&[u8]> = [
        &chunks[5..],
        &chunks[3..5],
        &chunks,
        &chunks[4..6],
        &chunks[2..7],
        &chunks[2..3],
        &chunks[2..3],
    ]
    .concat();
    let path = folder.path().join("f");
    let finished = to_path(cas(&store), whole(file), &path, DownloadOptions::default())
        .await
        .unwrap();
    assert_eq!(fs::read(&path).unwrap(), expected.concat());
    assert_eq!(store.count("data"), 2);
    assert!(finished.received_bytes < 2_000_000 + 400_000 + 1000, "{finished:?}");
}

#[tokio::test]
async fn a_range_gives_exactly_its_bytes() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let content = mixture(3, 3_000_000);
    let file = store.add(&content, 7);
    let ends: Vec<u64> = chunker::boundaries(&content);
    let boundary = ends[4];
    let ranges = [
        0..1,
        1..2,
        100_000..2_000_000,
        boundary..ends[9],
        boundary - 1..boundary + 1,
        2_999_999..3_000_000,
        2_900_000..9_000_000,
        5..3_000_000,
    ];
    for (index, range) in ranges.into_iter().enumerate() {
        for size in [None, Some(3_000_000)] {
            let path = folder.path().join(format!("{index}"));
            let what = FileDownload {
                file,
                size,
                range: Some(range.clone()),
            };
            let finished = to_path(cas(&store), what, &path, DownloadOptions::default())
                .await
                .unwrap();
            let wanted = &content[range.start as usize..(range.end as usize).min(content.len())];
            assert_eq!(fs::read(&path).unwrap(), wanted, "{range:?}");
            assert_eq!((finished.size, finished.verified), (wanted.len() as u64, false));
        }
    }
    let all = FileDownload {
        file,
        size: Some(3_000_000),
        range: Some(0..3_000_000),
    };
    let path = folder.path().join("all");
    assert!(
        to_path(cas(&store), all, &path, DownloadOptions::default())
            .await
            .unwrap()
            .verified
    );
    for size in [None, Some(3_000_000)] {
        let what = FileDownload {
            file,
            size,
            range: Some(3_000_001..3_000_002),
        };
        let path = folder.path().join("past");
        let error = to_path(cas(&store), what, &path, DownloadOptions::default())
            .await
            .unwrap_err();
        assert_eq!(error.code(), "range_outside");
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn damage_on_the_way_is_fetched_again() {
    let content = mixture(4, 3_000_000);
    // Headers (version, lengths, scheme) and payloads, in the first chunk and later.
    for at in [0, 1, 3, 4, 5, 7, 8, 9, 1000, 200_000, 900_000] {
        let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
        let file = store.add(&content, 18);
        store.fault(move |seen, before| match before {
            0 if seen.path.starts_with("/data") => Fault::Flip(at),
            _ => Fault::None,
        });
        let path = folder.path().join("f");
        let outcome = to_path(cas(&store), whole(file), &path, DownloadOptions::default()).await;
        // A wrong bit in a stored chunk goes unnoticed until the end; then nothing may appear.
        match outcome {
            Ok(_) => assert_eq!(fs::read(&path).unwrap(), content),
            Err(Error::Integrity { .. }) => assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0),
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
}

#[tokio::test]
async fn damage_that_decodes_is_an_integrity_error_and_leaves_nothing() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let file = store.add(&noise(5, 2_000_000), 10);
    store.fault(|seen, _| {
        if seen.path.starts_with("/data") {
            Fault::Flip(5000)
        } else {
            Fault::None
        }
    });
    let path = folder.path().join("f");
    let error = to_path(cas(&store), whole(file), &path, DownloadOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "upstream_integrity");
    assert!(error.to_string().contains(&file.to_hex()), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn cuts_and_busy_servers_are_waited_out() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let content = mixture(6, 4_000_000);
    let file = store.add(&content, 15);
    store.fault(|_, before| match before {
        0 => Fault::Cut(70_001),
        1 => Fault::Status(503),
        2 => Fault::Cut(100_000),
        _ => Fault::None,
    });
    let path = folder.path().join("f");
    let finished = to_path(cas(&store), whole(file), &path, DownloadOptions::default())
        .await
        .unwrap();
    assert_eq!(fs::read(&path).unwrap(), content);
    let stored: usize = store.state().xorbs.values().map(|(data, _)| data.len()).sum();
    assert_eq!(finished.received_bytes, stored as u64, "what came before a cut is kept");
}

#[tokio::test]
async fn expired_urls_are_renewed_once_for_all() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let content = noise(7, 9_000_000);
    let file = store.add(&content, 4);
    let path = folder.path().join("f");
    // All URLs of the plan expire as soon as it is there: every reader finds its own refused.
    let told = store.handle();
    let options = DownloadOptions {
        progress: Some(Progress::new(move |event| {
            if event.content_bytes == 0 {
                told.lock().unwrap().generation += 1;
            }
        })),
        ..DownloadOptions::default()
    };
    to_path(cas(&store), whole(file), &path, options).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), content);
    let refused = store.count("/data/") - store.state().xorbs.len();
    assert!(refused > 1, "{refused} readers");
    assert_eq!(store.count("reconstructions"), 2);
}

#[tokio::test]
async fn a_plan_of_another_length_is_refused() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let file = store.add(&noise(8, 500_000), 100);
    let path = folder.path().join("f");
    let what = FileDownload {
        size: Some(500_001),
        ..whole(file)
    };
    let error = to_path(cas(&store), what, &path, DownloadOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "upstream_integrity");
    let unknown = to_path(
        cas(&store),
        whole(Hash::from_bytes([1; 32])),
        &path,
        DownloadOptions::default(),
    )
    .await;
    assert!(matches!(unknown, Err(Error::Status { status: 404, .. })), "{unknown:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_small_budget_is_enough() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let content = mixture(9, 6_000_000);
    let file = store.add(&content, 9);
    let small = Options {
        max_in_flight_bytes: 1,
        ..options()
    };
    let path = folder.path().join("f");
    to_path(cas_with(&store, small), whole(file), &path, DownloadOptions::default())
        .await
        .unwrap();
    assert_eq!(fs::read(&path).unwrap(), content);
}

//! Small ranges of a xorb, by one request or one by one.

use std::fs;
use std::path::Path;

use xetway_client::download::{DownloadOptions, Finished, Progress, to_path};
use xetway_client::{Cas, Concurrency, Options};
use xetway_core::{Hash, chunker};

use crate::samples::{cas, cas_with, noise, options, whole};
use crate::store::{Fault, Seen, Several, Store};

/// A file of every other chunk of one xorb, in `ranges` ranges, last ones first; and its content.
fn fragments(store: &Store, ranges: u32) -> (Hash, Vec<u8>) {
    store.state().shared_urls = true;
    let content = noise(7, 300_000 * ranges as usize);
    let chunks: Vec<&[u8]> = chunker::chunks(&content).take(2 * ranges as usize).collect();
    let (xorb, count) = store.add_xorb(&chunks);
    assert_eq!(count, 2 * ranges);
    let starts = (0..count).step_by(2).rev();
    let terms: Vec<_> = starts.clone().map(|at| store.term(xorb, at..at + 1)).collect();
    let wanted: Vec<&[u8]> = starts.map(|at| chunks[at as usize]).collect();
    (store.add_file(&terms), wanted.concat())
}

async fn download(cas: &Cas, file: Hash, path: &Path) -> Finished {
    to_path(cas.clone(), whole(file), path, DownloadOptions::default())
        .await
        .unwrap()
}

fn asks_for_several(seen: &Seen) -> bool {
    seen.headers.get("range").is_some_and(|range| range.contains(','))
}

/// Requests for several ranges, and for one.
fn asked(store: &Store) -> (usize, usize) {
    let state = store.state();
    let data = state.seen.iter().filter(|seen| seen.path.contains("/data/"));
    let (several, one): (Vec<_>, Vec<_>) = data.partition(|seen| asks_for_several(seen));
    (several.len(), one.len())
}

#[tokio::test]
async fn ranges_of_one_url_come_by_few_requests() {
    for (ranges, requests) in [(1, (0, 1)), (2, (1, 0)), (32, (1, 0)), (33, (1, 1)), (70, (3, 0))] {
        let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
        let (file, content) = fragments(&store, ranges);
        let path = folder.path().join("f");
        let finished = download(&cas(&store), file, &path).await;
        assert_eq!(fs::read(&path).unwrap(), content);
        assert_eq!(asked(&store), requests, "{ranges} ranges");
        // The heads of parts are not content.
        assert_eq!(finished.received_bytes, content.len() as u64 + 8 * u64::from(ranges));
    }
}

#[tokio::test]
async fn ranges_of_urls_of_their_own_come_one_by_one() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let (file, content) = fragments(&store, 5);
    store.state().shared_urls = false;
    let path = folder.path().join("f");
    download(&cas(&store), file, &path).await;
    assert_eq!(fs::read(&path).unwrap(), content);
    assert_eq!(asked(&store), (0, 5));
}

#[tokio::test]
async fn large_ranges_come_one_by_one() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    store.state().shared_urls = true;
    let content = noise(8, 12_000_000);
    let chunks: Vec<&[u8]> = chunker::chunks(&content).collect();
    let (xorb, count) = store.add_xorb(&chunks);
    let half = count / 2;
    let file = store.add_file(&[store.term(xorb, 0..half), store.term(xorb, half + 1..count)]);
    let path = folder.path().join("f");
    download(&cas(&store), file, &path).await;
    assert_eq!(asked(&store), (0, 2));
}

#[tokio::test]
async fn a_host_that_gives_something_else_is_asked_for_several_ranges_once() {
    let refusals = [400, 403, 404, 416, 501].map(Several::Status);
    let others = [Several::Whole, Several::FirstOnly, Several::Backwards, Several::Fewer];
    for several in refusals.into_iter().chain(others) {
        let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
        let (file, content) = fragments(&store, 6);
        store.state().several = several;
        let cas = cas(&store);
        for name in ["first", "second"] {
            let path = folder.path().join(name);
            download(&cas, file, &path).await;
            assert_eq!(fs::read(&path).unwrap(), content, "{several:?}");
        }
        let expected = match several {
            // What came right was kept.
            Several::Fewer => (1, 1 + 6),
            // It could have been the URL, and the new one is refused too.
            Several::Status(403 | 404) => (2, 6 + 6),
            _ => (1, 6 + 6),
        };
        assert_eq!(asked(&store), expected, "{several:?}");
    }
}

#[tokio::test]
async fn a_host_in_trouble_is_asked_again() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let (file, content) = fragments(&store, 6);
    store.fault(|seen, before| match before {
        0 | 1 if asks_for_several(seen) => Fault::Status(503),
        _ => Fault::None,
    });
    let path = folder.path().join("f");
    download(&cas(&store), file, &path).await;
    assert_eq!(fs::read(&path).unwrap(), content);
    assert_eq!(asked(&store), (3, 0));
}

#[tokio::test]
async fn what_a_broken_answer_lacks_is_fetched_range_by_range() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let (file, content) = fragments(&store, 6);
    // One slot only: a range that is read again must not wait for the answer that it was a part of.
    let narrow = Options {
        concurrency: Concurrency::Fixed(1),
        ..options()
    };
    for (index, place) in (0..content.len()).step_by(content.len() / 23).enumerate() {
        for cut in [true, false] {
            store.clear();
            store.fault(move |seen, _| match asks_for_several(seen) {
                true if cut => Fault::Cut(place),
                true => Fault::Flip(place),
                false => Fault::None,
            });
            let path = folder.path().join(format!("{index}-{cut}"));
            let outcome = to_path(
                cas_with(&store, narrow.clone()),
                whole(file),
                &path,
                DownloadOptions::default(),
            );
            match outcome.await {
                Ok(_) => assert_eq!(fs::read(&path).unwrap(), content),
                // A flipped bit of a chunk that is stored as it is shows in the hash of the file.
                Err(error) => assert!(!cut && error.code() == "upstream_integrity", "{error}"),
            }
            let (several, one) = asked(&store);
            assert!(several <= 2 && one <= 12, "{several} and {one}");
            if cut {
                assert_eq!(several, 1);
                assert!(store.served() <= content.len() as u64 + 2000);
            }
        }
    }
}

#[tokio::test]
async fn a_transfer_goes_on_with_the_ranges_it_lacks() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let (file, content) = fragments(&store, 8);
    store.fault(|seen, _| match asks_for_several(seen) {
        true => Fault::Cut(200_000),
        false if seen.path.contains("/data/") => Fault::Status(400),
        false => Fault::None,
    });
    let path = folder.path().join("f");
    to_path(cas(&store), whole(file), &path, DownloadOptions::default())
        .await
        .unwrap_err();
    store.no_faults();
    store.clear();
    let finished = download(&cas(&store), file, &path).await;
    assert_eq!(fs::read(&path).unwrap(), content);
    assert_eq!(asked(&store), (1, 0));
    assert!(finished.resumed_bytes > 0);
    let moved = finished.resumed_bytes + finished.received_bytes;
    assert!((content.len() as u64..content.len() as u64 + 8 * 8).contains(&moved));
}

#[tokio::test]
async fn urls_that_expire_are_renewed() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let (file, content) = fragments(&store, 4);
    let told = store.handle();
    let options = DownloadOptions {
        progress: Some(Progress::new(move |event| {
            if event.content_bytes == 0 {
                told.lock().unwrap().generation += 1;
            }
        })),
        ..DownloadOptions::default()
    };
    let (client, path) = (cas(&store), folder.path().join("f"));
    to_path(client.clone(), whole(file), &path, options).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), content);
    assert_eq!((store.count("reconstructions"), asked(&store)), (2, (2, 0)));
    // That says nothing about the host.
    download(&client, file, &folder.path().join("g")).await;
    assert_eq!(asked(&store), (3, 0));
}

//! Content in order.

use xetway_client::download::{ContentStream, DownloadOptions, FileDownload, stream};
use xetway_client::{Error, Options, Result};
use xetway_core::{Hash, chunker};

use crate::samples::{cas, cas_with, mixture, noise, options, whole};
use crate::store::{Fault, Store};

async fn drain(mut stream: ContentStream) -> (Vec<u8>, Result<()>) {
    let mut content = Vec::new();
    loop {
        match stream.next().await {
            Ok(Some(piece)) => {
                assert!(!piece.is_empty() && piece.len() <= 1 << 20);
                content.extend_from_slice(&piece);
                let size = stream.size().unwrap();
                assert_eq!(stream.remaining(), Some(size - content.len() as u64));
            }
            Ok(None) => return (content, Ok(())),
            Err(error) => {
                assert!(stream.next().await.is_err(), "an error is final");
                return (content, Err(error));
            }
        }
    }
}

fn open(store: &Store, what: FileDownload, max_in_flight_bytes: u64) -> ContentStream {
    let options = Options {
        max_in_flight_bytes,
        ..options()
    };
    stream(cas_with(store, options), what, DownloadOptions::default())
}

#[tokio::test]
async fn the_content_comes_in_order() {
    let store = Store::start().await;
    let content = mixture(21, 9_000_000);
    let file = store.add(&content, 13);
    for budget in [1, 6 << 20, 128 << 20] {
        let (found, outcome) = drain(open(&store, whole(file), budget)).await;
        outcome.unwrap();
        assert_eq!(found, content);
    }
}

#[tokio::test]
async fn ranges_and_the_empty_file() {
    let store = Store::start().await;
    let content = mixture(22, 3_000_000);
    let file = store.add(&content, 6);
    for range in [
        0..1,
        1..3,
        70_000..2_999_999,
        2_999_999..3_000_000,
        1_000_000..8_000_000,
    ] {
        let what = FileDownload {
            range: Some(range.clone()),
            ..whole(file)
        };
        let stream = open(&store, what, 128 << 20);
        assert!(!stream.is_verified());
        let (found, outcome) = drain(stream).await;
        outcome.unwrap();
        assert_eq!(
            found,
            &content[range.start as usize..(range.end as usize).min(content.len())]
        );
    }
    let (found, outcome) = drain(open(&store, whole(Hash::ZERO), 128 << 20)).await;
    outcome.unwrap();
    assert_eq!(found, b"");
}

#[tokio::test]
async fn terms_that_share_a_range_read_their_own_part() {
    let store = Store::start().await;
    let content = noise(23, 4_000_000);
    let chunks: Vec<&[u8]> = chunker::chunks(&content).collect();
    let (xorb, count) = store.add_xorb(&chunks);
    let (other, _) = store.add_xorb(&chunks[..2]);
    let terms = [
        store.term(xorb, 0..20),
        store.term(other, 0..2),
        store.term(xorb, 20..count),
        store.term(xorb, 20..22),
        store.term(xorb, 1..2),
    ];
    let file = store.add_file(&terms);
    let (found, outcome) = drain(open(&store, whole(file), 128 << 20)).await;
    outcome.unwrap();
    assert_eq!(
        found,
        [
            &chunks[..20],
            &chunks[..2],
            &chunks[20..],
            &chunks[20..22],
            &chunks[1..2]
        ]
        .concat()
        .concat()
    );
}

#[tokio::test]
async fn the_last_piece_is_held_until_the_hash_agrees() {
    let store = Store::start().await;
    let content = noise(24, 3_000_000);
    let file = store.add(&content, 10);
    store.fault(|seen, _| {
        if seen.path.starts_with("/data") {
            Fault::Flip(100)
        } else {
            Fault::None
        }
    });
    let (found, outcome) = drain(open(&store, whole(file), 128 << 20)).await;
    assert!(matches!(outcome, Err(Error::Integrity { .. })), "{outcome:?}");
    assert!(found.len() < content.len());
}

#[tokio::test]
async fn cuts_do_not_show() {
    let store = Store::start().await;
    let content = mixture(25, 5_000_000);
    let file = store.add(&content, 20);
    store.fault(|seen, before| match before {
        0..3 if seen.path.starts_with("/data") => Fault::Cut(300_001),
        _ => Fault::None,
    });
    let (found, outcome) = drain(open(&store, whole(file), 128 << 20)).await;
    outcome.unwrap();
    assert_eq!(found, content);
}

#[tokio::test]
async fn read_ahead_stops_at_the_budget_and_with_the_stream() {
    let store = Store::start().await;
    let content = noise(26, 40_000_000);
    let file = store.add(&content, 64);
    let mut stream = open(&store, whole(file), 16 << 20);
    let mut first = stream.next().await.unwrap().unwrap().to_vec();
    // Nobody reads on: what is fetched stays inside the budget, of which 4 MiB are for each reader.
    for _ in 0..200 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert!(store.served() < 24 << 20, "{}", store.served());
    while let Some(piece) = stream.next().await.unwrap() {
        first.extend_from_slice(&piece);
    }
    assert_eq!(first, content);
    drop(stream);
    let _ = cas(&store);
}

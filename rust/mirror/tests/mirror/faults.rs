//! A network and an upstream that fail, and recover.

use std::sync::atomic::Ordering;

use crate::content::Xorb;
use crate::upstream::{SIGNATURE, TOKEN, What};
use crate::world::{PIECE_BYTES, World, within};
use xetway_mirror::{Error, Limits};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_stalls_and_errors_go_unnoticed() {
    let a = Xorb::new(11, 60);
    for what in [
        What::Cut(100_000),
        What::Stall(200_000),
        What::Status(500),
        What::Status(503),
    ] {
        let (world, file) = World::with(&[&a]).await;
        world.upstream.fault(what, 2);
        assert!(world.download(&file, &[], "session").await.unwrap() == *file.content);
        // What had come is not asked for again; what was on its way may be lost.
        assert!(world.upstream.sent() < a.len() + 200_000, "{}", world.upstream.sent());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_addresses_are_renewed_once_for_all() {
    let xorbs: Vec<Xorb> = (20..26).map(|seed| Xorb::new(seed, 12)).collect();
    let xorbs: Vec<&Xorb> = xorbs.iter().collect();
    let (world, file) = World::with(&xorbs).await;
    let planned = world.plan(&file, None).await.unwrap().unwrap();
    let before = world.upstream.planned();
    world.upstream.expire();
    let stored = world.fetch_planned(&file, &planned, "expired").await.unwrap();
    assert!(crate::world::assemble(&planned, &stored, file.size()) == *file.content);
    assert_eq!(world.upstream.planned() - before, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_that_stays_is_told_without_secrets() {
    let a = Xorb::new(12, 20);
    for (what, code) in [
        (What::Status(500), "upstream_status"),
        (What::Status(403), "upstream_status"),
        (What::Cut(1000), "connection_cut"),
    ] {
        let (world, file) = World::with(&[&a]).await;
        world.upstream.fault(what, u32::MAX);
        let error = world.download(&file, &[], "session").await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        let told = format!("{error} {error:?}");
        assert!(!told.contains(TOKEN) && !told.contains(SIGNATURE), "{told}");
        assert!(world.read(&file).await.is_err());
        world.upstream.heal();
        assert!(world.download(&file, &[], "session").await.unwrap() == *file.content);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_the_upstream_does_not_have() {
    let a = Xorb::new(13, 5);
    let (world, _) = World::with(&[&a]).await;
    let unknown = crate::content::File::new(&[(&a, 0..2)]);
    let error = world.plan(&unknown, None).await.unwrap_err();
    assert!(
        matches!(error, Error::Client(xetway_client::Error::Status { status: 404, .. })),
        "{error}"
    );
    assert!(world.mirror.known(&unknown.hash).unwrap().is_none());
    // It may come later.
    world.upstream.add_file(&unknown);
    assert!(world.read(&unknown).await.unwrap() == *unknown.content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_do_not_decode_are_shown_to_nobody() {
    let a = Xorb::new(14, 60);
    let (world, file) = World::with(&[&a]).await;
    // The version byte of a header in the middle.
    let header = a.stored(30..31).start;
    world.upstream.fault(What::Flip(header), 2);
    assert!(world.download(&file, &[], "session").await.unwrap() == *file.content);
    assert_eq!(world.mirror.stats().integrity_failures, 0);

    let (world, file) = World::with(&[&a]).await;
    world.upstream.fault(What::Flip(header), u32::MAX);
    let error = world.read(&file).await.unwrap_err();
    assert!(
        ["upstream_integrity", "chunk_version"].contains(&error.code()),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_without_room_says_so() {
    let (a, b) = (Xorb::new(15, 60), Xorb::new(16, 60));
    let world = World::with_limits(Limits {
        max_bytes: Some(300_000),
        min_free_bytes: 0,
    })
    .await;
    let file = crate::content::File::whole(&[&a, &b]);
    world.add(&[&a, &b], &[&file]);
    let error = world.download(&file, &[], "session").await.unwrap_err();
    assert_eq!(error.code(), "storage_full", "{error}");
    assert!(world.read(&file).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_smaller_than_a_file_still_serves_it() {
    let xorbs: Vec<Xorb> = (30..38).map(|seed| Xorb::new(seed, 30)).collect();
    let xorbs: Vec<&Xorb> = xorbs.iter().collect();
    let world = World::with_limits(Limits {
        max_bytes: Some(3_000_000),
        min_free_bytes: 0,
    })
    .await;
    let file = crate::content::File::whole(&xorbs);
    world.add(&xorbs, &[&file]);
    assert!(file.size() > 3_500_000);
    assert!(world.read(&file).await.unwrap() == *file.content);
    assert!(world.mirror.known(&file.hash).unwrap().unwrap().proven);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_that_nobody_waits_for_ends() {
    let a = Xorb::large(17);
    let (world, file) = World::with(&[&a]).await;
    let permits = std::sync::Arc::new(tokio::sync::Semaphore::new(2));
    world
        .upstream
        .fault(What::Paced(std::sync::Arc::clone(&permits)), u32::MAX);
    let credentials = Some(world.upstream.credentials());
    let mut stream = world
        .mirror
        .open_file(file.hash, file.size(), 0..file.size(), credentials)
        .await
        .unwrap();
    let reading = tokio::spawn(async move { stream.next(PIECE_BYTES).await.map(drop) });
    within(async {
        while world.upstream.xorb_requests.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    reading.abort();
    within(async {
        while world.mirror.stats().abandoned_fetches == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    permits.add_permits(10_000);
    assert!(world.read(&file).await.unwrap() == *file.content);
}

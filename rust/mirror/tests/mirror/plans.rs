//! Plans: asked for once, made here once the chunks are known, always those of the file.

use std::sync::Arc;

use futures_util::future::join_all;
use xetway_core::Hash;
use xetway_core::plan::plan;

use crate::content::{File, Random, Xorb};
use crate::world::{World, assemble, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_chunks_need_no_upstream() {
    let (a, b) = (Xorb::new(71, 40), Xorb::new(72, 30));
    let world = World::new().await;
    let file = File::new(&[(&a, 3..30), (&b, 0..30), (&a, 25..40), (&a, 0..3)]);
    world.add(&[&a, &b], &[&file]);
    assert!(world.read(&file).await.unwrap() == *file.content);
    let asked = world.upstream.planned();
    let mut random = Random(5);
    for _ in 0..60 {
        let start = random.next() % file.size();
        let end = (start + 1 + random.next() % 400_000).min(file.size());
        let planned = world.plan(&file, Some(start..end)).await.unwrap().unwrap();
        let lookup = |xorb: &xetway_core::Hash| {
            let meta = if *xorb == a.hash { &a.meta } else { &b.meta };
            Ok::<_, xetway_core::Error>(Arc::clone(meta))
        };
        let expected = plan(&file.terms, start, end, lookup).unwrap();
        assert_eq!(planned.size, file.size());
        assert_eq!(planned.offset_into_first, expected.offset_into_first, "{start}..{end}");
        assert_eq!(planned.terms, expected.terms, "{start}..{end}");
        assert_eq!(planned.fetches, expected.fetches, "{start}..{end}");
        let bytes = world.fetch(&file, start..end, "session").await.unwrap();
        assert!(bytes == file.content[start as usize..end as usize]);
    }
    assert_eq!(world.upstream.planned(), asked);
    assert!(world.mirror.stats().local_plans >= 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cold_clients_that_ask_the_same_cost_few_questions() {
    let a = Xorb::new(73, 60);
    let (world, file) = World::with(&[&a]).await;
    let plans = (0..32).map(|_| world.plan(&file, Some(0..300_001)));
    let plans: Vec<_> = within(join_all(plans))
        .await
        .into_iter()
        .map(|plan| plan.unwrap().unwrap())
        .collect();
    assert!(plans.iter().all(|plan| *plan == plans[0]));
    assert!(world.upstream.planned() <= 3, "{}", world.upstream.planned());
    assert_eq!(world.upstream.sent(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_at_and_past_the_end() {
    let a = Xorb::new(74, 20);
    let (world, file) = World::with(&[&a]).await;
    let size = file.size();
    for warm in [false, true] {
        if warm {
            world.read(&file).await.unwrap();
        }
        assert!(world.plan(&file, Some(size..size + 10)).await.unwrap().is_none());
        assert!(world.plan(&file, Some(size + 5..u64::MAX)).await.unwrap().is_none());
        // Old clients ask past the end.
        let planned = world.plan(&file, Some(size - 10..size + 1000)).await.unwrap().unwrap();
        let stored = world.fetch_planned(&file, &planned, "old").await.unwrap();
        assert!(assemble(&planned, &stored, 10) == file.content[size as usize - 10..]);
        let planned = world.plan(&file, Some(0..u64::MAX)).await.unwrap().unwrap();
        assert_eq!(planned.size, size);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_that_are_known_but_evicted_are_planned_here_and_fetched_again() {
    let a = Xorb::new(75, 40);
    let (world, file) = World::with(&[&a]).await;
    assert!(world.read(&file).await.unwrap() == *file.content);
    let world = world.reopen().await;
    world
        .mirror
        .cache()
        .xorb(&a.hash)
        .unwrap()
        .drop_data(0..a.len())
        .unwrap();
    let (asked, sent) = (world.upstream.planned(), world.upstream.sent());
    let planned = world.plan(&file, Some(200_000..300_000)).await.unwrap().unwrap();
    assert_eq!(world.upstream.planned(), asked);
    let stored = world.fetch_planned(&file, &planned, "again").await.unwrap();
    assert!(assemble(&planned, &stored, 100_000) == file.content[200_000..300_000]);
    // For the addresses it had to ask, once; and fetched what was wanted.
    assert_eq!(world.upstream.planned(), asked + 1);
    let range = &planned.fetches[0].ranges[0];
    assert!(world.upstream.sent() - sent <= a.len());
    assert!(world.upstream.sent() - sent >= range.byte_end - range.byte_start);
    assert!(world.mirror.known(&file.hash).unwrap().unwrap().proven);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_xorb_that_is_not_of_the_file_has_to_be_planned() {
    let (a, b) = (Xorb::new(76, 10), Xorb::new(77, 10));
    let (world, file) = World::with(&[&a]).await;
    world.upstream.add_xorb(&b);
    let planned = world.plan(&file, None).await.unwrap().unwrap();
    let opened = world
        .mirror
        .open_xorb(file.hash, planned.generation, b.hash, 0..b.len(), None)
        .await;
    let outcome = match opened {
        Ok(stream) => crate::world::drain(stream).await.map(drop),
        Err(error) => Err(error),
    };
    assert!(outcome.is_err());
    assert_eq!(world.upstream.sent(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_size_that_is_not_the_file_s() {
    let a = Xorb::new(78, 20);
    let (world, file) = World::with(&[&a]).await;
    let refused = async |said: u64| {
        let credentials = || Some(world.upstream.credentials());
        for hash in [file.hash, Hash::ZERO] {
            let opened = world.mirror.open_file(hash, said, 0..said, credentials()).await;
            assert_eq!(opened.unwrap_err().code(), "upstream_integrity");
            let planned = world.mirror.plan(hash, Some(said), Some(0..said), credentials()).await;
            assert_eq!(planned.unwrap_err().code(), "upstream_integrity");
            let held = world.mirror.prefetch(hash, said, credentials(), |_, _| {}).await;
            assert_eq!(held.unwrap_err().code(), "upstream_integrity");
        }
    };
    refused(file.size() - 1).await;
    refused(file.size() + 1).await;
    assert_eq!(world.upstream.sent(), 0);
    assert!(world.read(&file).await.unwrap() == *file.content);
    let asked = world.upstream.planned();
    refused(file.size() - 1).await;
    assert_eq!(world.upstream.planned(), asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_of_another_size_is_asked_for_again() {
    let (a, b) = (Xorb::new(79, 20), Xorb::new(80, 20));
    let (world, file) = World::with(&[&a, &b]).await;
    world.upstream.claim(file.hash, &file.terms[..1]);
    assert_eq!(world.read(&file).await.unwrap_err().code(), "upstream_integrity");
    assert_eq!(world.upstream.planned(), 1);
    assert_eq!(world.read(&file).await.unwrap_err().code(), "upstream_integrity");
    assert_eq!(world.upstream.planned(), 2);
    world.upstream.add_file(&file);
    assert!(world.read(&file).await.unwrap() == *file.content);
}

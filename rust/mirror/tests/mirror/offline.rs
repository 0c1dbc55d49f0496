//! Without credentials only what is held is given, and the upstream hears nothing.

use xetway_mirror::Mirror;

use crate::content::{File, Xorb};
use crate::world::{World, drain, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_known_at_first() {
    let a = Xorb::new(61, 20);
    let (world, file) = World::with(&[&a]).await;
    assert_eq!(
        world.mirror.plan(file.hash, None, None, None).await.unwrap_err().code(),
        "not_cached"
    );
    let opened = world
        .mirror
        .open_file(file.hash, file.size(), 0..file.size(), None)
        .await;
    assert_eq!(opened.unwrap_err().code(), "not_cached");
    let fetched = world.mirror.prefetch(file.hash, file.size(), None, |_, _| {}).await;
    assert_eq!(fetched.unwrap_err().code(), "not_cached");
    let opened = world.mirror.open_xorb(file.hash, 1, a.hash, 0..a.len(), None).await;
    assert_eq!(opened.unwrap_err().code(), "plan_lost");
    assert!(world.mirror.known(&file.hash).unwrap().is_none());
    assert_eq!(world.upstream.planned(), 0);
}

/// Read without credentials; `None` if it is not cached, which must be known before the first byte.
async fn read(mirror: &Mirror, file: &File, range: std::ops::Range<u64>) -> Option<Vec<u8>> {
    match mirror.open_file(file.hash, file.size(), range, None).await {
        Ok(stream) => Some(drain(stream).await.unwrap()),
        Err(error) => {
            assert_eq!(error.code(), "not_cached", "{error}");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_is_given_and_the_rest_is_not_asked_for() {
    let a = Xorb::new(62, 40);
    let (world, file) = World::with(&[&a]).await;
    let part = 100_000..200_000;
    assert!(world.read_range(&file, part.clone()).await.is_ok());
    let (sent, planned) = (world.upstream.sent(), world.upstream.planned());
    // Credentials that others brought do not count.
    for world in [world] {
        let held = read(&world.mirror, &file, part.clone()).await;
        assert!(held.is_none_or(|held| held == file.content[100_000..200_000]));
        assert!(read(&world.mirror, &file, 0..file.size()).await.is_none());
        assert_eq!(
            world.mirror.plan(file.hash, None, None, None).await.unwrap_err().code(),
            "not_cached"
        );
        assert!(
            world
                .mirror
                .prefetch(file.hash, file.size(), None, |_, _| {})
                .await
                .is_err()
        );
        assert_eq!((world.upstream.sent(), world.upstream.planned()), (sent, planned));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_is_proven_is_served_by_a_server_without_upstream() {
    let (a, b) = (Xorb::new(63, 40), Xorb::new(64, 20));
    let (world, file) = World::with(&[&a, &b]).await;
    let prefetch = world
        .mirror
        .prefetch(file.hash, file.size(), Some(world.upstream.credentials()), |_, _| {});
    within(prefetch).await.unwrap();
    let world = world.reopen().await;
    let planned = world.upstream.planned();
    assert!(read(&world.mirror, &file, 0..file.size()).await.unwrap() == *file.content);
    assert!(read(&world.mirror, &file, 7..70_000).await.unwrap() == file.content[7..70_000]);
    let plan = world.mirror.plan(file.hash, None, None, None).await.unwrap().unwrap();
    let stored = world.fetch_planned(&file, &plan, "offline").await.unwrap();
    assert!(crate::world::assemble(&plan, &stored, file.size()) == *file.content);
    within(world.mirror.prefetch(file.hash, file.size(), None, |_, _| {}))
        .await
        .unwrap();
    assert_eq!(world.upstream.planned(), planned);
    // The data is dropped, the tables stay: not cached, and said so.
    world
        .mirror
        .cache()
        .xorb(&b.hash)
        .unwrap()
        .drop_data(0..b.len())
        .unwrap();
    assert!(read(&world.mirror, &file, 0..file.size()).await.is_none());
    assert!(read(&world.mirror, &file, 0..1000).await.is_some());
    assert_eq!(
        world.mirror.plan(file.hash, None, None, None).await.unwrap_err().code(),
        "not_cached"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_outside_a_file() {
    let a = Xorb::new(65, 10);
    let (world, file) = World::with(&[&a]).await;
    let size = file.size();
    let opened = world
        .mirror
        .open_file(file.hash, size, size + 1..size + 2, Some(world.upstream.credentials()))
        .await;
    assert_eq!(opened.unwrap_err().code(), "range_outside");
    let opened = world
        .mirror
        .open_file(file.hash, size, 0..size + 1, Some(world.upstream.credentials()))
        .await;
    assert_eq!(opened.unwrap_err().code(), "range_outside");
}

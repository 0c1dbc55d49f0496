//! The server ends and begins again in the middle of transfers.

use crate::content::{File, Xorb};
use crate::upstream::What;
use crate::world::World;

async fn two() -> (World, Xorb, File, u64) {
    let (a, b) = (Xorb::new(51, 40), Xorb::new(52, 30));
    let (world, file) = World::with(&[&a, &b]).await;
    let edge = u64::from(file.terms[0].unpacked_bytes);
    (world, a, file, edge)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_saw_wrong_bytes_before_can_not_end_well_after() {
    let (world, a, file, edge) = two().await;
    world.upstream.fault(What::Flip(a.inside(7)), 1);
    let mut content = world.fetch(&file, 0..edge, "victim").await.unwrap();
    let world = world.reopen().await;
    // Whether the victim or somebody else finds out: the victim must not go on.
    for finder in ["somebody", "victim", "somebody else"] {
        let _ = world.download(&file, &[edge], finder).await;
    }
    if let Ok(rest) = world.fetch(&file, edge..file.size(), "victim").await {
        content.extend(rest);
        assert!(content == *file.content, "ended well with wrong bytes");
    }
    assert!(world.download(&file, &[edge], "new").await.unwrap() == *file.content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_refused_before_is_refused_after() {
    let (world, a, file, edge) = two().await;
    world.upstream.fault(What::Flip(a.inside(7)), 1);
    let mut content = world.fetch(&file, 0..edge, "victim").await.unwrap();
    assert!(world.download(&file, &[edge], "finder").await.is_err());
    let world = world.reopen().await;
    if let Ok(rest) = world.fetch(&file, edge..file.size(), "victim").await {
        content.extend(rest);
        assert!(content == *file.content, "ended well with wrong bytes");
    }
    assert!(world.download(&file, &[edge], "new").await.unwrap() == *file.content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_of_before_work_or_are_planned_again() {
    let (world, a, file, _) = two().await;
    let planned = world.plan(&file, None).await.unwrap().unwrap();
    let world = world.reopen().await;
    let session = Some("session".to_owned());
    let opened = world
        .mirror
        .open_xorb(file.hash, planned.generation, a.hash, 0..a.len(), session)
        .await;
    if let Err(error) = opened {
        assert_eq!(error.code(), "plan_lost", "{error}");
    }
    assert!(world.download(&file, &[], "session").await.unwrap() == *file.content);
}

//! What was shown or planned and is not there any more, or is another thing now.

use xetway_mirror::Limits;

use crate::content::{File, Xorb};
use crate::upstream::What;
use crate::world::{World, never_wrong, recovered};

async fn two() -> (World, Xorb, Xorb, File) {
    let (a, b) = (Xorb::new(41, 40), Xorb::new(42, 30));
    let (world, file) = World::with(&[&a, &b]).await;
    (world, a, b, file)
}

/// Where the second xorb's content begins.
fn edge(file: &File) -> u64 {
    u64::from(file.terms[0].unpacked_bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_comes_back_different_is_noticed() {
    for (flip_first, times) in [(true, 1), (false, 1), (false, u32::MAX)] {
        let (world, a, _, file) = two().await;
        if flip_first {
            world.upstream.fault(What::Flip(a.inside(7)), times);
        }
        let mut content = world.fetch(&file, 0..edge(&file), "victim").await.unwrap();
        world
            .mirror
            .cache()
            .xorb(&a.hash)
            .unwrap()
            .drop_data(0..a.len())
            .unwrap();
        if !flip_first {
            world.upstream.fault(What::Flip(a.inside(7)), times);
        }
        let again = world.fetch(&file, 0..edge(&file), "other").await;
        let rest = world.fetch(&file, edge(&file)..file.size(), "victim").await;
        if let Ok(rest) = rest {
            content.extend(rest);
            assert!(content == *file.content, "the victim ended well with wrong bytes");
        }
        if let Ok(mut again) = again
            && let Ok(rest) = world.fetch(&file, edge(&file)..file.size(), "other").await
        {
            again.extend(rest);
            assert!(again == *file.content, "the other ended well with wrong bytes");
        }
        world.upstream.heal();
        assert!(recovered(async || world.download(&file, &[], "new").await).await == *file.content);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_shown_and_forgotten_can_not_be_vouched_for() {
    let (world, a, _, file) = two().await;
    let other = || xetway_cache::Cache::open(world.path(), Limits::default()).unwrap();
    world.upstream.fault(What::Flip(a.inside(7)), 1);
    let mut content = world.fetch(&file, 0..edge(&file), "victim").await.unwrap();
    // Another process deletes all, chunk tables too.
    other().prune(0).unwrap();
    if let Ok(rest) = world.fetch(&file, edge(&file)..file.size(), "victim").await {
        content.extend(rest);
        assert!(content == *file.content, "ended well with wrong bytes");
    }
    let new = world.download(&file, &[], "new").await;
    assert!(new.unwrap() == *file.content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_proven_long_ago_is_proven_anew_if_its_tables_are_gone() {
    let (world, a, _, file) = two().await;
    assert!(world.read(&file).await.unwrap() == *file.content);
    let other = xetway_cache::Cache::open(world.path(), Limits::default()).unwrap();
    other.prune(0).unwrap();
    world.upstream.fault(What::Flip(a.inside(7)), u32::MAX);
    never_wrong(&world.download(&file, &[edge(&file)], "one").await, &file.content);
    never_wrong(&world.read(&file).await, &file.content);
    world.upstream.heal();
    assert!(recovered(async || world.download(&file, &[edge(&file)], "two").await).await == *file.content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_for_a_range_that_does_not_fit_the_file_is_not_passed_on() {
    for lie in [-8, 8, 8000] {
        let (world, _, _, file) = two().await;
        world.upstream.lie_about_offsets(lie);
        let edges = [100_003, 300_017, edge(&file) + 5000];
        let outcome = world.download(&file, &edges, "session").await;
        never_wrong(&outcome, &file.content);
        if let Ok(bytes) = world.read_range(&file, 100_003..200_000).await {
            assert!(bytes.len() == 99_997);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_layout_of_the_same_file() {
    let (world, a, b, file) = two().await;
    // The same chunks, elsewhere.
    let chunks: Vec<Vec<u8>> = [vec![vec![7; 9000]], a.chunks.to_vec(), b.chunks.to_vec()].concat();
    let c = Xorb::of(chunks, xetway_core::codec::Scheme::None);
    let moved = File::new(&[(&c, 1..71)]);
    assert_eq!(moved.hash, file.hash);
    world.upstream.fault(What::Flip(a.inside(7)), 1);
    let mut content = world.fetch(&file, 0..edge(&file), "victim").await.unwrap();
    world.add(&[&c], &[&moved]);
    world.upstream.expire();
    for _ in 0..2 {
        if let Ok(rest) = world.fetch(&file, edge(&file)..file.size(), "victim").await {
            content.extend(rest);
            assert!(content == *file.content, "ended well with wrong bytes");
            break;
        }
    }
    assert!(world.download(&file, &[edge(&file)], "new").await.unwrap() == *file.content);
    assert!(world.read(&file).await.unwrap() == *file.content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_proven_when_it_began_and_is_lost_in_the_middle() {
    let (world, _, b, file) = two().await;
    assert!(world.read(&file).await.unwrap() == *file.content);
    let mut content = world.fetch(&file, 0..edge(&file), "session").await.unwrap();
    let other = xetway_cache::Cache::open(world.path(), Limits::default()).unwrap();
    other.prune(0).unwrap();
    world.upstream.fault(What::Flip(b.inside(7)), 1);
    if let Ok(rest) = world.fetch(&file, edge(&file)..file.size(), "session").await {
        content.extend(rest);
        assert!(content == *file.content, "ended well with wrong bytes");
    }
    assert!(world.download(&file, &[edge(&file)], "new").await.unwrap() == *file.content);
}

//! Wrong bytes: nobody ends well with them, those who saw some can't go on, and all is well afterwards.

use std::sync::Arc;

use tokio::sync::Semaphore;
use xetway_core::Hash;
use xetway_mirror::Error;

use crate::content::{File, Xorb};
use crate::upstream::What;
use crate::world::{PIECE_BYTES, World, assemble, drain, never_wrong, recovered, within};

const REFUSED: [&str; 2] = ["mirror_content_changed", "upstream_integrity"];

fn is_refused<T>(outcome: &Result<T, Error>) -> bool {
    outcome.as_ref().is_err_and(|error| REFUSED.contains(&error.code()))
}

fn is_changed<T>(outcome: &Result<T, Error>) -> bool {
    outcome
        .as_ref()
        .is_err_and(|error| error.code() == "mirror_content_changed")
}

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
async fn a_flipped_byte_breaks_the_download_and_a_later_one_is_right() {
    let a = Xorb::new(40, 50);
    for flipped in [0, 25, 49] {
        let (world, file) = World::with(&[&a]).await;
        world.upstream.fault(What::Flip(a.inside(flipped)), u32::MAX);
        for session in ["one", "two"] {
            let outcome = world.download(&file, &[], session).await;
            assert!(is_refused(&outcome), "{:?}", outcome.err());
        }
        assert!(is_refused(&world.read(&file).await));
        assert!(world.mirror.stats().integrity_failures > 0);
        world.upstream.heal();
        assert!(recovered(async || world.download(&file, &[], "three").await).await == *file.content);
        assert!(world.read(&file).await.unwrap() == *file.content);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decoded_content_breaks_off_and_must_begin_anew() {
    let a = Xorb::large(45);
    let (world, file) = World::with(&[&a]).await;
    world.upstream.fault(What::Flip(a.inside(5)), 1);
    let credentials = Some(world.upstream.credentials());
    let mut stream = world
        .mirror
        .open_file(file.hash, file.size(), 0..file.size(), credentials)
        .await
        .unwrap();
    let mut shown = Vec::new();
    let error = within(async {
        loop {
            match stream.next(PIECE_BYTES).await {
                Ok(Some(piece)) => shown.extend_from_slice(&piece),
                Ok(None) => panic!("ended well with {} bytes", shown.len()),
                Err(error) => return error,
            }
        }
    })
    .await;
    assert!(REFUSED.contains(&error.code()), "{error}");
    assert!(!shown.is_empty() && shown.len() < file.content.len());
    // Going on where it broke off would add right bytes to wrong ones.
    assert!(is_changed(
        &world.read_range(&file, shown.len() as u64..file.size()).await
    ));
    assert!(world.read(&file).await.unwrap() == *file.content);
    assert!(is_changed(&world.read_range(&file, 1..file.size()).await));
    // A client with a session is not concerned.
    assert!(world.download(&file, &[], "new").await.unwrap() == *file.content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn range_by_range_the_last_one_tells() {
    let (world, a, b, file) = two().await;
    world.upstream.fault(What::Flip(a.inside(7)), 1);
    let first = world.fetch(&file, 0..edge(&file), "victim").await.unwrap();
    assert!(
        first != file.content[..edge(&file) as usize],
        "unproven bytes are shown as they come"
    );
    let old = world.plan(&file, None).await.unwrap().unwrap();
    assert!(is_refused(
        &world.fetch(&file, edge(&file)..file.size(), "victim").await
    ));
    // From now on: not this session, not with addresses of that time.
    assert!(is_changed(
        &world.fetch(&file, edge(&file)..file.size(), "victim").await
    ));
    assert!(is_changed(&world.fetch(&file, 0..edge(&file), "victim").await));
    let other = Some("other".to_owned());
    let outcome = world
        .mirror
        .open_xorb(file.hash, old.generation, b.hash, 0..b.len(), other)
        .await;
    assert!(is_changed(&outcome), "{outcome:?}");
    assert!(world.download(&file, &[edge(&file)], "other").await.unwrap() == *file.content);
    assert!(is_changed(&world.download(&file, &[], "victim").await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_client_finds_wrong_stops_the_others() {
    let (world, a, b, file) = two().await;
    world.upstream.fault(What::Flip(a.inside(7)), 1);
    world.fetch(&file, 0..edge(&file), "victim").await.unwrap();
    let planned = world.plan(&file, None).await.unwrap().unwrap();
    let session = Some("in the middle".to_owned());
    let mut reading = world
        .mirror
        .open_xorb(file.hash, planned.generation, a.hash, 0..a.len(), session)
        .await
        .unwrap();
    assert!(within(reading.next(PIECE_BYTES)).await.unwrap().is_some());
    assert!(is_refused(&world.download(&file, &[], "finder").await));
    assert!(is_changed(&drain(reading).await));
    assert!(is_changed(
        &world.fetch(&file, edge(&file)..file.size(), "victim").await
    ));
    let old = world
        .mirror
        .open_xorb(file.hash, planned.generation, b.hash, 0..b.len(), None)
        .await;
    assert!(is_changed(&old));
    assert!(world.download(&file, &[], "new").await.unwrap() == *file.content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_ranges_that_finish_at_once_do_not_both_end_well() {
    for seed in 0..12 {
        let (a, b) = (Xorb::new(500 + seed, 9), Xorb::new(600 + seed, 9));
        let (world, file) = World::with(&[&a, &b]).await;
        world.upstream.fault(What::Flip(a.inside(2)), 1);
        let planned = world.plan(&file, None).await.unwrap().unwrap();
        let open = |xorb: &Xorb| {
            let (mirror, hash, bytes) = (world.mirror.clone(), xorb.hash, 0..xorb.len());
            let (file, generation) = (file.hash, planned.generation);
            tokio::spawn(async move {
                drain(
                    mirror
                        .open_xorb(file, generation, hash, bytes, Some("one".to_owned()))
                        .await?,
                )
                .await
            })
        };
        let (one, two) = (open(&a), open(&b));
        let (one, two) = within(async { (one.await.unwrap(), two.await.unwrap()) }).await;
        if let (Ok(one), Ok(two)) = (&one, &two) {
            assert!(*one == *a.data && *two == *b.data, "both ended well and one is wrong");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_bytes_that_nobody_saw_are_fetched_again_silently() {
    let (world, a, b, file) = two().await;
    let before = world.plan(&file, None).await.unwrap().unwrap();
    world.upstream.fault(What::Flip(a.inside(7)), 1);
    let prefetch = world
        .mirror
        .prefetch(file.hash, file.size(), Some(world.upstream.credentials()), |_, _| {});
    within(prefetch).await.unwrap();
    assert_eq!(world.mirror.stats().integrity_failures, 1);
    // Whoever planned before may go on.
    let stored = world.fetch_planned(&file, &before, "early").await.unwrap();
    assert!(assemble(&before, &stored, file.size()) == *file.content);
    assert!(world.read(&file).await.unwrap() == *file.content);
    assert!(world.upstream.sent() <= 2 * (a.len() + b.len()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_stays_wrong_is_given_up_on() {
    let (world, a, b, file) = two().await;
    world.upstream.fault(What::Flip(a.inside(7)), u32::MAX);
    let prefetch = world
        .mirror
        .prefetch(file.hash, file.size(), Some(world.upstream.credentials()), |_, _| {});
    let error = within(prefetch).await.unwrap_err();
    assert_eq!(error.code(), "upstream_integrity", "{error}");
    assert!(world.upstream.sent() <= 4 * (a.len() + b.len()));
    assert!(
        !world
            .mirror
            .known(&file.hash)
            .unwrap()
            .is_some_and(|known| known.proven)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_wrong_bytes_nothing_is_shown_before_all_is_proven() {
    let (world, a, b, file) = two().await;
    world.upstream.fault(What::Flip(a.inside(7)), 1);
    world.fetch(&file, 0..edge(&file), "victim").await.unwrap();
    assert!(is_refused(
        &world.fetch(&file, edge(&file)..file.size(), "victim").await
    ));
    // Now the second xorb comes drop by drop: of the first, nothing may be shown without it.
    let permits = Arc::new(Semaphore::new(0));
    world.upstream.fault(What::Paced(Arc::clone(&permits)), u32::MAX);
    let planned = world.plan(&file, None).await.unwrap().unwrap();
    let (mirror, hash, generation) = (world.mirror.clone(), file.hash, planned.generation);
    let (xorb, bytes) = (a.hash, 0..a.len());
    let reading = tokio::spawn(async move {
        let mut stream = mirror
            .open_xorb(hash, generation, xorb, bytes, Some("new".to_owned()))
            .await?;
        let piece = stream.next(PIECE_BYTES).await?;
        Ok::<_, Error>((piece.is_some(), mirror.known(&hash).unwrap().unwrap().proven))
    });
    let enough = (a.len() + b.len()) as usize / (16 << 10) + 100;
    permits.add_permits(enough);
    permits.add_permits(enough);
    let (has_piece, was_proven) = within(reading).await.unwrap().unwrap();
    assert!(has_piece && was_proven);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proven_chunks_in_a_wrong_order_are_a_wrong_file() {
    let a = Xorb::new(43, 40);
    let world = World::new().await;
    let whole = File::whole(&[&a]);
    let halves = File::new(&[(&a, 0..20), (&a, 20..40)]);
    let (right, swapped) = (
        File::new(&[(&a, 5..15), (&a, 20..30)]),
        File::new(&[(&a, 20..30), (&a, 5..15)]),
    );
    world.add(&[&a], &[&whole, &halves]);
    world.upstream.claim(right.hash, &swapped.terms);
    assert!(world.read(&whole).await.unwrap() == *whole.content);
    for session in ["one", "two"] {
        let outcome = world.download(&right, &[], session).await;
        assert!(
            is_refused(&outcome),
            "{:?}",
            outcome.map(|bytes| bytes == *right.content)
        );
    }
    let outcome = world.read(&right).await;
    assert!(
        is_refused(&outcome),
        "{:?}",
        outcome.map(|bytes| bytes == *right.content)
    );
    world.upstream.claim(right.hash, &right.terms);
    let bytes = recovered(async || world.download(&right, &[], "three").await).await;
    assert!(bytes == *right.content);
    assert!(world.read(&right).await.unwrap() == *right.content);
    assert!(world.read(&halves).await.unwrap() == *halves.content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_file_does_not_take_others_of_the_same_xorb_with_it() {
    let a = Xorb::new(44, 40);
    let world = World::new().await;
    let (good, lie) = (File::new(&[(&a, 0..30)]), File::new(&[(&a, 10..35)]));
    world.add(&[&a], &[&good]);
    let claimed = Hash::from_bytes([9; 32]);
    world.upstream.claim(claimed, &lie.terms);
    let lie = File { hash: claimed, ..lie };
    let (outcome, wrong) = within(async { tokio::join!(world.read(&good), world.download(&lie, &[], "lie")) }).await;
    never_wrong(&outcome, &good.content);
    assert!(is_refused(&wrong));
    assert!(world.download(&good, &[100_000], "new").await.unwrap() == *good.content);
    assert!(is_refused(&world.read(&lie).await));
    assert!(world.download(&good, &[], "newer").await.unwrap() == *good.content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_proven_is_compared_when_it_is_fetched_again() {
    let (world, a, _, file) = two().await;
    assert!(world.read(&file).await.unwrap() == *file.content);
    let evict = || {
        world
            .mirror
            .cache()
            .xorb(&a.hash)
            .unwrap()
            .drop_data(0..a.len())
            .unwrap()
    };
    evict();
    world.upstream.fault(What::Flip(a.inside(7)), 1);
    assert!(world.download(&file, &[], "once").await.unwrap() == *file.content);
    evict();
    world.upstream.fault(What::Flip(a.inside(7)), u32::MAX);
    let outcome = world.download(&file, &[], "always").await;
    assert_eq!(outcome.unwrap_err().code(), "upstream_integrity");
    assert!(world.read(&file).await.is_err());
    world.upstream.heal();
    // Nothing wrong was shown: nobody is refused.
    assert!(world.download(&file, &[], "always").await.unwrap() == *file.content);
    assert!(world.read_range(&file, 5..file.size()).await.unwrap() == file.content[5..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_proven_is_said_when_a_stream_is_opened() {
    let (world, a, _, file) = two().await;
    let planned = world.plan(&file, None).await.unwrap().unwrap();
    let open = || async {
        let session = Some("session".to_owned());
        let open = world
            .mirror
            .open_xorb(file.hash, planned.generation, a.hash, 0..a.len(), session);
        open.await.unwrap()
    };
    let credentials = || Some(world.upstream.credentials());
    assert!(!open().await.proven());
    let stream = world
        .mirror
        .open_file(file.hash, file.size(), 3..edge(&file), credentials())
        .await
        .unwrap();
    assert!(!stream.proven());
    assert_eq!(drain(stream).await.unwrap().len() as u64, edge(&file) - 3);
    assert!(world.read(&file).await.unwrap() == *file.content);
    assert!(open().await.proven());
    let stream = world
        .mirror
        .open_file(file.hash, file.size(), 3..edge(&file), credentials())
        .await
        .unwrap();
    assert!(stream.proven());
    assert_eq!(world.mirror.stats().proven_files, 1);
}

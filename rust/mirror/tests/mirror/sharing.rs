//! However many read, the upstream sends each byte once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::content::{File, Random, Xorb};
use crate::upstream::What;
use crate::world::{PIECE_BYTES, World, assemble, drain, never_wrong, within};
use xetway_core::codec::Scheme;

fn two_xorbs() -> (Xorb, Xorb) {
    (Xorb::new(1, 60), Xorb::new(2, 40))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_cold_clients_cost_one_download() {
    let (a, b) = two_xorbs();
    let (world, file) = World::with(&[&a, &b]).await;
    let sessions: Vec<String> = (0..32).map(|reader| format!("session-{reader}")).collect();
    let reads = sessions.iter().enumerate().map(|(reader, session)| {
        let (world, file) = (&world, &file);
        async move {
            // Half of them read decoded content.
            match reader % 2 {
                0 => world.download(file, &[], session).await,
                _ => world.read(file).await,
            }
        }
    });
    for outcome in within(futures_util::future::join_all(reads)).await {
        assert!(outcome.unwrap() == *file.content);
    }
    assert_eq!(world.upstream.sent(), a.len() + b.len());
    let stats = world.mirror.stats();
    assert_eq!(stats.fetched_bytes, a.len() + b.len());
    assert_eq!(stats.integrity_failures, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warm_content_costs_nothing_also_after_a_restart() {
    let (a, b) = two_xorbs();
    let (world, file) = World::with(&[&a, &b]).await;
    assert!(world.download(&file, &[], "cold").await.unwrap() == *file.content);
    let sent = world.upstream.sent();
    let planned = world.upstream.planned();
    assert!(world.download(&file, &[300_000, 700_000], "warm").await.unwrap() == *file.content);
    assert!(world.read(&file).await.unwrap() == *file.content);
    let world = world.reopen().await;
    assert!(world.download(&file, &[123_456], "again").await.unwrap() == *file.content);
    assert!(world.read(&file).await.unwrap() == *file.content);
    assert_eq!(world.upstream.sent(), sent);
    assert_eq!(world.upstream.planned(), planned);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn block_by_block_each_byte_comes_once_although_ranges_overlap() {
    let (a, b) = two_xorbs();
    let (world, file) = World::with(&[&a, &b]).await;
    // Edges inside chunks: the chunk there is in two plans.
    let edges = [200_001, 400_003, 600_007, 900_011];
    assert!(world.download(&file, &edges, "blocks").await.unwrap() == *file.content);
    assert_eq!(world.upstream.sent(), a.len() + b.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_at_the_same_time_share_what_they_have_in_common() {
    let (a, b) = two_xorbs();
    let (world, file) = World::with(&[&a, &b]).await;
    let edges = [0, 200_001, 400_003, 600_007, 900_011, file.size()];
    let blocks = edges
        .windows(2)
        .map(|edge| world.fetch(&file, edge[0]..edge[1], "blocks"));
    let blocks = within(futures_util::future::join_all(blocks)).await;
    let content: Vec<u8> = blocks.into_iter().flat_map(Result::unwrap).collect();
    assert!(content == *file.content);
    // At most the chunk at each edge comes twice, when both ask before either knows where it ends.
    let twice = 4 * (24_576 + 8);
    assert!(
        world.upstream.sent() <= a.len() + b.len() + twice,
        "{}",
        world.upstream.sent()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_for_exact_ranges_are_honoured() {
    let (a, b) = two_xorbs();
    let (world, file) = World::with(&[&a, &b]).await;
    world.upstream.strict();
    let edges = [200_001, 600_007];
    assert!(world.download(&file, &edges, "strict").await.unwrap() == *file.content);
    assert!(world.read(&file).await.unwrap() == *file.content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_xorb_range_used_by_several_terms_is_fetched_once() {
    let a = Xorb::new(3, 30);
    let world = World::new().await;
    let file = File::new(&[(&a, 0..20), (&a, 5..15), (&a, 0..30), (&a, 29..30)]);
    world.add(&[&a], &[&file]);
    assert!(world.download(&file, &[], "terms").await.unwrap() == *file.content);
    assert!(world.read(&file).await.unwrap() == *file.content);
    assert_eq!(world.upstream.sent(), a.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_follow_a_download_that_is_under_way() {
    let a = Xorb::large(4);
    let (world, file) = World::with(&[&a]).await;
    let permits = Arc::new(Semaphore::new(0));
    world.upstream.fault(What::Paced(Arc::clone(&permits)), 1);
    let planned = world.plan(&file, None).await.unwrap().unwrap();
    let open = || async {
        let open = world.mirror.open_xorb(
            file.hash,
            planned.generation,
            a.hash,
            0..a.len(),
            Some("one".to_owned()),
        );
        open.await.unwrap()
    };
    let mut first = open().await;
    let mut second = open().await;
    permits.add_permits(100);
    // Both get bytes although most of the range is not there yet.
    let (one, two) = within(async { tokio::join!(first.next(PIECE_BYTES), second.next(PIECE_BYTES)) }).await;
    let (one, two) = (one.unwrap().unwrap(), two.unwrap().unwrap());
    assert!(world.upstream.sent() < a.len());
    permits.add_permits(1000);
    let (rest_one, rest_two) = tokio::join!(drain(first), drain(second));
    for (begin, rest) in [(one, rest_one.unwrap()), (two, rest_two.unwrap())] {
        assert!([begin.to_vec(), rest].concat() == *a.data);
    }
    assert_eq!(world.upstream.sent(), a.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_leaves_does_not_disturb_the_others() {
    let a = Xorb::large(5);
    let (world, file) = World::with(&[&a]).await;
    let permits = Arc::new(Semaphore::new(4));
    world.upstream.fault(What::Paced(Arc::clone(&permits)), 1);
    let credentials = || Some(world.upstream.credentials());
    let mut leaver = world
        .mirror
        .open_file(file.hash, file.size(), 0..file.size(), credentials())
        .await
        .unwrap();
    let stayer = world
        .mirror
        .open_file(file.hash, file.size(), 0..file.size(), credentials())
        .await
        .unwrap();
    {
        let gone = tokio::time::timeout(Duration::from_millis(200), leaver.next(PIECE_BYTES)).await;
        drop(gone);
    }
    drop(leaver);
    permits.add_permits(1000);
    assert!(drain(stayer).await.unwrap() == *file.content);
    assert_eq!(world.upstream.sent(), a.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_of_content_at_any_offset() {
    let (a, b) = two_xorbs();
    let (world, file) = World::with(&[&a, &b]).await;
    let mut random = Random(77);
    for _ in 0..40 {
        let start = random.next() % file.size();
        let end = (start + 1 + random.next() % 100_000).min(file.size());
        let bytes = world.read_range(&file, start..end).await.unwrap();
        assert!(bytes == file.content[start as usize..end as usize], "{start}..{end}");
    }
    // What ranges brought is not brought again.
    assert!(world.read(&file).await.unwrap() == *file.content);
    assert!(world.upstream.sent() <= a.len() + b.len() + 40 * 2 * (24_576 + 8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_that_compresses_a_thousandfold() {
    let chunks: Vec<Vec<u8>> = (0..200_u8).map(|byte| vec![byte; 131_072]).collect();
    let a = Xorb::of(chunks, Scheme::Lz4);
    assert!(a.len() < 200_000);
    let (world, file) = World::with(&[&a]).await;
    assert!(world.read(&file).await.unwrap() == *file.content);
    assert!(world.download(&file, &[1_000_000], "small").await.unwrap() == *file.content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_files_of_one_xorb() {
    let a = Xorb::new(6, 40);
    let world = World::new().await;
    let (front, back) = (File::new(&[(&a, 0..25)]), File::new(&[(&a, 15..40)]));
    world.add(&[&a], &[&front, &back]);
    let (one, two) = within(async { tokio::join!(world.read(&front), world.download(&back, &[], "back")) }).await;
    assert!(one.unwrap() == *front.content);
    assert!(two.unwrap() == *back.content);
    assert!(world.upstream.sent() <= a.len() + a.stored(15..25).end - a.stored(15..25).start);
    let known = world.mirror.known(&front.hash).unwrap().unwrap();
    assert_eq!(
        (known.size, known.held_bytes, known.proven),
        (front.size(), front.size(), true)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefetch_holds_everything_proven() {
    let (a, b) = two_xorbs();
    let (world, file) = World::with(&[&a, &b]).await;
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let progress = {
        let seen = Arc::clone(&seen);
        move |held, total| seen.lock().unwrap().push((held, total))
    };
    let work = world
        .mirror
        .prefetch(file.hash, file.size(), Some(world.upstream.credentials()), progress);
    within(work).await.unwrap();
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.last(), Some(&(file.size(), file.size())));
    assert!(seen.is_sorted());
    let known = world.mirror.known(&file.hash).unwrap().unwrap();
    assert_eq!((known.held_bytes, known.proven), (file.size(), true));
    assert_eq!(world.upstream.sent(), a.len() + b.len());
    let stream = world
        .mirror
        .open_file(file.hash, file.size(), 0..file.size(), None)
        .await
        .unwrap();
    assert!(stream.proven());
    assert!(drain(stream).await.unwrap() == *file.content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_on_disk_is_mended_in_the_middle_of_a_stream() {
    let a = Xorb::new(7, 80);
    let (world, file) = World::with(&[&a]).await;
    assert!(world.read(&file).await.unwrap() == *file.content);
    let sent = world.upstream.sent();
    let planned = world.plan(&file, None).await.unwrap().unwrap();
    let session = Some("damage".to_owned());
    let mut stream = world
        .mirror
        .open_xorb(file.hash, planned.generation, a.hash, 0..a.len(), session)
        .await
        .unwrap();
    let first = within(stream.next(PIECE_BYTES)).await.unwrap().unwrap();
    // Two chunks well behind what was read.
    let data = world.path().join("xorbs");
    let path = find(&data, ".data").expect("the data of the xorb");
    let mut bytes = std::fs::read(&path).unwrap();
    for chunk in [50, 70] {
        bytes[a.inside(chunk) as usize] ^= 1;
    }
    std::fs::write(&path, bytes).unwrap();
    let rest = drain(stream).await.unwrap();
    assert!([first.to_vec(), rest].concat() == *a.data);
    let mended = [50, 70]
        .map(|chunk| a.stored(chunk..chunk + 1))
        .map(|range| range.end - range.start);
    assert_eq!(world.upstream.sent() - sent, mended.iter().sum::<u64>());
    assert!(world.read(&file).await.unwrap() == *file.content);
}

fn find(folder: &std::path::Path, suffix: &str) -> Option<std::path::PathBuf> {
    std::fs::read_dir(folder).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return find(&path, suffix);
        }
        path.to_string_lossy().ends_with(suffix).then_some(path)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_behind_a_running_download_is_mended_too() {
    let a = Xorb::large(8);
    let (world, file) = World::with(&[&a]).await;
    let permits = Arc::new(Semaphore::new(0));
    world.upstream.fault(What::Paced(Arc::clone(&permits)), 1);
    let planned = world.plan(&file, None).await.unwrap().unwrap();
    let open = |session: &str| {
        let session = Some(session.to_owned());
        world
            .mirror
            .open_xorb(file.hash, planned.generation, a.hash, 0..a.len(), session)
    };
    let mut first = open("first").await.unwrap();
    // More than what is decoded together.
    permits.add_permits(300);
    let begin = within(first.next(PIECE_BYTES)).await.unwrap().unwrap();
    let path = find(&world.path().join("xorbs"), ".data").expect("the data of the xorb");
    {
        use std::os::unix::fs::FileExt;
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(b"damage", a.inside(3)).unwrap();
    }
    let second = tokio::spawn(drain(open("second").await.unwrap()));
    // The mended chunk comes by a request of its own, which is not paced.
    within(async {
        while world.upstream.xorb_requests.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    permits.add_permits(1000);
    let rest = drain(first).await.unwrap();
    assert!([begin.to_vec(), rest].concat() == *a.data);
    assert!(within(second).await.unwrap().unwrap() == *a.data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_evicted_meanwhile_is_fetched_again() {
    let (a, b) = two_xorbs();
    let (world, file) = World::with(&[&a, &b]).await;
    let planned = world.plan(&file, None).await.unwrap().unwrap();
    let stored = world.fetch_planned(&file, &planned, "one").await.unwrap();
    assert!(assemble(&planned, &stored, file.size()) == *file.content);
    // As another process does.
    let other = xetway_cache::Cache::open(world.path(), xetway_mirror::Limits::default()).unwrap();
    other.prune(0).unwrap();
    let outcome = world.download(&file, &[500_000], "two").await;
    never_wrong(&outcome, &file.content);
    assert!(outcome.unwrap() == *file.content);
    assert!(world.read(&file).await.unwrap() == *file.content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_a_range_that_begin_and_end_anywhere() {
    let a = Xorb::new(9, 40);
    let mut random = Random(99);
    for strict in [false, true] {
        let (world, file) = World::with(&[&a]).await;
        if strict {
            world.upstream.strict();
        }
        let planned = world.plan(&file, None).await.unwrap().unwrap();
        for _ in 0..20 {
            let start = random.next() % a.len();
            let end = (start + 1 + random.next() % 60_000).min(a.len());
            let session = Some("parts".to_owned());
            let open = world
                .mirror
                .open_xorb(file.hash, planned.generation, a.hash, start..end, session);
            let bytes = drain(open.await.unwrap()).await.unwrap();
            assert!(bytes == a.data[start as usize..end as usize], "{start}..{end}");
        }
        assert!(world.read(&file).await.unwrap() == *file.content);
    }
}

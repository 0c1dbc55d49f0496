//! Files that are not in xorbs: one URL, one digest.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use xetway_client::Secret;
use xetway_mirror::{Error, PlainKey, PlainSource};

use crate::content::Random;
use crate::upstream::{TOKEN, What};
use crate::world::{PIECE_BYTES, World, drain, within};

struct Plain {
    bytes: Vec<u8>,
    key: PlainKey,
}

impl Plain {
    fn new(length: usize) -> Self {
        let bytes = Random(length as u64).bytes(length);
        let key = PlainKey::Sha256(Sha256::digest(&bytes).into());
        Self { bytes, key }
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
}

impl World {
    fn source(&self, path: &str) -> PlainSource {
        PlainSource {
            url: Secret::from(format!("{}/{path}", self.upstream.base())),
            headers: vec![("authorization".to_owned(), Secret::from(format!("Bearer {TOKEN}")))],
        }
    }

    async fn plain(&self, plain: &Plain, range: std::ops::Range<u64>) -> Result<Vec<u8>, Error> {
        let source = Some(self.source("moved/file"));
        let stream = self
            .mirror
            .open_plain(plain.key, plain.size(), range.clone(), source)
            .await?;
        assert_eq!(stream.remaining(), range.end - range.start);
        drain(stream).await
    }
}

async fn with(length: usize) -> (World, Plain) {
    let (world, plain) = (World::new().await, Plain::new(length));
    world.upstream.add_plain("file", &plain.bytes);
    (world, plain)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_readers_one_download_and_no_token_elsewhere() {
    let (world, plain) = with(700_001).await;
    let reads = (0..16).map(|reader| {
        let start = if reader % 2 == 0 { 0 } else { 300_000 };
        let (world, plain) = (&world, &plain);
        async move { (start, world.plain(plain, start..plain.size()).await) }
    });
    for (start, outcome) in within(join_all(reads)).await {
        assert!(outcome.unwrap() == plain.bytes[start as usize..]);
    }
    assert_eq!(world.upstream.plain_bytes.load(Ordering::SeqCst), plain.size());
    assert_eq!(world.upstream.leaked.load(Ordering::SeqCst), 0);
    let known = world.mirror.known_plain(&plain.key, plain.size()).unwrap();
    assert_eq!((known.held_bytes, known.proven), (plain.size(), true));
    // Warm, without an upstream, after a restart.
    let world = world.reopen().await;
    let stream = world
        .mirror
        .open_plain(plain.key, plain.size(), 5..600_000, None)
        .await
        .unwrap();
    assert!(stream.proven());
    assert!(drain(stream).await.unwrap() == plain.bytes[5..600_000]);
    assert_eq!(world.upstream.plain_bytes.load(Ordering::SeqCst), plain.size());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_download_goes_on_where_it_stopped() {
    for what in [What::Cut(400_000), What::Stall(300_000), What::Status(503)] {
        let (world, plain) = with(900_000).await;
        world.upstream.fault(what, 2);
        assert!(world.plain(&plain, 0..plain.size()).await.unwrap() == plain.bytes);
        assert!(world.upstream.plain_bytes.load(Ordering::SeqCst) < plain.size() + 600_000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_far_ahead_are_fetched_as_stubbornly() {
    let (world, plain) = with(18 << 20).await;
    let range = 17 << 20..(17 << 20) + 600_000;
    for what in [
        What::Cut(200_000),
        What::Stall(200_000),
        What::Status(503),
        What::Status(429),
    ] {
        world.upstream.fault(what, 2);
        let expected = &plain.bytes[17 << 20..(17 << 20) + 600_000];
        assert!(world.plain(&plain, range.clone()).await.unwrap() == expected);
    }
    assert_eq!(world.mirror.stats().fetched_bytes, 4 * 600_000);
    // It went on where it stopped.
    assert!(world.upstream.plain_bytes.load(Ordering::SeqCst) <= 4 * 600_000);
    assert_eq!(
        world.mirror.known_plain(&plain.key, plain.size()).unwrap().held_bytes,
        0
    );
    world.upstream.fault(What::Status(503), u32::MAX);
    let error = world.plain(&plain, range).await.unwrap_err();
    assert_eq!(error.code(), "upstream_status");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wrong_content_never_ends_well() {
    let (world, plain) = with(900_000).await;
    let permits = Arc::new(Semaphore::new(40));
    world.upstream.fault(What::Flip(10), u32::MAX);
    world.upstream.fault(What::Paced(Arc::clone(&permits)), u32::MAX);
    let open = async || {
        let source = Some(world.source("moved/file"));
        let opened = world
            .mirror
            .open_plain(plain.key, plain.size(), 0..plain.size(), source);
        opened.await.unwrap()
    };
    let (mut stream, mut late) = (open().await, open().await);
    // It is wrong, and was shown.
    let shown = within(stream.next(PIECE_BYTES)).await.unwrap().unwrap();
    assert!(shown != plain.bytes[..shown.len()]);
    permits.add_permits(1000);
    let error = drain(stream).await.unwrap_err();
    assert!(
        ["upstream_integrity", "mirror_content_changed"].contains(&error.code()),
        "{error}"
    );
    // Who opened it before starts nothing that those who come after would join.
    let asked = world.upstream.plain_requests.load(Ordering::SeqCst);
    let refused = within(late.next(PIECE_BYTES)).await.unwrap_err();
    assert_eq!(refused.code(), "mirror_content_changed");
    assert_eq!(world.upstream.plain_requests.load(Ordering::SeqCst), asked);
    world.upstream.heal();
    let rest = world.plain(&plain, 400_000..plain.size()).await;
    assert_eq!(rest.unwrap_err().code(), "mirror_content_changed");
    assert!(world.plain(&plain, 0..plain.size()).await.unwrap() == plain.bytes);
    assert!(!format!("{error} {error:?}").contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_content_that_nobody_saw_is_fetched_again() {
    let (world, plain) = with(50_000).await;
    world.upstream.fault(What::Flip(10_000), 1);
    let source = Some(world.source("plain/file"));
    let seen = std::sync::Mutex::new(Vec::new());
    let progress = |held, total| seen.lock().unwrap().push((held, total));
    within(world.mirror.prefetch_plain(plain.key, plain.size(), source, progress))
        .await
        .unwrap();
    assert_eq!(seen.lock().unwrap().last(), Some(&(plain.size(), plain.size())));
    assert!(world.plain(&plain, 0..plain.size()).await.unwrap() == plain.bytes);
    assert!(world.plain(&plain, 20_000..30_000).await.unwrap() == plain.bytes[20_000..30_000]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_page_is_no_reason_to_fail_unless_it_stays() {
    for what in [What::Page(300), What::EndlessPage(60_000), What::EndlessPage(300)] {
        let (world, plain) = with(50_000).await;
        world.upstream.fault(what.clone(), 2);
        assert!(world.plain(&plain, 0..plain.size()).await.unwrap() == plain.bytes);

        let (world, plain) = with(50_000).await;
        world.upstream.fault(what, u32::MAX);
        let error = world.plain(&plain, 0..plain.size()).await.unwrap_err();
        assert!(
            ["upstream_integrity", "connection_cut"].contains(&error.code()),
            "{error}"
        );
        assert!(world.upstream.plain_requests.load(Ordering::SeqCst) > 2);
        world.upstream.heal();
        assert!(world.plain(&plain, 0..plain.size()).await.unwrap() == plain.bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_size_that_is_not_the_file_s() {
    for claimed in [40_000, 60_000] {
        let (world, plain) = with(50_000).await;
        let source = Some(world.source("plain/file"));
        let opened = world.mirror.open_plain(plain.key, claimed, 0..claimed, source).await;
        let outcome = match opened {
            Ok(stream) => drain(stream).await,
            Err(error) => Err(error),
        };
        assert!(outcome.is_err());
        // For a moment the failed transfer still holds it.
        let bytes = within(async {
            loop {
                match world.plain(&plain, 0..plain.size()).await {
                    Err(error) if error.code() == "cache_conflict" => tokio::task::yield_now().await,
                    outcome => return outcome.unwrap(),
                }
            }
        });
        assert!(bytes.await == plain.bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_ends_before_its_size_has_another_length() {
    let (world, plain) = with(18 << 20).await;
    let claimed = 20 << 20;
    let outcome = async |range| {
        let source = Some(world.source("plain/file"));
        let opened = world.mirror.open_plain(plain.key, claimed, range, source).await;
        drain(opened.unwrap()).await.map(drop).map_err(|error| error.code())
    };
    for far_ahead in [17 << 20..(17 << 20) + 9, 18 << 20..19 << 20] {
        assert_eq!(outcome(far_ahead).await, Err("upstream_integrity"));
    }
    // It is noticed only where there should be more.
    world.upstream.fault(What::EndlessPage(19 << 20), 1);
    assert_eq!(outcome(0..claimed).await, Err("upstream_integrity"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_files_and_none_at_all() {
    let world = World::new().await;
    let blob = *b"\xce\x01\x36\x25\x03\x0b\xa8\xdb\xa9\x06\xf7\x56\x96\x7f\x9e\x9c\xa3\x94\x46\x4a";
    let key = PlainKey::GitSha1(blob);
    let missing = world.mirror.open_plain(key, 6, 0..6, None).await;
    assert_eq!(missing.unwrap_err().code(), "not_cached");
    let missing = world.mirror.prefetch_plain(key, 6, None, |_, _| {}).await;
    assert_eq!(missing.unwrap_err().code(), "not_cached");
    world.upstream.add_plain("hello", b"hello\n");
    let stream = world
        .mirror
        .open_plain(key, 6, 0..6, Some(world.source("plain/hello")))
        .await
        .unwrap();
    assert!(drain(stream).await.unwrap() == b"hello\n");
    let empty = Plain::new(0);
    world.upstream.add_plain("empty", b"");
    let stream = world
        .mirror
        .open_plain(empty.key, 0, 0..0, Some(world.source("plain/empty")))
        .await
        .unwrap();
    assert!(drain(stream).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_told() {
    let world = World::new().await;
    let plain = Plain::new(1000);
    let source = Some(world.source("plain/nothing"));
    let outcome = match world.mirror.open_plain(plain.key, 1000, 0..1000, source).await {
        Ok(stream) => drain(stream).await,
        Err(error) => Err(error),
    };
    let error = outcome.unwrap_err();
    assert!(
        matches!(&error, Error::Client(xetway_client::Error::Status { status: 404, .. })),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_is_not_there_is_told_of() {
    let world = World::new().await;
    let plain = Plain::new(1000);
    // Bound for a moment, so that nobody else has it.
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let source = Some(PlainSource {
        url: Secret::from(format!("http://{address}/file")),
        headers: Vec::new(),
    });
    let outcome = match world.mirror.open_plain(plain.key, 1000, 0..1000, source).await {
        Ok(stream) => drain(stream).await,
        Err(error) => Err(error),
    };
    assert_eq!(outcome.unwrap_err().code(), "connect_failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_what_is_held_back_leave_the_threads_to_others() {
    let (world, plain) = with(50_000).await;
    let permits = Arc::new(Semaphore::new(2));
    world.upstream.fault(What::Cut(30_000), 1);
    world.upstream.fault(What::Paced(Arc::clone(&permits)), u32::MAX);
    let (mirror, key, source) = (world.mirror.clone(), plain.key, world.source("moved/file"));
    let (tell, told) = std::sync::mpsc::channel();
    // Threads of its own, no more than there are readers: if those keep them busy, nothing goes on.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let readers = (0..2).map(|_| {
                let (mirror, source) = (mirror.clone(), Some(source.clone()));
                tokio::spawn(async move { drain(mirror.open_plain(key, 50_000, 0..50_000, source).await?).await })
            });
            for reader in readers.collect::<Vec<_>>() {
                tell.send(reader.await.unwrap().unwrap()).unwrap();
            }
        });
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    permits.add_permits(1000);
    for _ in 0..2 {
        assert!(told.recv_timeout(Duration::from_secs(60)).unwrap() == plain.bytes);
    }
}

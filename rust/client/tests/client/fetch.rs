//! Ranges of xorbs that survive what servers do to them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use xetway_client::{BoxFuture, Error, Fetch, Options, RangeBody, Result, Secret, StallPolicy, UrlSource};
use xetway_core::Hash;

use crate::server::{Received, Reply, Server, unused_port};
use crate::{content, http, http_with, options};

const LENGTH: usize = 300_000;

/// One xorb; renewing counts up the URL's version, once however many ask.
struct Source {
    /// Where the URL of version 0 leads, and where the others do.
    bases: [String; 2],
    signed: Range<u64>,
    version: Mutex<usize>,
    renewals: AtomicUsize,
}

impl Source {
    fn new(server: &Server, signed: Range<u64>) -> Arc<Self> {
        Self::of([server.url("/x"), server.url("/x")], signed)
    }

    /// URLs that lead to `after` once they are renewed.
    fn moving(before: &str, after: &str) -> Arc<Self> {
        Self::of([before.to_owned(), after.to_owned()], 0..1000)
    }

    fn of(bases: [String; 2], signed: Range<u64>) -> Arc<Self> {
        Arc::new(Self {
            bases,
            signed,
            version: Mutex::new(0),
            renewals: AtomicUsize::new(0),
        })
    }

    fn fetch(&self, version: usize) -> Fetch {
        Fetch {
            chunks: 0..9,
            bytes: self.signed.clone(),
            url: Secret::new(format!("{}?v={version}", self.bases[version.min(1)])),
        }
    }
}

impl UrlSource for Source {
    fn url(&self, _: &Hash, _: &Range<u64>) -> BoxFuture<'_, Result<Fetch>> {
        Box::pin(async { Ok(self.fetch(*self.version.lock().await)) })
    }

    fn renew(&self, stale: &Secret, _: &Hash, _: &Range<u64>) -> BoxFuture<'_, Result<Fetch>> {
        let stale = stale.clone();
        Box::pin(async move {
            let mut version = self.version.lock().await;
            if self.fetch(*version).url == stale {
                *version += 1;
                self.renewals.fetch_add(1, Ordering::SeqCst);
            }
            Ok(self.fetch(*version))
        })
    }
}

fn quick() -> Options {
    Options {
        stall: StallPolicy {
            window: Duration::from_millis(100),
            min_bytes: 1000,
        },
        ..options()
    }
}

fn body(source: &Arc<Source>, bytes: Range<u64>) -> RangeBody {
    let source: Arc<dyn UrlSource> = source.clone();
    RangeBody::new(http_with(quick(), &[]), source, Hash::ZERO, bytes)
}

async fn read(body: &mut RangeBody) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

fn ranges(server: &Server) -> Vec<String> {
    let range = |request: &Received| request.header("range").unwrap_or_default().to_owned();
    server.requests().iter().map(range).collect()
}

#[tokio::test]
async fn goes_on_where_it_stopped() {
    let server = Server::start(|number, request| {
        let reply = Reply::part(request, &content(LENGTH));
        match number {
            0 => reply.cut(50_000),
            1 => reply.hang(50_000),
            _ => reply,
        }
    })
    .await;
    let source = Source::new(&server, 100..LENGTH as u64);
    let bytes = read(&mut body(&source, 100..LENGTH as u64)).await.unwrap();
    assert_eq!(bytes, content(LENGTH)[100..]);
    assert_eq!(
        ranges(&server),
        ["bytes=100-299999", "bytes=50100-299999", "bytes=100100-299999"]
    );
}

#[tokio::test]
async fn answers_that_do_not_fit_are_tried_again() {
    let server = Server::start(|number, _| match number {
        0 => Reply::new(206, &[("content-range", "bytes 0-9/300000")], content(10)),
        1 => Reply::new(500, &[], ""),
        _ => Reply::new(200, &[], content(LENGTH)),
    })
    .await;
    let source = Source::new(&server, 100..2000);
    let bytes = read(&mut body(&source, 100..2000)).await.unwrap();
    assert_eq!(bytes, content(LENGTH)[100..2000]);
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn attempts_are_used_up() {
    let server = Server::start(|_, request| Reply::part(request, &content(LENGTH)).cut(0)).await;
    let source = Source::new(&server, 0..1000);
    let error = read(&mut body(&source, 0..1000)).await.unwrap_err();
    assert_eq!(error.code(), "connection_cut");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_long_range_may_be_cut_many_times() {
    const LONG: usize = 15 << 20;
    let bytes = content(LONG);
    let server = Server::start(move |_, request| Reply::part(request, &bytes).cut(3 << 20)).await;
    let source = Source::new(&server, 0..LONG as u64);
    assert_eq!(read(&mut body(&source, 0..LONG as u64)).await.unwrap(), content(LONG));
    assert_eq!(server.requests().len(), 5);
}

#[tokio::test]
async fn an_expired_url_is_renewed_once_for_all() {
    let server = Server::start(|_, request| match request.target.as_str() {
        "/x?v=0" => Reply::new(403, &[], "expired"),
        _ => Reply::part(request, &content(LENGTH)),
    })
    .await;
    eight_read_by_one_renewal(&Source::new(&server, 0..1000)).await;
}

async fn eight_read_by_one_renewal(source: &Arc<Source>) {
    let readers = (0..8).map(|_| {
        let mut body = body(source, 0..1000);
        tokio::spawn(async move { read(&mut body).await })
    });
    for reader in readers.collect::<Vec<_>>() {
        assert_eq!(reader.await.unwrap().unwrap(), content(LENGTH)[..1000]);
    }
    assert_eq!(source.renewals.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_url_whose_host_is_not_there_is_renewed_once_for_all() {
    let server = Server::start(|_, request| Reply::part(request, &content(LENGTH))).await;
    let gone = format!("http://127.0.0.1:{}/x", unused_port());
    for gone in [&gone, "http://no-such-host.invalid/x"] {
        eight_read_by_one_renewal(&Source::moving(gone, &server.url("/x"))).await;
    }

    let source = Source::moving(&gone, &gone);
    let error = read(&mut body(&source, 0..1000)).await.unwrap_err();
    assert_eq!(error.code(), "connect_failed");
    assert_eq!(source.renewals.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_url_that_stays_refused_is_given_up() {
    let server = Server::start(|_, _| Reply::new(404, &[], "")).await;
    let source = Source::new(&server, 0..1000);
    let error = read(&mut body(&source, 0..1000)).await.unwrap_err();
    assert!(matches!(error, Error::Status { status: 404, .. }), "{error}");
    assert_eq!(
        (server.requests().len(), source.renewals.load(Ordering::SeqCst)),
        (3, 2)
    );
}

#[tokio::test]
async fn a_url_for_one_exact_range_is_read_again_from_its_start() {
    let server = Server::start(|number, request| {
        if request.header("range") != Some("bytes=1000-8999") {
            return Reply::new(403, &[], "the range is signed");
        }
        let reply = Reply::part(request, &content(LENGTH));
        if number == 0 { reply.cut(3000) } else { reply }
    })
    .await;
    let source = Source::new(&server, 1000..9000);
    let bytes = read(&mut body(&source, 1000..9000)).await.unwrap();
    assert_eq!(bytes, content(LENGTH)[1000..9000]);
    assert_eq!(
        ranges(&server),
        ["bytes=1000-8999", "bytes=4000-8999", "bytes=1000-8999"]
    );
    assert_eq!(source.renewals.load(Ordering::SeqCst), 0);

    // So is a part of it from the beginning, and what follows the part is not delivered.
    let bytes = read(&mut body(&source, 2000..5000)).await.unwrap();
    assert_eq!(bytes, content(LENGTH)[2000..5000]);
}

#[tokio::test]
async fn bad_bytes_are_read_again_a_limited_number_of_times() {
    let server = Server::start(|_, request| Reply::part(request, &content(LENGTH))).await;
    let source = Source::new(&server, 0..LENGTH as u64);
    let mut body = body(&source, 0..LENGTH as u64);
    read(&mut body).await.unwrap();
    let bad = || Error::Integrity {
        what: "chunk",
        expected: String::new(),
        actual: String::new(),
    };
    body.restart(1000, bad()).await.unwrap();
    assert_eq!(body.position(), 1000);
    assert_eq!(read(&mut body).await.unwrap(), content(LENGTH)[1000..]);
    body.restart(1000, bad()).await.unwrap();
    read(&mut body).await.unwrap();
    assert_eq!(
        body.restart(1000, bad()).await.unwrap_err().code(),
        "upstream_integrity"
    );
}

#[tokio::test]
async fn bad_bytes_are_not_forgiven_for_what_is_merely_read_again() {
    const LONG: usize = 8 << 20;
    let bytes = content(LONG);
    let server = Server::start(move |_, request| Reply::part(request, &bytes)).await;
    let source = Source::new(&server, 0..LONG as u64);
    let mut body = body(&source, 0..LONG as u64);
    let mut restarts = 0;
    let error = loop {
        read(&mut body).await.unwrap();
        let bad = Error::from(xetway_core::Error::BadScheme { scheme: 9, offset: 0 });
        match body.restart(10, bad).await {
            Ok(()) => restarts += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((restarts, error.code()), (2, "bad_scheme"));
}

#[tokio::test]
async fn a_source_that_names_too_little_is_at_fault() {
    let server = Server::start(|_, _| Reply::new(200, &[], "")).await;
    let source = Source::new(&server, 10..20);
    let source: Arc<dyn UrlSource> = source;
    let mut body = RangeBody::new(http(), source, Hash::ZERO, 10..21);
    assert!(matches!(body.next().await, Err(Error::Integrity { .. })));
    assert!(server.requests().is_empty());
}

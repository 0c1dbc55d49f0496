//! TLS and HTTP/2.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::join_all;
use hyper::body::{Body as HttpBody, Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use xetway_forward::{Body, Protocol, Settings, Upstream};

use crate::raw::{LIMITS, Raw, Step, ask, header, ok, post, settings, text, verdict};

/// What accepts TLS connections for localhost, and whom clients have to trust.
fn certified(protocol: &[u8]) -> (TlsAcceptor, Vec<u8>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    (TlsAcceptor::from(Arc::new(config)), cert.pem().into_bytes())
}

/// Answer requests on TLS connections; a request for `/cut` gets half an answer, and no word of farewell.
async fn https() -> (String, Vec<u8>) {
    let (acceptor, bundle) = certified(b"http/1.1");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    if buffer[..count].starts_with(b"POST /cut") {
                        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhalf").await.unwrap();
                        stream.flush().await.unwrap();
                        return;
                    }
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                        .await
                        .unwrap();
                }
            });
        }
    });
    (url, bundle)
}

#[tokio::test]
async fn certificates_are_trusted_or_not() {
    let (url, bundle) = https().await;
    let trusting = Settings {
        ca_bundle: Some(bundle),
        ..settings(&url)
    };
    let upstream = Upstream::new(&trusting).unwrap();
    for _ in 0..2 {
        assert_eq!(text(post(&upstream).await.unwrap()).await.unwrap(), "ok");
        assert_eq!(upstream.idle_connections(), 1);
    }
    let (_, other) = certified(b"http/1.1");
    for ca_bundle in [None, Some(other)] {
        let strict = Settings {
            ca_bundle,
            ..settings(&url)
        };
        let error = post(&Upstream::new(&strict).unwrap()).await.unwrap_err();
        assert_eq!(verdict(&error), ("tls_untrusted", true));
    }
}

#[tokio::test]
async fn tls_that_ends_without_farewell_is_no_end() {
    let (url, bundle) = https().await;
    let upstream = Upstream::new(&Settings {
        ca_bundle: Some(bundle),
        ..settings(&url)
    })
    .unwrap();
    let failure = match upstream.send(ask("POST", "/cut", ""), LIMITS).await {
        Ok(answer) => text(answer).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(verdict(&failure), ("connection_cut", false));
}

#[tokio::test]
async fn what_speaks_no_tls_or_no_http_2() {
    let raw = Raw::new(vec![vec![ok("plain"), Step::UntilGone]]).await;
    let secure = settings(&raw.url.replace("http:", "https:"));
    let error = post(&Upstream::new(&secure).unwrap()).await.unwrap_err();
    assert_eq!(verdict(&error), ("tls_untrusted", true));

    let (url, bundle) = https().await;
    let newer = Settings {
        ca_bundle: Some(bundle),
        protocol: Protocol::Http2,
        ..settings(&url)
    };
    let error = post(&Upstream::new(&newer).unwrap()).await.unwrap_err();
    assert!(
        matches!(verdict(&error), ("tls_untrusted" | "bad_answer", true)),
        "{error:?}"
    );

    let raw = Raw::new(vec![vec![ok("HTTP/1.1"), Step::UntilGone]]).await;
    let known = Settings {
        protocol: Protocol::Http2,
        ..settings(&raw.url)
    };
    let error = post(&Upstream::new(&known).unwrap()).await.unwrap_err();
    assert_eq!(verdict(&error), ("connection_reset", true));
}

/// Opened by who has the head of an answer that will be cut.
static CUT: Semaphore = Semaphore::const_new(0);

/// A body in pieces, that may fail once that is allowed.
struct Pieces(VecDeque<Result<Bytes, &'static str>>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if matches!(self.0.front(), Some(Err(_))) && CUT.try_acquire().is_err() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.0.pop_front().map(|piece| piece.map(Frame::data)))
    }
}

fn pieces(pieces: impl IntoIterator<Item = Result<String, &'static str>>) -> Pieces {
    Pieces(pieces.into_iter().map(|piece| piece.map(Bytes::from)).collect())
}

/// Answer as the path says.
async fn answer(request: hyper::Request<Incoming>) -> Result<hyper::Response<Pieces>, Infallible> {
    let body = match request.uri().path() {
        "/cut" => pieces([Ok("half".to_owned()), Err("cut")]),
        "/long" => pieces((0..100).map(|_| Ok("x".repeat(10_000)))),
        _ => pieces([Ok(format!("{} {}", request.method(), request.uri()))]),
    };
    let response = hyper::Response::builder().header("x-asked", &request.headers()["x-asked"]);
    Ok(response.body(body).unwrap())
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let builder = http2::Builder::new(TokioExecutor::new());
    let _ = builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

/// Serve HTTP/2; returns the port, and what counts connections. Each ends after `lives` if that is told.
async fn h2c(lives: Option<Arc<tokio::sync::Notify>>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            let lives = lives.clone();
            tokio::spawn(async move {
                match lives {
                    None => converse(stream).await,
                    Some(lives) => tokio::select! {
                        () = converse(stream) => {}
                        () = lives.notified() => {}
                    },
                }
            });
        }
    });
    (url, connections)
}

fn newer(url: &str) -> Upstream {
    let newer = Settings {
        protocol: Protocol::Http2,
        ..settings(url)
    };
    Upstream::new(&newer).unwrap()
}

#[tokio::test]
async fn one_connection_for_many_requests() {
    let (url, connections) = h2c(None).await;
    let upstream = newer(&format!("{url}/base"));
    let answers = join_all((0..50).map(|_| async {
        let answer = post(&upstream).await?;
        assert_eq!(header(&answer, "x-asked").as_deref(), Some("yes"));
        text(answer).await
    }));
    for answer in answers.await {
        assert_eq!(answer.unwrap(), format!("POST {url}/base/v1/x?y=1"));
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn streams_that_end_and_streams_that_do_not() {
    let (url, connections) = h2c(None).await;
    let upstream = newer(&url);
    let long = upstream.send(ask("GET", "/long", ""), LIMITS).await.unwrap();
    assert!(matches!(long.body, Body::Open(_)));
    let cut = upstream.send(ask("GET", "/cut", ""), LIMITS).await.unwrap();
    CUT.add_permits(1);
    assert_eq!(verdict(&text(cut).await.unwrap_err()), ("connection_cut", false));
    drop(upstream.send(ask("GET", "/long", ""), LIMITS).await.unwrap());
    assert_eq!(text(long).await.unwrap().len(), 1_000_000);
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_shared_connection_that_died_is_replaced() {
    let lives = Arc::new(tokio::sync::Notify::new());
    let (url, connections) = h2c(Some(Arc::clone(&lives))).await;
    let upstream = newer(&url);
    for made in 1..4 {
        text(post(&upstream).await.unwrap()).await.unwrap();
        assert_eq!(connections.load(Ordering::Relaxed), made);
        lives.notify_one();
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn http_2_within_tls() {
    let (acceptor, bundle) = certified(b"h2");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(converse(stream));
            }
        }
    });
    let secure = Settings {
        protocol: Protocol::Http2,
        ca_bundle: Some(bundle),
        ..settings(&url)
    };
    let upstream = Upstream::new(&secure).unwrap();
    let expected = format!("POST {url}/v1/x?y=1");
    assert_eq!(text(post(&upstream).await.unwrap()).await.unwrap(), expected);
}

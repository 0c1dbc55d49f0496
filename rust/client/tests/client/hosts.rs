//! Hosts that are not there, or are something else.

use xetway_client::{Options, Request, TransportKind};

use crate::http::kind;
use crate::server::{Server, read_request, unused_port};
use crate::{http, http_with, options};

#[tokio::test]
async fn a_host_that_is_not_there_is_named() {
    let port = unused_port();
    let url = format!("http://127.0.0.1:{port}/?sig=secret");
    let error = http().open(&url, &[], None).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("cannot connect to 127.0.0.1:{port}: ")),
        "{text}"
    );
    assert!(text.contains("refused") && !text.contains("secret"), "{text}");
    assert!(error.is_retryable());

    let error = http()
        .open("http://no-such-host.invalid/?sig=secret", &[], None)
        .await
        .unwrap_err();
    assert!(matches!(kind(&error), TransportKind::Dns | TransportKind::NoSuchHost));
    assert_eq!(error.code(), "dns_failure");
    // A resolver in trouble may know more later.
    assert_eq!(error.is_retryable(), kind(&error) == TransportKind::Dns);
    assert!(error.to_string().contains("no-such-host.invalid") && !error.to_string().contains("secret"));
}

#[tokio::test]
async fn a_host_that_is_not_there_is_not_tried_more_often_than_wanted() {
    for (connect_attempts, tries) in [(None, 4), (Some(2), 2), (Some(9), 4)] {
        let client = http_with(
            Options {
                connect_attempts,
                ..options()
            },
            &[],
        );
        let request = Request {
            attempts: 4,
            ..Request::new("GET", format!("http://127.0.0.1:{}/", unused_port()))
        };
        let error = client.request(request).await.unwrap_err();
        assert_eq!((error.code(), client.stats().requests), ("connect_failed", tries));
    }
}

#[tokio::test]
async fn a_host_that_answered_is_tried_as_often_as_any() {
    use tokio::io::AsyncWriteExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(listener);
        read_request(&mut stream).await;
        let busy = b"HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(busy).await.unwrap();
    });
    let client = http_with(
        Options {
            connect_attempts: Some(2),
            ..options()
        },
        &[],
    );
    let request = Request {
        attempts: 4,
        ..Request::new("GET", url)
    };
    let error = client.request(request).await.unwrap_err();
    assert_eq!((error.code(), client.stats().requests), ("connect_failed", 4));
}

#[tokio::test]
async fn what_is_not_http_is_a_bad_answer() {
    use tokio::io::AsyncWriteExt;
    for speaks_first in [true, false] {
        let server = Server::listen(move |mut stream| async move {
            if !speaks_first {
                read_request(&mut stream).await;
            }
            let _ = stream.write_all(b"SSH-2.0-OpenSSH\r\n\r\n").await;
            let _ = stream.shutdown().await;
        })
        .await;
        let error = http().open(&server.url("/"), &[], None).await.unwrap_err();
        assert_eq!(error.code(), "bad_answer", "{error}");
    }
}

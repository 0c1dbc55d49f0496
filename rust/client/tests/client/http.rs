//! Small requests, bodies, retries, stalls.

use std::time::Duration;

use bytes::Bytes;
use xetway_client::{Concurrency, Error, Http, Options, Request, Secret, StallPolicy, TransportKind};

use crate::server::{Reply, Server, read_request};
use crate::{content, http, http_with, options};

pub(crate) async fn read(
    http: &Http,
    url: &str,
    range: Option<std::ops::Range<u64>>,
) -> xetway_client::Result<Vec<u8>> {
    let mut body = http.open(url, &[], range).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await? {
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(body.start + bytes.len() as u64, body.end);
    Ok(bytes)
}

pub(crate) fn kind(error: &Error) -> TransportKind {
    match error {
        Error::Transport { kind, .. } => *kind,
        other => panic!("not a transport error: {other}"),
    }
}

#[tokio::test]
async fn a_request_carries_its_parts_and_any_status_is_an_answer() {
    let server = Server::start(|_, request| Reply::new(404, &[("X-One", "1")], request.body.clone())).await;
    let answer = http()
        .request(Request {
            headers: vec![("authorization".to_owned(), Secret::from("Bearer t"))],
            body: Bytes::from_static(b"body"),
            ..Request::new("POST", server.url("/path?q=1"))
        })
        .await
        .unwrap();
    assert_eq!(
        (answer.status, answer.header("x-one"), answer.body.as_ref()),
        (404, Some("1"), &b"body"[..])
    );
    let seen = &server.requests()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/path?q=1"));
    assert_eq!(seen.header("authorization"), Some("Bearer t"));
    assert_eq!(seen.header("user-agent"), Some("test/1"));
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn an_empty_post_says_so() {
    let server = Server::start(|_, _| Reply::new(200, &[], "")).await;
    http().request(Request::new("POST", server.url("/"))).await.unwrap();
    assert_eq!(server.requests()[0].header("content-length"), Some("0"));
}

#[tokio::test]
async fn failures_of_the_server_are_tried_again_and_others_are_not() {
    for (status, tries) in [
        (500, 3),
        (503, 3),
        (429, 3),
        (408, 3),
        (501, 1),
        (508, 1),
        (403, 1),
        (404, 1),
    ] {
        let server = Server::start(move |_, _| Reply::new(status, &[], r#"{"error":"no"}"#)).await;
        let request = Request {
            attempts: 3,
            ..Request::new("GET", server.url("/"))
        };
        let answer = http().request(request).await.unwrap();
        assert_eq!((answer.status, server.requests().len()), (status, tries), "{status}");
        assert_eq!(answer.checked().unwrap_err().is_retryable(), tries > 1);
    }
    let server = Server::start(|number, _| Reply::new(if number < 2 { 502 } else { 200 }, &[], "fine")).await;
    let client = http();
    let request = Request {
        attempts: 3,
        ..Request::new("GET", server.url("/"))
    };
    assert_eq!(client.request(request).await.unwrap().body.as_ref(), b"fine");
    assert_eq!((client.stats().requests, client.stats().retries), (3, 2));
}

#[tokio::test]
async fn a_mirror_that_has_it_not_and_may_not_ask_is_not_asked_again() {
    for (code, tries) in [("NotCached", 1), ("Other", 3)] {
        let server = Server::start(move |_, _| Reply::new(504, &[("x-error-code", code)], "")).await;
        let request = Request {
            attempts: 3,
            ..Request::new("GET", server.url("/"))
        };
        assert_eq!(http().request(request).await.unwrap().status, 504);
        assert_eq!(server.requests().len(), tries, "{code}");
    }
}

#[tokio::test]
async fn retry_after_is_waited_for_unless_it_is_too_long() {
    let server = Server::start(|number, _| match number {
        0 => Reply::new(429, &[("retry-after", "0")], ""),
        _ => Reply::new(429, &[("retry-after", "60")], ""),
    })
    .await;
    let request = Request {
        attempts: 3,
        ..Request::new("GET", server.url("/"))
    };
    // Our own pauses would be over long before.
    let waiting = tokio::time::timeout(Duration::from_millis(200), http().request(request)).await;
    assert!(waiting.is_err());
    assert_eq!(server.requests().len(), 2);

    let server = Server::start(|_, _| Reply::new(429, &[("retry-after", "86400")], "")).await;
    let client = http();
    let request = Request {
        attempts: 3,
        ..Request::new("GET", server.url("/"))
    };
    let answer = client.request(request).await.unwrap();
    assert_eq!(
        (answer.status, server.requests().len(), client.stats().rate_limited),
        (429, 1, 1)
    );
}

#[tokio::test]
async fn an_answer_over_the_limit_is_refused() {
    let server = Server::start(|_, _| Reply::new(200, &[], content(1001))).await;
    let request = Request {
        max_body_bytes: 1000,
        ..Request::new("GET", server.url("/"))
    };
    assert_eq!(
        kind(&http().request(request).await.unwrap_err()),
        TransportKind::Protocol
    );
    let request = Request {
        max_body_bytes: 1001,
        ..Request::new("GET", server.url("/"))
    };
    assert_eq!(http().request(request).await.unwrap().body, content(1001));
}

#[tokio::test]
async fn a_silent_server_times_out() {
    let server = Server::start(|_, _| Reply::new(200, &[], content(10)).hang(5)).await;
    let request = Request {
        timeout: Duration::from_millis(50),
        ..Request::new("GET", server.url("/?sig=secret"))
    };
    let error = http().request(request).await.unwrap_err();
    assert_eq!((kind(&error), error.code()), (TransportKind::Timeout, "timed_out"));
    assert!(!error.to_string().contains("secret"));
}

#[tokio::test]
async fn a_long_answer_may_take_longer_than_its_beginning() {
    use tokio::io::AsyncWriteExt;
    let timeout = Duration::from_millis(500);
    let server = Server::listen(move |mut stream| async move {
        read_request(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nso")
            .await
            .unwrap();
        tokio::time::sleep(timeout * 2).await;
        let _ = stream.write_all(b"on").await;
    })
    .await;
    for long in [true, false] {
        let request = Request {
            timeout,
            long,
            ..Request::new("GET", server.url("/"))
        };
        let body = http().request(request).await.map(|answer| answer.body);
        assert_eq!(body.ok(), long.then(|| Bytes::from_static(b"soon")));
    }
}

#[tokio::test]
async fn whole_bodies_and_parts() {
    let server = Server::start(|_, request| match request.target.as_str() {
        "/whole" => Reply::new(200, &[], content(5000)),
        _ => Reply::part(request, &content(5000)),
    })
    .await;
    let client = http();
    assert_eq!(read(&client, &server.url("/whole"), None).await.unwrap(), content(5000));
    for target in ["/whole", "/part"] {
        let bytes = read(&client, &server.url(target), Some(1000..3000)).await.unwrap();
        assert_eq!(bytes, content(5000)[1000..3000], "{target}");
        let bytes = read(&client, &server.url(target), Some(4000..u64::MAX)).await.unwrap();
        assert_eq!(bytes, content(5000)[4000..], "{target}");
    }
    assert_eq!(server.requests()[1].header("range"), Some("bytes=1000-2999"));
    assert_eq!(client.stats().active, 0);
}

#[tokio::test]
async fn a_body_without_a_length_ends_where_it_ends() {
    let server = Server::start(|_, _| {
        Reply::new(
            200,
            &[("transfer-encoding", "chunked")],
            "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        )
    })
    .await;
    assert_eq!(read(&http(), &server.url("/"), None).await.unwrap(), b"hello world");
    assert_eq!(read(&http(), &server.url("/"), Some(4..8)).await.unwrap(), b"o wo");
    let error = read(&http(), &server.url("/"), Some(4..12)).await.unwrap_err();
    assert_eq!(kind(&error), TransportKind::Cut);
}

#[tokio::test]
async fn a_wrong_part_is_refused() {
    for value in ["bytes 0-99/5000", "bytes 1000-2998/5000", "bytes */5000", "nonsense"] {
        let server = Server::start(move |_, _| Reply::new(206, &[("content-range", value)], content(100))).await;
        let error = read(&http(), &server.url("/"), Some(1000..3000)).await.unwrap_err();
        assert_eq!(
            (kind(&error), error.is_retryable()),
            (TransportKind::Protocol, true),
            "{value}"
        );
    }
}

#[tokio::test]
async fn a_refusal_tells_its_reason() {
    let server = Server::start(|_, _| {
        let headers = [
            ("x-error-code", "GatedRepo"),
            ("x-request-id", "abc"),
            ("retry-after", "9"),
        ];
        Reply::new(403, &headers, r#"{"error":"ask for access"}"#)
    })
    .await;
    let error = read(&http(), &server.url("/?token=secret"), None).await.unwrap_err();
    let expected = format!(
        "127.0.0.1:{} answered with status 403 (GatedRepo): ask for access [request abc]",
        server.port
    );
    assert_eq!((error.to_string(), error.retry_after_s()), (expected, Some(9)));
}

#[tokio::test]
async fn a_cut_and_a_stall_are_told_apart() {
    let server = Server::start(|_, request| match request.target.as_str() {
        "/cut" => Reply::new(200, &[], content(5000)).cut(100),
        _ => Reply::new(200, &[], content(5000)).hang(100),
    })
    .await;
    let quick = Options {
        stall: StallPolicy {
            window: Duration::from_millis(50),
            min_bytes: 200,
        },
        ..options()
    };
    let client = http_with(quick, &[]);
    let error = read(&client, &server.url("/cut"), None).await.unwrap_err();
    assert_eq!((kind(&error), error.code()), (TransportKind::Cut, "connection_cut"));
    let error = read(&client, &server.url("/stall"), None).await.unwrap_err();
    assert_eq!((kind(&error), error.code()), (TransportKind::Stalled, "stalled"));
    assert_eq!((client.stats().stalled, client.stats().active), (1, 0));
}

#[tokio::test]
async fn connections_are_kept_open() {
    let server = Server::start(|_, request| Reply::part(request, &content(100_000))).await;
    let client = http();
    for _ in 0..20 {
        read(&client, &server.url("/"), Some(0..100_000)).await.unwrap();
    }
    assert_eq!(server.requests().len(), 20);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn no_more_bodies_are_open_than_allowed() {
    let server = Server::start(|_, _| Reply::new(200, &[], content(10))).await;
    let client = http_with(
        Options {
            concurrency: Concurrency::Fixed(2),
            ..options()
        },
        &[],
    );
    let url = server.url("/");
    let one = client.open(&url, &[], None).await.unwrap();
    let mut two = client.open(&url, &[], None).await.unwrap();
    let third = tokio::spawn({
        let (client, url) = (client.clone(), url.clone());
        async move { client.open(&url, &[], None).await.map(drop) }
    });
    while !third.is_finished() && server.requests().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.stats().active, 2);
    assert!(!third.is_finished());
    // A body that was read to its end frees its place although it is still there.
    while two.next().await.unwrap().is_some() {}
    third.await.unwrap().unwrap();
    drop(one);
    assert_eq!(client.stats().active, 0);
}

#[tokio::test]
async fn urls_and_headers_that_cannot_be_sent_are_settings_errors() {
    let client = http();
    for url in ["", "/relative", "ftp://host/", "http://"] {
        assert_eq!(
            client.open(url, &[], None).await.unwrap_err().code(),
            "bad_setting",
            "{url}"
        );
    }
    let header = [("x-one".to_owned(), Secret::from("a\nb: secret"))];
    let error = client.open("http://127.0.0.1:1/", &header, None).await.unwrap_err();
    assert_eq!(error.code(), "bad_setting");
    assert!(!error.to_string().contains("secret"));
    let debug = format!("{client:?}");
    assert!(debug.starts_with("Http"), "{debug}");
}

#[tokio::test]
async fn the_rate_limit_holds() {
    let server = Server::start(|_, _| Reply::new(200, &[], content(300_000))).await;
    let client = http_with(
        Options {
            rate_limit_bytes_s: Some(1_000_000),
            ..options()
        },
        &[],
    );
    let begin = std::time::Instant::now();
    for _ in 0..2 {
        read(&client, &server.url("/"), None).await.unwrap();
    }
    // 600 kB at 1 MB/s, less the burst and the last piece, which nobody waits for.
    assert!(begin.elapsed() >= Duration::from_millis(100), "{:?}", begin.elapsed());
    assert_eq!(client.stats().bytes_in, 600_000);
}

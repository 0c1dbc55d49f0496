//! Answers as they should be, in all their forms.

use std::time::Duration;

use xetway_forward::{Body, Limits, Request, RequestHeaders, Settings, Upstream};

use crate::raw::{LIMITS, Raw, Step, answered, ask, header, ok, post, send, settings, text, upstream};

#[tokio::test]
async fn a_request_as_the_upstream_gets_it() {
    let mut raw = Raw::new(vec![vec![Step::Take, ok("hello")]]).await;
    let upstream = Upstream::new(&Settings {
        url: format!("{}/base/v1/", raw.url),
        headers: vec![(b"Authorization".to_vec(), b"Bearer s3cret".to_vec())],
        ..settings("")
    })
    .unwrap();
    let mut headers = RequestHeaders::with_capacity(2);
    headers.relay(b"Content-Type", b"application/json").unwrap();
    headers.relay(b"Authorization", b"Bearer client").unwrap();
    let request = Request::new("POST", "/chat?x=%2F".into(), headers.into_map(), "{}".into()).unwrap();
    let answer = upstream.send(request, LIMITS).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(header(&answer, "content-length").as_deref(), Some("5"));
    assert!(matches!(&answer.body, Body::Whole(body) if body == "hello"));
    let request = raw.request().await;
    let mut lines: Vec<&str> = request.split("\r\n").collect();
    lines[1..5].sort_unstable();
    let host = format!("host: {}", raw.url.trim_start_matches("http://"));
    assert_eq!(
        lines,
        [
            "POST /base/v1/chat?x=%2F HTTP/1.1",
            "authorization: Bearer s3cret",
            "content-length: 2",
            "content-type: application/json",
            &host,
            "",
            "{}"
        ]
    );
}

#[tokio::test]
async fn bodies_that_end_at_once_are_whole() {
    for (bytes, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        ("HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", ""),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            "abcde",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nTrailing: x\r\n\r\n",
            "abc",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "ok",
        ),
        // Equal lengths are one length (RFC 9112, section 6.3), and a line may end without its CR (section 2.2).
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
            "ok",
        ),
        ("HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "ok"),
    ] {
        let answer = answered(bytes).await.unwrap();
        assert!(
            matches!(&answer.body, Body::Whole(got) if got == body),
            "{bytes:?}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn lengths_are_told_only_if_they_are_true() {
    let told = async |bytes: &str| header(&answered(bytes).await.unwrap(), "content-length");
    assert_eq!(
        told("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok")
            .await
            .as_deref(),
        Some("2")
    );
    assert_eq!(
        told("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await,
        None
    );
    assert_eq!(told("HTTP/1.1 200 OK\r\n\r\nto the end").await, None);
    assert_eq!(
        told("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n")
            .await
            .as_deref(),
        Some("9")
    );
    assert_eq!(told("HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n").await, None);
    let raw = Raw::new(vec![vec![
        Step::Take,
        send("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"),
    ]])
    .await;
    let answer = upstream(&raw).send(ask("HEAD", "/", ""), LIMITS).await.unwrap();
    assert_eq!(header(&answer, "content-length").as_deref(), Some("7"));
    assert_eq!(text(answer).await.unwrap(), "");
}

#[tokio::test]
async fn headers_of_the_connection_stay_there() {
    let answer = answered(
        "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\n\
         Set-Cookie: a\r\nSet-Cookie: b\r\nX-Kept: c\r\nContent-Length: 0\r\n\r\n",
    )
    .await
    .unwrap();
    assert_eq!(header(&answer, "set-cookie").as_deref(), Some("a|b"));
    assert_eq!(answer.headers.len(), 4, "{:?}", answer.headers);
}

#[tokio::test]
async fn a_body_to_the_end_of_the_connection() {
    let answer = answered("HTTP/1.0 200 OK\r\n\r\nall of it").await.unwrap();
    assert_eq!(text(answer).await.unwrap(), "all of it");
}

#[tokio::test]
async fn a_stream_is_given_as_it_comes() {
    let piece = "5\r\nhello\r\n";
    let raw = Raw::new(vec![vec![
        Step::Take,
        send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{piece}")),
        Step::Pause,
        send(piece),
        Step::Pause,
        send("0\r\n\r\n"),
    ]])
    .await;
    let answer = post(&upstream(&raw)).await.unwrap();
    let Body::Open(mut reading) = answer.body else {
        panic!("{answer:?}")
    };
    for _ in 0..2 {
        assert_eq!(reading.next().await.unwrap().unwrap(), "hello");
        raw.go();
    }
    assert_eq!(reading.next().await.unwrap(), None);
    assert_eq!(reading.next().await.unwrap(), None);
}

#[tokio::test]
async fn short_bodies_are_waited_for_and_long_ones_are_read() {
    let answer = |length: usize| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        vec![vec![Step::Take, send(head), Step::Pause, send("x".repeat(length))]]
    };
    let raw = Raw::new(answer(256 << 10)).await;
    raw.go();
    let short = post(&upstream(&raw)).await.unwrap();
    assert!(matches!(&short.body, Body::Whole(body) if body.len() == 256 << 10));
    let raw = Raw::new(answer((256 << 10) + 1)).await;
    let long = post(&upstream(&raw)).await.unwrap();
    assert_eq!(header(&long, "content-length").as_deref(), Some("262145"));
    assert!(matches!(long.body, Body::Open(_)));
    raw.go();
    assert_eq!(text(long).await.unwrap().len(), 262_145);
}

#[tokio::test]
async fn patience_may_be_endless() {
    let raw = Raw::new(vec![vec![Step::Take, ok("ok")]]).await;
    let limits = Limits {
        first_byte: Duration::MAX,
        idle: Duration::MAX,
        total: Duration::MAX,
    };
    let endless = Settings {
        connect_timeout: Duration::MAX,
        ..settings(&raw.url)
    };
    let answer = Upstream::new(&endless).unwrap().send(ask("GET", "/", ""), limits).await;
    assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
}

#[tokio::test]
async fn a_slow_drip_is_whole_in_the_end() {
    let mut steps = vec![Step::Take];
    for byte in "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".bytes() {
        steps.push(send([byte]));
    }
    let raw = Raw::new(vec![steps]).await;
    assert_eq!(text(post(&upstream(&raw)).await.unwrap()).await.unwrap(), "ok");
}

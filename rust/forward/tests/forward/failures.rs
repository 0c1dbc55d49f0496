//! Upstreams that do wrong: which failure it is, and whether another may be asked.

use std::time::Duration;

use tokio::net::TcpListener;
use xetway_forward::{Body, HeaderMap, Limits, Protocol, Request, Settings, Upstream};

use crate::raw::{LIMITS, Raw, SOON, Step, answered, ask, ok, post, send, settings, text, upstream, verdict};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = post(&Upstream::new(&settings(&format!("http://{host}"))).unwrap())
        .await
        .unwrap_err();
    assert_eq!(verdict(&error), ("connect_failed", true));
    assert!(error.to_string().contains(&host));
}

#[tokio::test]
async fn no_such_name() {
    let error = post(&Upstream::new(&settings("http://nowhere.invalid:80")).unwrap())
        .await
        .unwrap_err();
    assert_eq!(verdict(&error), ("dns_failure", true));
}

#[tokio::test]
async fn too_slow_to_connect_or_too_many() {
    // A TLS handshake that nobody answers is part of connecting.
    let raw = Raw::new(vec![vec![Step::UntilGone]]).await;
    let slow = Settings {
        url: raw.url.replace("http:", "https:"),
        connect_timeout: SOON,
        ..settings("")
    };
    let error = post(&Upstream::new(&slow).unwrap()).await.unwrap_err();
    assert_eq!(verdict(&error), ("connect_timed_out", true));

    let mut raw = Raw::new(vec![vec![Step::Take, Step::Pause, ok("first")]]).await;
    let narrow = Settings {
        max_connections: 1,
        connect_timeout: SOON,
        ..settings(&raw.url)
    };
    let upstream = Upstream::new(&narrow).unwrap();
    let first = tokio::spawn({
        let upstream = upstream.clone();
        async move { post(&upstream).await }
    });
    raw.request().await;
    assert_eq!(verdict(&post(&upstream).await.unwrap_err()), ("upstream_busy", true));
    raw.go();
    assert_eq!(text(first.await.unwrap().unwrap()).await.unwrap(), "first");
}

#[tokio::test]
async fn silence_before_the_head() {
    for (sent, retryable) in [("", true), ("HTTP/1.1 200 OK\r\nContent-Le", false)] {
        let mut raw = Raw::new(vec![vec![Step::Take, send(sent), Step::UntilGone]]).await;
        let limits = Limits {
            first_byte: SOON,
            ..LIMITS
        };
        let error = upstream(&raw).send(ask("POST", "/", ""), limits).await.unwrap_err();
        assert_eq!(verdict(&error), ("first_byte_timed_out", retryable));
        raw.gone().await;
        let raw = Raw::new(vec![vec![Step::Take, send(sent), Step::UntilGone]]).await;
        let limits = Limits { total: SOON, ..LIMITS };
        let error = upstream(&raw).send(ask("POST", "/", ""), limits).await.unwrap_err();
        assert_eq!(verdict(&error), ("timed_out", retryable));
    }
}

#[tokio::test]
async fn silence_in_the_body() {
    for (limits, code) in [
        (Limits { idle: SOON, ..LIMITS }, "stalled"),
        (
            Limits {
                total: Duration::from_millis(300),
                ..LIMITS
            },
            "timed_out",
        ),
    ] {
        let stalls = format!("{CHUNKED}5\r\nhello\r\n");
        let mut raw = Raw::new(vec![vec![Step::Take, send(stalls), Step::UntilGone]]).await;
        let answer = upstream(&raw).send(ask("POST", "/", ""), limits).await.unwrap();
        let Body::Open(mut reading) = answer.body else { panic!() };
        assert_eq!(reading.next().await.unwrap().unwrap(), "hello");
        let error = reading.next().await.unwrap_err();
        assert_eq!(verdict(&error), (code, false));
        raw.gone().await;
        assert_eq!(verdict(&reading.next().await.unwrap_err()), (code, false));
    }
    let raw = Raw::new(vec![vec![
        Step::Take,
        send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        Step::UntilGone,
    ]])
    .await;
    let limits = Limits { idle: SOON, ..LIMITS };
    let error = upstream(&raw).send(ask("POST", "/", ""), limits).await.unwrap_err();
    assert_eq!(verdict(&error), ("stalled", false));
}

#[tokio::test]
async fn connections_that_end_too_early() {
    let cut = |sent: &str| vec![vec![Step::Take, send(sent)]];
    let reset = |sent: &str| vec![vec![Step::Take, send(sent), Step::Reset]];
    for (scripts, expected) in [
        (cut(""), ("connection_reset", true)),
        (reset(""), ("connection_reset", true)),
        (cut("HTTP/1.1 200 OK\r\nContent-"), ("connection_cut", false)),
        (
            cut("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
            ("connection_cut", false),
        ),
        (
            cut("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\nhalf"),
            ("connection_cut", false),
        ),
        (cut(&format!("{CHUNKED}5\r\nhello\r\n")), ("connection_cut", false)),
        (cut(&format!("{CHUNKED}5\r\nhel")), ("connection_cut", false)),
        (cut(&format!("{CHUNKED}5\r\nhello\r\n0\r\n")), ("connection_cut", false)),
        (cut(&format!("{CHUNKED}5\r\nhello\r\n0")), ("connection_cut", false)),
    ] {
        let raw = Raw::new(scripts).await;
        let failure = match post(&upstream(&raw)).await {
            Ok(answer) => text(answer).await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(verdict(&failure), expected, "{failure}");
    }
}

#[tokio::test]
async fn answers_that_are_none() {
    for bytes in [
        "SSH-2.0-nonsense\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\rc\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc",
    ] {
        let failure = match answered(bytes).await {
            Ok(answer) => text(answer).await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(verdict(&failure), ("bad_answer", false), "{bytes:?}: {failure}");
    }
}

#[tokio::test]
async fn heads_that_are_too_large() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(200));
    for head in [long, many] {
        let told = answered(head).await.map(|answer| answer.status);
        assert_eq!(verdict(&told.unwrap_err()), ("head_too_large", false));
    }
    let fits = format!(
        "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n",
        "x".repeat(60_000)
    );
    assert_eq!(text(answered(fits).await.unwrap()).await.unwrap(), "");
}

#[tokio::test]
async fn what_cannot_be_asked() {
    let request = |method: &str, path: &'static str| Request::new(method, path.into(), HeaderMap::new(), "".into());
    for (method, path) in [
        ("G ET", "/"),
        ("", "/"),
        ("CONNECT", "/"),
        ("GET", ""),
        ("GET", "x"),
        ("GET", "/#x"),
    ] {
        assert_eq!(request(method, path).unwrap_err().code(), "bad_header");
    }
    let raw = Raw::new(vec![vec![Step::Take, ok("")]]).await;
    for path in ["/a b", "/\r\nEvil: 1", "/\0"] {
        let error = upstream(&raw)
            .send(request("GET", path).unwrap(), LIMITS)
            .await
            .unwrap_err();
        assert_eq!(verdict(&error), ("bad_header", false));
    }
}

#[test]
fn settings_that_cannot_be_used() {
    for url in [
        "",
        "nonsense",
        "ftp://host",
        "http://",
        "http://u:p@host",
        "http://host/?q=1",
        "http://host/#f",
    ] {
        let Err(error) = Upstream::new(&settings(url)) else {
            panic!("{url}")
        };
        assert_eq!(error.code(), "bad_setting", "{url}");
    }
    for (bundle, protocol) in [
        (&b""[..], Protocol::Http1),
        (b"-----BEGIN CERTIFICATE-----\n!!\n", Protocol::Http2),
    ] {
        let bundled = Settings {
            ca_bundle: Some(bundle.to_vec()),
            protocol,
            ..settings("https://host")
        };
        assert!(matches!(Upstream::new(&bundled), Err(error) if error.code() == "bad_setting"));
    }
    let headed = Settings {
        headers: vec![(b"a".to_vec(), b"s3cret\n".to_vec())],
        ..settings("http://host")
    };
    let Err(error) = Upstream::new(&headed) else { panic!() };
    assert_eq!(verdict(&error), ("bad_header", false));
    assert!(!error.to_string().contains("s3cret"));
}

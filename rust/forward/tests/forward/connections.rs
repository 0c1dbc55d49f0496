//! When a connection is used again, and when it ends.

use futures_util::future::join_all;
use xetway_forward::{Body, HeaderMap, Request, Settings, Upstream};

use crate::raw::{LIMITS, Raw, Step, ask, ok, post, send, settings, text, upstream, verdict};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test]
async fn a_connection_is_used_again() {
    let whole = format!("{CHUNKED}5\r\nhello\r\n0\r\n\r\n");
    let nothing = "HTTP/1.1 204 No Content\r\n\r\n";
    let steps = vec![
        Step::Take,
        ok("one"),
        Step::Take,
        send(whole),
        Step::Take,
        send(nothing),
        Step::Take,
        ok("four"),
    ];
    let mut raw = Raw::new(vec![steps]).await;
    let upstream = upstream(&raw);
    for expected in ["one", "hello", "", "four"] {
        assert_eq!(text(post(&upstream).await.unwrap()).await.unwrap(), expected);
    }
    assert_eq!(raw.connections(), 1);
}

#[tokio::test]
async fn an_answer_to_head_leaves_the_connection_usable() {
    let head = send("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
    let mut raw = Raw::new(vec![vec![Step::Take, head, Step::Take, ok("two")]]).await;
    let upstream = upstream(&raw);
    upstream.send(ask("HEAD", "/", ""), LIMITS).await.unwrap();
    assert_eq!(text(post(&upstream).await.unwrap()).await.unwrap(), "two");
    assert_eq!(raw.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_is_to_be_closed_is_not_kept() {
    let closing = send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    let mut raw = Raw::new(vec![vec![Step::Take, closing, Step::UntilGone]]).await;
    let upstream = upstream(&raw);
    for _ in 0..2 {
        assert_eq!(text(post(&upstream).await.unwrap()).await.unwrap(), "ok");
        raw.gone().await;
        assert_eq!(upstream.idle_connections(), 0);
    }
}

#[tokio::test]
async fn bytes_after_an_answer_are_no_answer() {
    let poisoned = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let mut raw = Raw::new(vec![
        vec![Step::Take, send(poisoned), Step::UntilGone],
        vec![Step::Take, ok("own")],
    ])
    .await;
    let upstream = upstream(&raw);
    assert_eq!(text(post(&upstream).await.unwrap()).await.unwrap(), "ok");
    assert_eq!(upstream.idle_connections(), 0);
    assert_eq!(text(post(&upstream).await.unwrap()).await.unwrap(), "own");
    assert_eq!(raw.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_died_unused_is_replaced() {
    for end in [Step::Pause, Step::Reset] {
        let mut raw = Raw::new(vec![vec![Step::Take, ok("one"), end], vec![Step::Take, ok("two")]]).await;
        let upstream = upstream(&raw);
        assert_eq!(text(post(&upstream).await.unwrap()).await.unwrap(), "one");
        raw.go();
        raw.gone().await;
        assert_eq!(text(post(&upstream).await.unwrap()).await.unwrap(), "two");
    }
}

#[tokio::test]
async fn a_connection_that_dies_of_the_next_request_is_replaced_once() {
    let dies = vec![Step::Take, ok("one"), Step::Take, Step::Reset];
    let mut raw = Raw::new(vec![
        dies,
        vec![Step::Take, ok("two"), Step::Take, Step::Reset],
        vec![Step::Take],
    ])
    .await;
    let upstream = upstream(&raw);
    assert_eq!(text(post(&upstream).await.unwrap()).await.unwrap(), "one");
    assert_eq!(text(post(&upstream).await.unwrap()).await.unwrap(), "two");
    assert_eq!(verdict(&post(&upstream).await.unwrap_err()), ("connection_reset", true));
    assert_eq!(raw.connections(), 3);
}

#[tokio::test]
async fn what_had_begun_to_answer_is_not_asked_again() {
    let mut raw = Raw::new(vec![
        vec![Step::Take, ok("one"), Step::Take, send("HTTP/1.1 200")],
        vec![Step::Take, ok("no")],
    ])
    .await;
    let upstream = upstream(&raw);
    assert_eq!(text(post(&upstream).await.unwrap()).await.unwrap(), "one");
    assert_eq!(verdict(&post(&upstream).await.unwrap_err()), ("connection_cut", false));
    raw.gone().await;
    assert_eq!(raw.connections(), 0);
}

#[tokio::test]
async fn giving_up_ends_the_connection() {
    let mut raw = Raw::new(vec![vec![Step::Take, Step::UntilGone]]).await;
    let upstream = upstream(&raw);
    let waiting = tokio::spawn(async move { post(&upstream).await });
    raw.request().await;
    waiting.abort();
    raw.gone().await;

    let mut raw = Raw::new(vec![vec![
        Step::Take,
        send(format!("{CHUNKED}5\r\nhello\r\n")),
        Step::UntilGone,
    ]])
    .await;
    let upstream = crate::raw::upstream(&raw);
    let answer = post(&upstream).await.unwrap();
    assert!(matches!(answer.body, Body::Open(_)));
    drop(answer);
    raw.gone().await;
    assert_eq!(upstream.idle_connections(), 0);
}

#[tokio::test]
async fn connections_are_bounded_and_waited_for() {
    let mut raw = Raw::new(vec![vec![[Step::Take, ok("ok")]; 50].concat()]).await;
    let narrow = Settings {
        max_connections: 3,
        ..settings(&raw.url)
    };
    let upstream = Upstream::new(&narrow).unwrap();
    let answers = join_all((0..50).map(|_| async { text(post(&upstream).await?).await })).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap() == "ok"));
    assert!((1..=3).contains(&upstream.idle_connections()));
    assert!((1..=3).contains(&raw.connections()));
}

#[tokio::test]
async fn an_early_answer_to_a_long_question_is_told() {
    let refusal = send("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
    let mut raw = Raw::new(vec![vec![refusal, Step::UntilGone]]).await;
    let body = vec![b'x'; 32 << 20];
    let request = Request::new("POST", "/".into(), HeaderMap::new(), body.into()).unwrap();
    let answer = upstream(&raw).send(request, LIMITS).await.unwrap();
    assert_eq!(answer.status, 413);
    raw.gone().await;
}

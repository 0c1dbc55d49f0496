//! Tokens and reconstructions.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use xetway_client::{Cas, Credentials, Error, Http, Options, Request, Secret, StallPolicy};
use xetway_core::Hash;

use crate::server::{Received, Reply, Server};
use crate::{http, http_with, options};

const LOGIN_PAGE: &str = "<!doctype html><title>Sign in</title>";

fn fixed(server: &Server) -> Cas {
    asking(http(), server)
}

fn asking(http: Http, server: &Server) -> Cas {
    let credentials = Credentials::Fixed {
        cas_url: server.url("/base/"),
        token: Secret::from("xet"),
    };
    Cas::new(http, credentials)
}

fn plan(version: &str) -> String {
    let hash = Hash::from_bytes([1; 32]).to_hex();
    let mut json = json!({
        "offset_into_first_range": 3,
        "terms": [{"hash": hash, "unpacked_length": 100, "range": {"start": 0, "end": 1}}],
    });
    if version == "v1" {
        json["fetch_info"] = json!({
            hash: [{"range": {"start": 0, "end": 1}, "url": "https://h/x", "url_range": {"start": 0, "end": 107}}]
        });
    } else {
        json["xorbs"] = json!({
            hash: [{"url": "https://h/x", "ranges": [{"chunks": {"start": 0, "end": 1}, "bytes": {"start": 0, "end": 107}}]}]
        });
    }
    json.to_string()
}

fn targets(server: &Server) -> Vec<String> {
    server.requests().into_iter().map(|request| request.target).collect()
}

fn answer(request: &Received, v2_status: u16) -> Reply {
    match request.target.split('/').nth(2) {
        Some("v2") if v2_status != 200 => Reply::new(v2_status, &[], ""),
        Some(version) => Reply::new(200, &[], plan(version)),
        None => Reply::new(400, &[], ""),
    }
}

#[tokio::test]
async fn version_2_is_asked_with_the_range_and_the_token() {
    let server = Server::start(|_, request| answer(request, 200)).await;
    let plan = fixed(&server)
        .reconstruct(&Hash::ZERO, Some(10..20))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            plan.offset_into_first,
            plan.fetch_for(&plan.terms[0]).unwrap().bytes.clone()
        ),
        (3, 0..108)
    );
    let seen = &server.requests()[0];
    assert_eq!(seen.target, format!("/base/v2/reconstructions/{}", Hash::ZERO));
    assert_eq!(
        (seen.header("range"), seen.header("authorization")),
        (Some("bytes=10-19"), Some("Bearer xet"))
    );
}

#[tokio::test]
async fn version_1_is_the_fallback_and_is_remembered() {
    for status in [404, 501] {
        let server = Server::start(move |_, request| answer(request, status)).await;
        let cas = fixed(&server);
        let plan = cas.reconstruct(&Hash::ZERO, None).await.unwrap().unwrap();
        assert_eq!(plan.terms.len(), 1);
        cas.reconstruct(&Hash::ZERO, None).await.unwrap().unwrap();
        let versions: Vec<_> = targets(&server).iter().map(|target| target[6..8].to_owned()).collect();
        assert_eq!(versions, ["v2", "v1", "v1"], "{status}");
    }
}

#[tokio::test]
async fn an_unknown_file_says_nothing_about_the_version() {
    let server = Server::start(|_, _| Reply::new(404, &[], "")).await;
    let cas = fixed(&server);
    for _ in 0..2 {
        let error = cas.reconstruct(&Hash::ZERO, None).await.unwrap_err();
        assert!(matches!(error, Error::Status { status: 404, .. }));
    }
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn a_range_past_the_end_is_none_and_an_empty_one_asks_nobody() {
    let server = Server::start(|_, _| Reply::new(416, &[], "")).await;
    let cas = fixed(&server);
    assert_eq!(cas.reconstruct(&Hash::ZERO, Some(100..200)).await.unwrap(), None);
    let empty = cas.reconstruct(&Hash::ZERO, Some(5..5)).await.unwrap().unwrap();
    assert!(empty.terms.is_empty());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn what_is_not_a_plan_is_asked_for_again() {
    let server = Server::start(|number, request| match number {
        0 => Reply::new(200, &[("content-type", "text/html")], LOGIN_PAGE),
        1 => Reply::new(200, &[], &plan("v2").as_bytes()[..50]),
        _ => answer(request, 200),
    })
    .await;
    let plan = fixed(&server).reconstruct(&Hash::ZERO, None).await.unwrap().unwrap();
    assert_eq!((plan.terms.len(), server.requests().len()), (1, 3));
}

#[tokio::test]
async fn a_plan_that_stalls_is_asked_for_again() {
    let server = Server::start(|number, request| match number {
        0 => answer(request, 200).hang(50),
        _ => answer(request, 200),
    })
    .await;
    let stall = StallPolicy {
        window: Duration::from_millis(50),
        min_bytes: 1000,
    };
    let client = http_with(Options { stall, ..options() }, &[]);
    let plan = asking(client.clone(), &server).reconstruct(&Hash::ZERO, None).await;
    assert_eq!(plan.unwrap().unwrap().terms.len(), 1);
    assert_eq!((server.requests().len(), client.stats().stalled), (2, 1));
}

#[tokio::test]
async fn a_plan_that_makes_no_sense_is_a_bad_answer() {
    let server = Server::start(|_, _| Reply::new(200, &[], "{}")).await;
    let error = fixed(&server).reconstruct(&Hash::ZERO, None).await.unwrap_err();
    assert_eq!((error.code(), server.requests().len()), ("bad_answer", 3));
    assert!(error.to_string().contains(&format!("127.0.0.1:{}", server.port)));
}

/// A Hub and a store in one: tokens are numbered.
async fn hub(lives_s: u64, accepts: &'static str) -> Server {
    let port = Arc::new(std::sync::OnceLock::<u16>::new());
    let server = Server::start({
        let port = Arc::clone(&port);
        move |number, request| {
            if request.target == "/token" {
                assert_eq!(request.header("authorization"), Some("Bearer hub"));
                let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
                let cas_url = format!("http://127.0.0.1:{}", port.get().unwrap());
                let json = json!({"casUrl": cas_url, "accessToken": format!("t{number}"), "exp": now_s + lives_s});
                return Reply::new(200, &[], json.to_string());
            }
            let token = request.header("authorization").unwrap();
            let welcome = accepts.is_empty() || token == accepts;
            Reply::new(if welcome { 200 } else { 401 }, &[], token)
        }
    })
    .await;
    port.set(server.port).unwrap();
    server
}

fn refreshing(server: &Server) -> Cas {
    let credentials = Credentials::Refresh {
        url: server.url("/token"),
        headers: vec![("authorization".to_owned(), Secret::from("Bearer hub"))],
    };
    assert!(!format!("{credentials:?}").contains("hub"));
    Cas::new(http(), credentials)
}

fn count(server: &Server, target: &str) -> usize {
    targets(server).iter().filter(|seen| *seen == target).count()
}

#[tokio::test]
async fn one_token_serves_all_until_it_is_about_to_end() {
    let server = hub(3600, "").await;
    let cas = refreshing(&server);
    let asking = (0..16).map(|_| {
        let cas = cas.clone();
        tokio::spawn(async move { cas.send(Request::new("GET", "/v1/any")).await.unwrap().status })
    });
    for asked in asking.collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap(), 200);
    }
    assert_eq!((count(&server, "/token"), count(&server, "/v1/any")), (1, 16));

    let server = hub(29, "").await;
    let cas = refreshing(&server);
    for _ in 0..3 {
        cas.send(Request::new("GET", "/v1/any")).await.unwrap();
    }
    assert_eq!(count(&server, "/token"), 3);
}

#[tokio::test]
async fn what_is_not_a_token_is_asked_for_again() {
    let server = Server::start(|number, _| match number {
        0 => Reply::new(200, &[("content-type", "text/html")], LOGIN_PAGE),
        1 => Reply::new(200, &[], r#"{"casUrl":"http"#),
        _ => Reply::new(200, &[], r#"{"casUrl":"http://h","accessToken":"t","exp":1}"#),
    })
    .await;
    let access = refreshing(&server).access().await.unwrap();
    assert_eq!((access.cas_url.as_str(), server.requests().len()), ("http://h", 3));
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    // Request 0 gives t0, 1 is refused, 2 gives t2.
    let server = hub(3600, "Bearer t2").await;
    let answer = refreshing(&server).send(Request::new("GET", "/v1/any")).await.unwrap();
    assert_eq!((answer.status, answer.body.as_ref()), (200, &b"Bearer t2"[..]));

    let server = hub(3600, "Bearer none").await;
    let refused = refreshing(&server).send(Request::new("GET", "/v1/any")).await;
    assert!(matches!(refused, Err(Error::Status { status: 401, .. })));
    assert_eq!(count(&server, "/token"), 2);

    let server = Server::start(|_, _| Reply::new(401, &[], "")).await;
    let refused = fixed(&server).send(Request::new("GET", "/v1/any")).await;
    assert!(matches!(refused, Err(Error::Status { status: 401, .. })));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_refusal_of_the_hub_reaches_the_caller() {
    let server = Server::start(|_, _| Reply::new(403, &[("x-error-code", "GatedRepo")], "")).await;
    let error = refreshing(&server).access().await.unwrap_err();
    assert!(matches!(error, Error::Status { status: 403, .. }));
    for body in [
        "",
        "{}",
        r#"{"casUrl":"ftp://x","accessToken":"secret","exp":1}"#,
        r#"{"casUrl":1}"#,
    ] {
        let server = Server::start(move |_, _| Reply::new(200, &[], body)).await;
        let error = refreshing(&server).access().await.unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

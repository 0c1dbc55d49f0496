//! Redirects: which are followed, with what, and when they are asked for again.

use xetway_client::{Error, Request, Secret, TransportKind};

use crate::http;
use crate::http::{kind, read};
use crate::server::{Reply, Server};

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_origin() {
    let other = Server::start(|_, _| Reply::new(200, &[], "there")).await;
    let location = other.url("/there?sig=1");
    let server = Server::start(move |_, request| match request.target.as_str() {
        "/away" => Reply::new(302, &[("location", &location)], ""),
        "/here" => Reply::new(307, &[("location", "/end")], ""),
        "/loop" => Reply::new(302, &[("location", "/loop")], ""),
        _ => Reply::new(200, &[], "here"),
    })
    .await;
    let client = http();
    let headers = ["authorization", "cookie", "x-secret", "x-xet-session-id"]
        .map(|name| (name.to_owned(), Secret::from("value")));
    let mut body = client.open(&server.url("/away"), &headers, Some(0..5)).await.unwrap();
    assert_eq!(body.next().await.unwrap().unwrap().as_ref(), b"there");
    let seen = &other.requests()[0];
    assert_eq!(
        (seen.target.as_str(), seen.header("range")),
        ("/there?sig=1", Some("bytes=0-4"))
    );
    for name in ["authorization", "cookie", "x-secret"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(seen.header("x-xet-session-id"), Some("value"));

    let mut body = client.open(&server.url("/here"), &headers, None).await.unwrap();
    assert_eq!(body.next().await.unwrap().unwrap().as_ref(), b"here");
    assert_eq!(server.requests()[2].header("authorization"), Some("value"));

    let error = client.open(&server.url("/loop"), &[], None).await.unwrap_err();
    assert_eq!(kind(&error), TransportKind::Protocol);

    let request = |target: &str, follow| Request {
        follow,
        ..Request::new("GET", server.url(target))
    };
    assert_eq!(
        client.request(request("/here", true)).await.unwrap().body.as_ref(),
        b"here"
    );
    assert_eq!(client.request(request("/here", false)).await.unwrap().status, 307);
    assert_eq!(client.request(request("/away", true)).await.unwrap().status, 302);
}

#[tokio::test]
async fn an_address_that_is_refused_where_a_redirect_led_is_asked_for_once_more() {
    let signed = Server::start(|_, request| match request.target.as_str() {
        "/file?sig=2" => Reply::new(200, &[], "content"),
        _ => Reply::new(403, &[], "expired"),
    })
    .await;
    let signed_url = signed.url("/file?sig=");
    let server = Server::start(move |number, request| match request.target.as_str() {
        "/never" => Reply::new(302, &[("location", &format!("{signed_url}0"))], ""),
        "/refused" => Reply::new(403, &[], "not yours"),
        _ => Reply::new(302, &[("location", &format!("{signed_url}{}", number + 1))], ""),
    })
    .await;
    let client = http();
    assert_eq!(read(&client, &server.url("/renewed"), None).await.unwrap(), b"content");
    assert_eq!((server.requests().len(), client.stats().retries), (2, 1));
    for (target, requests) in [("/never", 4), ("/refused", 5)] {
        let error = client.open(&server.url(target), &[], None).await.unwrap_err();
        assert!(matches!(error, Error::Status { status: 403, .. }), "{error}");
        assert_eq!(server.requests().len(), requests);
    }
}

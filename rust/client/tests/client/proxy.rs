//! Proxies: forwarding, tunnels, SOCKS; with credentials, and without being used where exempt.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use xetway_client::{Options, TransportKind};

use crate::server::{Received, Reply, Server, read_request, unused_port};
use crate::tls::{body_of, secure};
use crate::{http_with, options};

/// `user:p@ss` in base64.
const BASIC: &str = "Basic dXNlcjpwQHNz";

/// An HTTP proxy that wants credentials; it forwards to `port`, whatever the host.
async fn http_proxy(port: u16) -> Server {
    let log: Arc<Mutex<Vec<Received>>> = Arc::default();
    Server::listen({
        let log = Arc::clone(&log);
        move |mut stream| {
            let log = Arc::clone(&log);
            async move {
                let Some(request) = read_request(&mut stream).await else {
                    return;
                };
                log.lock().unwrap().push(request.clone());
                if request.header("proxy-authorization") != Some(BASIC) {
                    let refusal = b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n";
                    let _ = stream.write_all(refusal).await;
                    return;
                }
                if request.target.starts_with("refuse.example") {
                    let _ = stream.write_all(b"HTTP/1.1 502 No\r\ncontent-length: 0\r\n\r\n").await;
                    return;
                }
                let mut onward = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                if request.method == "CONNECT" {
                    stream.write_all(b"HTTP/1.1 200 Fine\r\n\r\n").await.unwrap();
                } else {
                    let head = format!("{} {} HTTP/1.1\r\nhost: h\r\n\r\n", request.method, request.target);
                    onward.write_all(head.as_bytes()).await.unwrap();
                }
                let _ = copy_bidirectional(&mut stream, &mut onward).await;
            }
        }
    })
    .await
    .with_log(log)
}

/// A SOCKS 5 proxy that wants `user` and `p@ss`; logs the host asked for as a target.
async fn socks_proxy(port: u16) -> Server {
    let log: Arc<Mutex<Vec<Received>>> = Arc::default();
    Server::listen({
        let log = Arc::clone(&log);
        move |mut stream| {
            let log = Arc::clone(&log);
            async move {
                let mut greeting = [0; 2];
                stream.read_exact(&mut greeting).await.unwrap();
                let mut methods = vec![0; greeting[1].into()];
                stream.read_exact(&mut methods).await.unwrap();
                if !methods.contains(&2) {
                    let _ = stream.write_all(&[5, 0xff]).await;
                    return;
                }
                stream.write_all(&[5, 2]).await.unwrap();
                stream.read_u8().await.unwrap();
                let mut fields = Vec::new();
                for _ in 0..2 {
                    let mut field = vec![0; stream.read_u8().await.unwrap().into()];
                    stream.read_exact(&mut field).await.unwrap();
                    fields.push(field);
                }
                let welcome = fields == [b"user".to_vec(), b"p@ss".to_vec()];
                stream.write_all(&[1, u8::from(!welcome)]).await.unwrap();
                if !welcome {
                    return;
                }
                let mut head = [0; 4];
                stream.read_exact(&mut head).await.unwrap();
                let length = match head[3] {
                    1 => 4,
                    3 => stream.read_u8().await.unwrap().into(),
                    other => panic!("address type {other}"),
                };
                let mut address = vec![0; length];
                stream.read_exact(&mut address).await.unwrap();
                stream.read_u16().await.unwrap();
                log.lock().unwrap().push(Received {
                    method: head[3].to_string(),
                    target: String::from_utf8_lossy(&address).into_owned(),
                    headers: Vec::new(),
                    body: Vec::new(),
                });
                let mut onward = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut onward).await;
            }
        }
    })
    .await
    .with_log(log)
}

async fn plain() -> Server {
    Server::start(|_, _| Reply::new(200, &[], "plain")).await
}

#[tokio::test]
async fn http_goes_through_the_proxy_with_decoded_credentials() {
    let server = plain().await;
    let proxy = http_proxy(server.port).await;
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let env = [(variable, format!("http://user:p%40ss@127.0.0.1:{}", proxy.port))];
        let client = http_with(options(), &env);
        assert_eq!(
            body_of(&client, "http://somewhere.example/a?b=c").await.unwrap(),
            b"plain"
        );
    }
    assert_eq!(proxy.requests()[0].target, "http://somewhere.example/a?b=c");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn https_goes_through_a_tunnel() {
    let secure = secure("somewhere.example").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("root.pem");
    std::fs::write(&file, &secure.root).unwrap();
    let proxy = http_proxy(secure.server.port).await;
    let env = [("HTTPS_PROXY", format!("user:p%40ss@127.0.0.1:{}", proxy.port))];
    let trusting = Options {
        ca_bundle: Some(file),
        ..options()
    };
    let url = "https://somewhere.example/?sig=secret";
    assert_eq!(body_of(&http_with(trusting, &env), url).await.unwrap(), b"secure");
    let seen = &proxy.requests()[0];
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("CONNECT", "somewhere.example:443")
    );
    assert_eq!(seen.header("authorization"), None);

    let error = body_of(&http_with(options(), &env), url).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the certificate of somewhere.example is not trusted"),
        "{error}"
    );
}

#[tokio::test]
async fn socks_with_credentials_leaves_names_to_the_proxy_if_told_so() {
    let server = plain().await;
    let proxy = socks_proxy(server.port).await;
    let env = |scheme: &str, user: &str| [("ALL_PROXY", format!("{scheme}://{user}127.0.0.1:{}", proxy.port))];
    let client = http_with(options(), &env("socks5h", "user:p%40ss@"));
    assert_eq!(body_of(&client, "http://somewhere.example/").await.unwrap(), b"plain");
    let client = http_with(options(), &env("socks5", "user:p%40ss@"));
    assert_eq!(body_of(&client, "http://127.0.0.1:9/").await.unwrap(), b"plain");
    let seen = proxy.requests();
    assert_eq!(
        (seen[0].method.as_str(), seen[0].target.as_str()),
        ("3", "somewhere.example")
    );
    assert_eq!(seen[1].method, "1");
    for user in ["", "user:hunter2@"] {
        let client = http_with(options(), &env("socks5h", user));
        let error = body_of(&client, "http://somewhere.example/").await.unwrap_err();
        assert_eq!(error.code(), "proxy_auth_failed", "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn exempt_hosts_are_reached_directly() {
    let server = plain().await;
    let proxy = http_proxy(1).await;
    let env = [
        ("HTTP_PROXY", format!("http://127.0.0.1:{}", proxy.port)),
        ("NO_PROXY", "example.com,127.0.0.0/8".to_owned()),
    ];
    assert_eq!(
        body_of(&http_with(options(), &env), &server.url("/")).await.unwrap(),
        b"plain"
    );
    let off = Options {
        use_proxies: false,
        ..options()
    };
    assert_eq!(
        body_of(&http_with(off, &env[..1]), &server.url("/")).await.unwrap(),
        b"plain"
    );
    assert!(proxy.requests().is_empty());
}

#[tokio::test]
async fn failures_of_a_proxy_are_its_own() {
    let gone = unused_port();
    let proxy = http_proxy(1).await;
    let urls = [
        "http://somewhere.example/?sig=secret",
        "https://somewhere.example/?sig=secret",
    ];
    for url in urls {
        let env = [("ALL_PROXY", format!("http://user:hunter2@127.0.0.1:{}", proxy.port))];
        let error = body_of(&http_with(options(), &env), url).await.unwrap_err();
        assert_eq!(
            (error.code(), error.is_retryable()),
            ("proxy_auth_failed", false),
            "{error}"
        );
        let name = format!("127.0.0.1:{} (from ALL_PROXY)", proxy.port);
        assert!(error.to_string().contains(&name), "{error}");
        assert!(
            !error.to_string().contains("hunter2") && !error.to_string().contains("secret"),
            "{error}"
        );

        for scheme in ["http", "socks5h"] {
            let env = [("ALL_PROXY", format!("{scheme}://user:hunter2@127.0.0.1:{gone}"))];
            let error = body_of(&http_with(options(), &env), url).await.unwrap_err();
            assert!(
                matches!(
                    &error,
                    xetway_client::Error::Transport {
                        kind: TransportKind::Proxy,
                        ..
                    }
                ),
                "{error}"
            );
            assert!(
                error.to_string().contains("NO_PROXY") && !error.to_string().contains("hunter2"),
                "{error}"
            );
        }
    }
    let env = [("HTTPS_PROXY", format!("http://user:p%40ss@127.0.0.1:{}", proxy.port))];
    let error = body_of(&http_with(options(), &env), "https://refuse.example/")
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("would not connect to refuse.example"),
        "{error}"
    );
    assert!(error.is_retryable());
}

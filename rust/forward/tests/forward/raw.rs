//! An upstream made of raw bytes: each connection it takes plays the next script.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use xetway_forward::{Answer, Body, Error, Limits, Protocol, Request, RequestHeaders, Result, Settings, Upstream};

/// More than any test needs, and less than it takes to be called hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// A limit that a test waits for.
pub(crate) const SOON: Duration = Duration::from_millis(50);

/// What an upstream does on a connection.
#[derive(Clone)]
pub(crate) enum Step {
    /// Read a request, head and body.
    Take,
    Send(Bytes),
    /// Wait until the other side has ended the connection.
    UntilGone,
    /// End it with a reset.
    Reset,
    /// Wait until [`Raw::go`].
    Pause,
}

pub(crate) fn send(bytes: impl AsRef<[u8]>) -> Step {
    Step::Send(Bytes::copy_from_slice(bytes.as_ref()))
}

/// An answer with a body and its length.
pub(crate) fn ok(body: &str) -> Step {
    send(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// What happened at the upstream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Connected,
    Request(String),
    Gone,
}

pub(crate) struct Raw {
    pub(crate) url: String,
    events: UnboundedReceiver<Event>,
    gate: Arc<tokio::sync::Notify>,
}

impl Raw {
    /// Listen; the last script is played on all connections that follow.
    pub(crate) async fn new(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (told, events) = unbounded_channel();
        let gate = Arc::new(tokio::sync::Notify::new());
        let opened = Arc::clone(&gate);
        let scripts = Mutex::new(scripts);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let script = {
                    let mut scripts = scripts.lock().unwrap();
                    if scripts.len() > 1 {
                        scripts.remove(0)
                    } else {
                        scripts[0].clone()
                    }
                };
                let (told, gate) = (told.clone(), Arc::clone(&opened));
                let _ = told.send(Event::Connected);
                tokio::spawn(async move {
                    for step in script {
                        match step {
                            Step::Take => match read_request(&mut stream).await {
                                Some(request) => drop(told.send(Event::Request(request))),
                                None => break,
                            },
                            Step::Send(bytes) => {
                                if stream.write_all(&bytes).await.is_err() {
                                    break;
                                }
                            }
                            Step::UntilGone => while matches!(stream.read(&mut [0; 4096]).await, Ok(1..)) {},
                            Step::Reset => reset(&stream),
                            Step::Pause => gate.notified().await,
                        }
                    }
                    drop(stream);
                    let _ = told.send(Event::Gone);
                });
            }
        });
        Self { url, events, gate }
    }

    /// Return what happened next.
    pub(crate) async fn event(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .unwrap()
            .unwrap()
    }

    /// Wait for a request, passing over what else happened.
    pub(crate) async fn request(&mut self) -> String {
        loop {
            if let Event::Request(request) = self.event().await {
                return request;
            }
        }
    }

    /// Wait until a connection has ended, passing over what else happened.
    pub(crate) async fn gone(&mut self) {
        while self.event().await != Event::Gone {}
    }

    /// Return how many connections were made and not looked at yet.
    pub(crate) fn connections(&mut self) -> usize {
        let mut connections = 0;
        while let Ok(event) = self.events.try_recv() {
            connections += usize::from(event == Event::Connected);
        }
        connections
    }

    /// Let a pausing connection go on.
    pub(crate) fn go(&self) {
        self.gate.notify_one();
    }
}

/// Closing a socket that holds unread bytes, or lingers for no time, sends a reset.
fn reset(stream: &TcpStream) {
    #[expect(deprecated, reason = "lingering for no time does not block")]
    stream.set_linger(Some(Duration::ZERO)).unwrap();
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut all = Vec::new();
    loop {
        if let Some(end) = all.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(all[..end].to_vec()).unwrap();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if all.len() >= end + 4 + length {
                return Some(String::from_utf8(all).unwrap());
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => all.extend_from_slice(&buffer[..count]),
        }
    }
}

pub(crate) fn settings(url: &str) -> Settings {
    Settings {
        url: url.to_owned(),
        protocol: Protocol::Http1,
        ca_bundle: None,
        headers: Vec::new(),
        max_connections: 64,
        connect_timeout: PATIENCE,
    }
}

pub(crate) fn upstream(raw: &Raw) -> Upstream {
    Upstream::new(&settings(&raw.url)).unwrap()
}

pub(crate) const LIMITS: Limits = Limits {
    first_byte: PATIENCE,
    idle: PATIENCE,
    total: PATIENCE,
};

pub(crate) fn ask(method: &str, path: &'static str, body: &'static str) -> Request {
    let mut headers = RequestHeaders::with_capacity(1);
    headers.relay(b"x-asked", b"yes").unwrap();
    Request::new(method, path.into(), headers.into_map(), body.into()).unwrap()
}

pub(crate) async fn post(upstream: &Upstream) -> Result<Answer> {
    upstream.send(ask("POST", "/v1/x?y=1", "question"), LIMITS).await
}

/// Ask an upstream that answers with these bytes, and then ends the connection.
pub(crate) async fn answered(bytes: impl AsRef<[u8]>) -> Result<Answer> {
    let raw = Raw::new(vec![vec![Step::Take, send(bytes)]]).await;
    post(&upstream(&raw)).await
}

/// Read an answer to its end.
pub(crate) async fn text(answer: Answer) -> Result<String> {
    let mut all = Vec::new();
    match answer.body {
        Body::Whole(body) => all.extend_from_slice(&body),
        Body::Open(mut reading) => {
            while let Some(piece) = reading.next().await? {
                all.extend_from_slice(&piece);
            }
        }
    }
    Ok(String::from_utf8(all).unwrap())
}

pub(crate) fn header(answer: &Answer, name: &str) -> Option<String> {
    let values: Vec<_> = answer.headers.get_all(name).iter().collect();
    (!values.is_empty()).then(|| {
        let texts: Vec<_> = values.iter().map(|value| value.to_str().unwrap()).collect();
        texts.join("|")
    })
}

/// Code, and whether another upstream may be asked.
pub(crate) fn verdict(error: &Error) -> (&'static str, bool) {
    (error.code(), error.is_retryable())
}

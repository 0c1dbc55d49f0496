//! An HTTP/1.1 server that does exactly what a test says, over any stream.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The range asked for, half-open; all of it if there is none.
    pub(crate) fn range(&self, length: usize) -> std::ops::Range<usize> {
        let Some(text) = self.header("range") else {
            return 0..length;
        };
        let (start, last) = text.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let end = last.parse::<usize>().map_or(length, |last| last + 1);
        start.parse().unwrap()..end
    }
}

/// What is sent back, byte by byte.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    head: String,
    body: Vec<u8>,
    then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Continue,
    Close,
    Hang,
}

impl Reply {
    pub(crate) fn new(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let mut head = format!("HTTP/1.1 {status} X\r\n");
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        if !headers.iter().any(|(name, _)| *name == "transfer-encoding") {
            head.extend(["content-length: ", &body.len().to_string(), "\r\n"]);
        }
        Self {
            head,
            body,
            then: Then::Continue,
        }
    }

    /// The part of `content` that the request asks for.
    pub(crate) fn part(request: &Received, content: &[u8]) -> Self {
        let range = request.range(content.len());
        let value = format!("bytes {}-{}/{}", range.start, range.end - 1, content.len());
        Self::new(206, &[("content-range", &value)], &content[range])
    }

    /// Send so many bytes of the body, then close.
    pub(crate) fn cut(mut self, bytes: usize) -> Self {
        self.body.truncate(bytes);
        self.then = Then::Close;
        self
    }

    /// Send so many bytes of the body, then nothing for ever.
    pub(crate) fn hang(mut self, bytes: usize) -> Self {
        self.body.truncate(bytes);
        self.then = Then::Hang;
        self
    }
}

/// Answers request number `n` (from 0).
pub(crate) type Answering = dyn Fn(usize, &Received) -> Reply + Send + Sync;

/// A server on a free port of loopback, stopped when dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) log: Arc<Mutex<Vec<Received>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(answering: impl Fn(usize, &Received) -> Reply + Send + Sync + 'static) -> Self {
        let answering: Arc<Answering> = Arc::new(answering);
        let log = Arc::new(Mutex::new(Vec::new()));
        Self::listen({
            let log = Arc::clone(&log);
            move |stream| {
                let (answering, log) = (Arc::clone(&answering), Arc::clone(&log));
                async move { serve(stream, answering, log).await }
            }
        })
        .await
        .with_log(log)
    }

    /// Hand every connection to `connected`.
    pub(crate) async fn listen<F>(connected: impl Fn(tokio::net::TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(connected(stream));
            }
        });
        Self {
            port,
            connections,
            log: Arc::default(),
            task,
        }
    }

    pub(crate) fn with_log(mut self, log: Arc<Mutex<Vec<Received>>>) -> Self {
        self.log = log;
        self
    }

    pub(crate) fn url(&self, target: &str) -> String {
        format!("http://127.0.0.1:{}{target}", self.port)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> Vec<Received> {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answer the requests of one connection until one of them closes it.
pub(crate) async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answering: Arc<Answering>,
    log: Arc<Mutex<Vec<Received>>>,
) {
    while let Some(request) = read_request(&mut stream).await {
        let number = {
            let mut log = log.lock().unwrap();
            log.push(request.clone());
            log.len() - 1
        };
        let reply = answering(number, &request);
        let head = format!("{}\r\n", reply.head);
        if stream.write_all(head.as_bytes()).await.is_err() {
            return;
        }
        if request.method != "HEAD" && stream.write_all(&reply.body).await.is_err() {
            return;
        }
        let _ = stream.flush().await;
        match reply.then {
            Then::Continue => {}
            Then::Close => {
                let _ = stream.shutdown().await;
                return;
            }
            Then::Hang => std::future::pending().await,
        }
    }
}

/// Read one request; `None` at the end of the connection.
pub(crate) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Received> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let text = String::from_utf8(head).unwrap();
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some(Received {
        method,
        target,
        headers,
        body,
    })
}

/// A port nobody listens on.
pub(crate) fn unused_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

//! A client's connection, kept for one question after another.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::answer::{Body, Head};

pub(crate) const BUFFER_BYTES: usize = 64 * 1024;

/// What has come of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Free,
    Waiting,
    /// All of it is there: whether with status 200.
    Answered(bool),
    /// The server closed the connection, or it broke: whether in an answer.
    Closed(bool),
}

pub(crate) struct Connection {
    stream: TcpStream,
    token: Token,
    /// What is there of a head.
    head: Vec<u8>,
    body: Option<Body>,
    good: bool,
    pub(crate) waiting: bool,
    /// When the question was to be asked.
    pub(crate) asked: Instant,
}

impl Connection {
    pub(crate) fn open(to: SocketAddr, token: Token, registry: &Registry) -> io::Result<Self> {
        let stream = std::net::TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, token, Interest::READABLE)?;
        Ok(Self {
            stream,
            token,
            head: Vec::new(),
            body: None,
            good: false,
            waiting: false,
            asked: Instant::now(),
        })
    }

    pub(crate) fn reopen(&mut self, to: SocketAddr, registry: &Registry) -> io::Result<()> {
        *self = Self::open(to, self.token, registry)?;
        Ok(())
    }

    /// Send a question; its latency counts from `asked`. It fits in any socket's buffer.
    pub(crate) fn ask(&mut self, question: &[u8], asked: Instant) -> io::Result<()> {
        self.asked = asked;
        self.waiting = true;
        let sent = self.stream.write(question)?;
        if sent == question.len() {
            Ok(())
        } else {
            Err(ErrorKind::WriteZero.into())
        }
    }

    /// Read what is there; the answer's content goes to `content`.
    pub(crate) fn read(&mut self, buffer: &mut [u8], mut content: impl FnMut(&[u8])) -> State {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return State::Closed(self.waiting),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.state(),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return State::Closed(self.waiting),
            };
            self.take(buffer.get(..count).unwrap_or_default(), &mut content);
            if self.body == Some(Body::END) {
                self.body = None;
                self.waiting = false;
                return State::Answered(self.good);
            }
            if count < buffer.len() {
                return self.state(); // a short read: there is no more
            }
        }
    }

    fn state(&self) -> State {
        if self.waiting { State::Waiting } else { State::Free }
    }

    fn take(&mut self, input: &[u8], content: impl FnMut(&[u8])) {
        if let Some(body) = &mut self.body {
            body.take(input, content);
            return;
        }
        self.head.extend_from_slice(input);
        let Some(head) = Head::parse(&self.head) else { return };
        let mut body = head.body;
        self.good = head.line.get(9..12) == Some(b"200");
        body.take(self.head.get(head.len..).unwrap_or_default(), content);
        self.body = Some(body);
        self.head.clear();
    }
}

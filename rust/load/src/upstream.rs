//! A model server that takes no time: the same answer to every question, or events at the pace the question names.
//!
//! `max_completion_tokens` in a question for a stream is the number of events, `seed` the microseconds between two of
//! them; 0 sends them one by one without a pause. Prints the port it listens on.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token, Waker};

use crate::answer::{Body, Head, find, number};
use crate::options::Options;
use crate::ticker::Ticker;

const LISTENER: Token = Token(usize::MAX);
const TICK: Token = Token(usize::MAX - 1);
const TICK_EVERY: Duration = Duration::from_micros(400);
const ANSWER: &str = concat!(
    r#"{"id":"chatcmpl-0123456789abcdef","object":"chat.completion","created":1760000000,"model":"m","#,
    r#""choices":[{"index":0,"message":{"role":"assistant","content":"The river that comes out of the lake is "#,
    r#"longer, by about forty kilometres over its whole course."},"finish_reason":"stop","logprobs":null}],"usage":"#,
    r#"{"prompt_tokens":52,"completion_tokens":19,"total_tokens":71}}"#
);
const MODELS: &str = r#"{"object":"list","data":[{"id":"m","object":"model"}],"model_path":"m","status":"ok"}"#;
const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const EVENT: &str = concat!(
    r#"data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1760000000,"model":"m","#,
    r#""choices":[{"index":0,"delta":{"content":"0000000000000000000"},"finish_reason":null}]}"#,
    "\n\n"
);
const LAST: &[u8] = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
/// Longer streams without pauses go out in larger pieces.
const LONG: usize = 1000;
const AT_ONCE: usize = 256;

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    /// What the socket did not take.
    unsent: Vec<u8>,
    events_left: usize,
    every: Duration,
}

struct Upstream {
    event: Vec<u8>,
    stamp_at: usize,
    answer: Vec<u8>,
    models: Vec<u8>,
    clients: HashMap<Token, Client>,
    due: BinaryHeap<Reverse<(Instant, Token)>>,
    next: usize,
}

pub(crate) fn run(_: &Options) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let ticker = Ticker::new(Waker::new(poll.registry(), TICK)?, TICK_EVERY)?;
    println!("{}", listener.local_addr()?.port());
    let mut upstream = Upstream::new();
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                LISTENER => upstream.accept(&listener, poll.registry())?,
                TICK => {}
                token => upstream.serve(token, event),
            }
        }
        upstream.send_due(Instant::now());
        ticker.run(!upstream.due.is_empty());
    }
}

fn whole(body: &str) -> Vec<u8> {
    let len = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len}\r\n\r\n{body}").into_bytes()
}

impl Upstream {
    fn new() -> Self {
        let event = format!("{:x}\r\n{EVENT}\r\n", EVENT.len()).into_bytes();
        let stamp_at = find(&event, b"0000000000000000000").unwrap_or(0);
        let (answer, models) = (whole(ANSWER), whole(MODELS));
        Self {
            event,
            stamp_at,
            answer,
            models,
            clients: HashMap::new(),
            due: BinaryHeap::new(),
            next: 0,
        }
    }

    fn accept(&mut self, listener: &TcpListener, registry: &Registry) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let token = Token(self.next);
            self.next += 1;
            registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            let (input, unsent) = (Vec::new(), Vec::new());
            self.clients.insert(
                token,
                Client {
                    stream,
                    input,
                    unsent,
                    events_left: 0,
                    every: Duration::ZERO,
                },
            );
        }
    }

    fn serve(&mut self, token: Token, event: &Event) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        let mut open = true;
        if event.is_readable() {
            open = client.receive();
            while let Some(question) = client.question() {
                let sent = match question {
                    Question::Other => client.send(&self.models),
                    Question::Whole => client.send(&self.answer),
                    Question::Stream { events, every } => {
                        (client.events_left, client.every) = (events, every);
                        self.due.push(Reverse((Instant::now(), token)));
                        client.send(STREAM_HEAD)
                    }
                };
                open &= sent.is_ok();
            }
        }
        if event.is_writable() && !client.unsent.is_empty() {
            open &= client.flush().is_ok();
            if client.unsent.is_empty() && client.events_left > 0 && client.every.is_zero() {
                self.due.push(Reverse((Instant::now(), token)));
            }
        }
        if !open {
            self.clients.remove(&token);
        }
    }

    /// Send the events whose time has come.
    fn send_due(&mut self, now: Instant) {
        while let Some(Reverse((due, token))) = self.due.peek().copied()
            && due <= now
        {
            self.due.pop();
            let Some(client) = self.clients.get_mut(&token) else {
                continue;
            };
            let mut sent = Ok(());
            let paced = !client.every.is_zero();
            while client.events_left > 0 && (paced || client.unsent.is_empty()) && sent.is_ok() {
                let stamp = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default()
                    .as_nanos()
                    .to_string();
                if let Some(place) = self.event.get_mut(self.stamp_at..self.stamp_at + stamp.len()) {
                    place.copy_from_slice(stamp.as_bytes());
                }
                let times = if client.events_left > LONG { AT_ONCE } else { 1 };
                client.events_left -= times;
                sent = if times == 1 {
                    client.send(&self.event)
                } else {
                    client.send(&self.event.repeat(times))
                };
                if client.events_left == 0 && sent.is_ok() {
                    sent = client.send(LAST);
                }
                if paced {
                    if client.events_left > 0 {
                        self.due.push(Reverse((due + client.every, token)));
                    }
                    break;
                }
            }
            if sent.is_err() {
                self.clients.remove(&token);
            }
        }
    }
}

enum Question {
    Whole,
    Stream { events: usize, every: Duration },
    Other,
}

impl Client {
    /// Read all that is there; whether the connection is still open.
    fn receive(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return false,
                Ok(count) => {
                    self.input.extend_from_slice(piece.get(..count).unwrap_or_default());
                    if count < piece.len() {
                        return true;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
    }

    /// The next whole question of the input.
    fn question(&mut self) -> Option<Question> {
        let head = Head::parse(&self.input)?;
        let post = head.line.starts_with(b"POST");
        let mut place = head.body;
        let mut body = Vec::new();
        let behind = self.input.get(head.len..)?;
        let left = place.take(behind, |piece| body.extend_from_slice(piece)).len();
        if place != Body::END {
            return None;
        }
        self.input.drain(..self.input.len() - left);
        let behind = |name: &[u8]| body.get(find(&body, name)? + name.len()..);
        let field = |name: &[u8]| behind(name).filter(|text| !text.starts_with(b":null")).map(number);
        let streams = behind(b"\"stream\":").is_some_and(|text| text.trim_ascii_start().starts_with(b"true"));
        Some(match (post, streams) {
            (false, _) => Question::Other,
            (true, false) => Question::Whole,
            (true, true) => Question::Stream {
                events: field(b"\"max_completion_tokens\"").unwrap_or(1),
                every: Duration::from_micros(field(b"\"seed\"").unwrap_or(0) as u64),
            },
        })
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.unsent.is_empty() {
            let sent = match self.stream.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                other => other?,
            };
            self.unsent.extend_from_slice(bytes.get(sent..).unwrap_or_default());
        } else {
            self.unsent.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let unsent = std::mem::take(&mut self.unsent);
        self.send(&unsent)
    }
}

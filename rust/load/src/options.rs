//! What the command line says.

use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// The options of every kind of work; each looks at its own.
pub(crate) struct Options {
    pub(crate) to: SocketAddr,
    pub(crate) key: String,
    pub(crate) model: String,
    pub(crate) connections: usize,
    pub(crate) seconds: Duration,
    /// Runs before, and does not count.
    pub(crate) warmup: Duration,
    /// Requests a second, whether or not those before were answered; none: each connection asks when it was answered.
    pub(crate) rate: Option<f64>,
    /// In each stream, and the time between two of them.
    pub(crate) events: u32,
    pub(crate) every: Duration,
}

impl Options {
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> io::Result<Self> {
        let mut found = Self {
            to: SocketAddr::from(([127, 0, 0, 1], 0)),
            key: String::new(),
            model: "m".into(),
            connections: 64,
            seconds: Duration::from_secs(2),
            warmup: Duration::from_millis(500),
            rate: None,
            events: 50,
            every: Duration::ZERO,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().unwrap_or_default();
            match name.as_str() {
                "--to" => found.to = parse(&name, &value)?,
                "--key" => found.key = value,
                "--model" => found.model = value,
                "--connections" => found.connections = parse(&name, &value)?,
                "--seconds" => found.seconds = Duration::from_secs_f64(parse(&name, &value)?),
                "--warmup" => found.warmup = Duration::from_secs_f64(parse(&name, &value)?),
                "--rate" => found.rate = Some(parse(&name, &value)?),
                "--events" => found.events = parse(&name, &value)?,
                "--every-us" => found.every = Duration::from_micros(parse(&name, &value)?),
                _ => return Err(wrong(&name)),
            }
        }
        Ok(found)
    }

    /// A question of about 300 bytes, as clients send it.
    pub(crate) fn question(&self) -> Vec<u8> {
        self.request("")
    }

    /// The same, to be answered by a stream of `events`, `every` so often (fields that no server between refuses).
    pub(crate) fn stream_question(&self) -> Vec<u8> {
        let (events, every_us) = (self.events, self.every.as_micros());
        self.request(&format!(
            r#","stream":true,"max_completion_tokens":{events},"seed":{every_us}"#
        ))
    }

    fn request(&self, more: &str) -> Vec<u8> {
        let body = format!(
            r#"{{"model":"{}","messages":[{{"role":"system","content":"You answer briefly and only in whole sentences."}},{{"role":"user","content":"Which of the two rivers is longer, the one that rises in the mountains or the one that comes out of the lake, and by how many kilometres do they differ?"}}],"temperature":0.7{more}}}"#,
            self.model
        );
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\naccept: */*\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.to,
            self.key,
            body.len()
        )
        .into_bytes()
    }
}

fn parse<T: FromStr>(name: &str, value: &str) -> io::Result<T> {
    value.parse().map_err(|_| wrong(name))
}

fn wrong(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("wrong option or value: {name}"))
}

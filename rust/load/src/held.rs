//! Connections that are only held: what a server keeps for clients that do nothing.
//!
//! Prints a line when all are there, and holds them until its standard input ends.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::answer::{Body, Head};
use crate::options::Options;

const PATIENCE: Duration = Duration::from_secs(10);

/// Keep-alive connections, each after an answer.
pub(crate) fn idle(options: &Options) -> io::Result<()> {
    let question = options.question();
    let mut connections = Vec::with_capacity(options.connections);
    for number in 0..options.connections {
        let mut stream = connect(options)?;
        stream.write_all(&question)?;
        read_answer(&mut stream).map_err(|error| io::Error::other(format!("connection {number}: {error}")))?;
        connections.push(stream);
    }
    hold(connections.len())?;
    let mut open = 0;
    for stream in &mut connections {
        open += usize::from(stream.write_all(&question).and_then(|()| read_answer(stream)).is_ok());
    }
    println!(r#"{{"open": {open}}}"#);
    Ok(())
}

/// Clients of a fast and long stream that do not read it.
pub(crate) fn unread(options: &Options) -> io::Result<()> {
    let question = options.stream_question();
    let mut connections = Vec::with_capacity(options.connections);
    for _ in 0..options.connections {
        let mut stream = connect(options)?;
        stream.write_all(&question)?;
        connections.push(stream);
    }
    hold(connections.len())
}

fn connect(options: &Options) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(options.to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn read_answer(stream: &mut TcpStream) -> io::Result<()> {
    let mut input = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece)?;
        input.extend_from_slice(piece.get(..count).unwrap_or_default());
        if let Some(Head { mut body, len, .. }) = Head::parse(&input) {
            body.take(input.get(len..).unwrap_or_default(), |_| ());
            if body == Body::END {
                return Ok(());
            }
        }
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn hold(count: usize) -> io::Result<()> {
    println!(r#"{{"held": {count}}}"#);
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

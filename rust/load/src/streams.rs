//! Streams of events, one after another on each connection, read as they come.
//!
//! An event says when the upstream sent it: the latency of each is the way through the server, and nothing else.

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::{Events, Poll, Token, Waker};

use crate::answer::{find, number};
use crate::client::{BUFFER_BYTES, Connection, State};
use crate::options::Options;
use crate::report::{Times, per_second};
use crate::ticker::Ticker;

const TICK: Token = Token(usize::MAX);

#[derive(Default)]
struct Run {
    events: Times,
    first: Times,
    streams: usize,
    /// With another status than 200, another number of events or no end, or cut off.
    refused: usize,
    incomplete: usize,
    cut: usize,
    /// Events, with those of the warm-up.
    all: usize,
}

/// What has come of one stream.
#[derive(Default)]
struct Stream {
    /// Of an event that has not ended.
    rest: Vec<u8>,
    events: u32,
    done: bool,
}

impl Stream {
    /// Count the events in a piece, and keep the times of those that count.
    fn take(&mut self, piece: &[u8], now: Duration, times: Option<&mut Times>) {
        let mut times = times;
        self.rest.extend_from_slice(piece);
        let mut begin = 0;
        while let Some(len) = self.rest.get(begin..).and_then(|rest| find(rest, b"\n\n")) {
            let event = self.rest.get(begin..begin + len).unwrap_or_default();
            begin += len + 2;
            if let Some(place) = find(event, b"\"content\":") {
                let stamp = number(event.get(place + 10..).unwrap_or_default());
                if stamp > 0 {
                    self.events += 1;
                    if let Some(times) = &mut times {
                        times.add(now.saturating_sub(Duration::from_nanos(stamp as u64)));
                    }
                }
            } else {
                self.done |= event == b"data: [DONE]";
            }
        }
        self.rest.drain(..begin);
    }
}

pub(crate) fn run(options: &Options) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; BUFFER_BYTES];
    let question = options.stream_question();
    let mut connections = (0..options.connections)
        .map(|number| {
            Ok((
                Connection::open(options.to, Token(number), poll.registry())?,
                Stream::default(),
            ))
        })
        .collect::<io::Result<Vec<_>>>()?;
    // The streams begin one after another, so that their events do not come all at once.
    let apart = options.every / u32::try_from(options.connections).unwrap_or(1).max(1);
    let ticker = Ticker::new(
        Waker::new(poll.registry(), TICK)?,
        apart.max(Duration::from_micros(100)),
    )?;
    ticker.run(true);
    let begin = Instant::now();
    let (from, end) = (begin + options.warmup, begin + options.warmup + options.seconds);
    let mut run = Run::default();
    let mut started = 0_usize;
    loop {
        let now = Instant::now();
        if now >= end {
            break;
        }
        if let Some((connection, _)) = connections.get_mut(started)
            && now >= begin + apart * u32::try_from(started).unwrap_or(0)
        {
            started += 1;
            connection.ask(&question, now)?;
            continue;
        }
        ticker.run(started < options.connections);
        poll.poll(&mut events, Some(end.saturating_duration_since(now)))?;
        for event in &events {
            let Token(number) = event.token();
            let Some((connection, stream)) = connections.get_mut(number) else {
                continue;
            };
            let counts = Instant::now() >= from;
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let (before, asked) = (stream.events, connection.asked);
            let state = connection.read(&mut buffer, |piece| {
                stream.take(piece, wall, if counts { Some(&mut run.events) } else { None });
            });
            if before == 0 && stream.events > 0 && counts {
                run.first.add(asked.elapsed());
            }
            run.all += (stream.events - before) as usize;
            match state {
                State::Answered(false) => run.refused += 1,
                State::Answered(true) => {
                    run.incomplete += usize::from(!stream.done || stream.events != options.events);
                }
                State::Closed(_) => {
                    run.cut += 1;
                    connection.reopen(options.to, poll.registry())?;
                }
                State::Free | State::Waiting => continue,
            }
            run.streams += 1;
            *stream = Stream::default();
            connection.ask(&question, Instant::now())?;
        }
    }
    report(&mut run, options.seconds);
    Ok(())
}

fn report(run: &mut Run, during: Duration) {
    let rate = per_second(run.events.len(), during);
    let (times, first) = (run.events.quantiles("event"), run.first.quantiles("first"));
    let Run {
        streams,
        refused,
        incomplete,
        cut,
        all,
        ..
    } = run;
    let errors = *refused + *incomplete + *cut;
    print!(r#"{{{times}{first}"events_per_s": {rate:.1}, "all": {all}, "streams": {streams}, "errors": {errors}, "#);
    println!(r#""refused": {refused}, "incomplete": {incomplete}, "cut": {cut}}}"#);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_however_they_are_split() {
        let text = b"data: {\"content\":\"100\"}\n\ndata: {\"content\": \"200\"}\n\ndata: {}\n\ndata: [DONE]\n\n";
        for step in [1, 5, 1000] {
            let (mut stream, mut times) = (Stream::default(), Times::default());
            for piece in text.chunks(step) {
                stream.take(piece, Duration::from_micros(1), Some(&mut times));
            }
            assert_eq!((stream.events, stream.done, stream.rest.len()), (2, true, 0));
            assert_eq!(times.len(), 2);
        }
    }
}

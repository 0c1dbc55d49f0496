//! One question after another on each connection, as fast as they are answered or at a fixed rate.
//!
//! At a fixed rate a latency counts from when the question was due, whether or not a connection was free then.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use crate::client::{BUFFER_BYTES, Connection, State};
use crate::options::Options;
use crate::report::{Times, per_second};
use crate::ticker::Ticker;

const TICK: Token = Token(usize::MAX);

#[derive(Default)]
struct Run {
    times: Times,
    /// Answers behind the warm-up, those to earlier questions too; and all of them.
    answers: usize,
    all: usize,
    errors: usize,
    reopened: usize,
    /// Due times that no connection was free for.
    due: VecDeque<Instant>,
    free: Vec<usize>,
}

pub(crate) fn run(options: &Options) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; BUFFER_BYTES];
    let question = options.question();
    let mut connections = (0..options.connections)
        .map(|number| Connection::open(options.to, Token(number), poll.registry()))
        .collect::<io::Result<Vec<_>>>()?;
    let mut run = Run {
        free: (0..options.connections).collect(),
        ..Run::default()
    };
    let every = options.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
    let ticker = every
        .map(|every| Ticker::new(Waker::new(poll.registry(), TICK)?, every))
        .transpose()?;
    let begin = Instant::now();
    let (from, end) = (begin + options.warmup, begin + options.warmup + options.seconds);
    let mut next = begin;
    if let Some(ticker) = &ticker {
        ticker.run(true);
    }
    loop {
        let now = Instant::now();
        if now >= end {
            break;
        }
        if let Some(every) = every {
            while next <= now {
                run.due.push_back(next);
                next += every;
            }
        }
        while let Some(number) = run.free.pop() {
            let asked = if every.is_some() {
                run.due.pop_front()
            } else {
                Some(Instant::now())
            };
            let Some(asked) = asked else {
                run.free.push(number);
                break;
            };
            if let Some(connection) = connections.get_mut(number)
                && connection.ask(&question, asked).is_err()
            {
                run.errors += 1;
                connection.reopen(options.to, poll.registry())?;
                run.free.push(number);
            }
        }
        poll.poll(&mut events, Some(end.saturating_duration_since(now)))?;
        for event in &events {
            let Token(number) = event.token();
            let Some(connection) = connections.get_mut(number) else {
                continue;
            };
            match connection.read(&mut buffer, |_| ()) {
                State::Answered(good) => {
                    run.all += 1;
                    run.answers += usize::from(Instant::now() >= from);
                    run.errors += usize::from(!good);
                    if connection.asked >= from {
                        run.times.add(connection.asked.elapsed());
                    }
                    run.free.push(number);
                }
                State::Closed(in_answer) => {
                    run.errors += usize::from(in_answer);
                    run.reopened += 1;
                    connection.reopen(options.to, poll.registry())?;
                    if in_answer {
                        run.free.push(number);
                    }
                }
                State::Free | State::Waiting => {}
            }
        }
    }
    if options.rate.is_some() {
        // What was due and not answered has waited so far: a server that does not keep up must not look quick.
        let asked = connections.iter().filter(|one| one.waiting).map(|one| one.asked);
        for due in asked.chain(run.due.iter().copied()).filter(|due| *due >= from) {
            run.times.add(end.saturating_duration_since(due));
        }
    }
    report(&mut run, options.seconds);
    Ok(())
}

fn report(run: &mut Run, during: Duration) {
    let rate = per_second(run.answers, during);
    let times = run.times.quantiles("latency");
    let Run {
        all,
        errors,
        reopened,
        due,
        ..
    } = run;
    println!(
        r#"{{{times}"per_s": {rate:.1}, "all": {all}, "errors": {errors}, "reopened": {reopened}, "unasked": {}}}"#,
        due.len()
    );
}

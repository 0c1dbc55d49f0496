//! What the benches of the gateway put before and behind it: a model server that answers at once, and its clients.
//!
//! One thread each, so that one core can hold both beside a server that has the other. Not a part of what ships.
//! Results are printed as one line of JSON.
#![forbid(unsafe_code)]

mod answer;
mod client;
mod held;
mod options;
mod report;
mod requests;
mod streams;
mod ticker;
mod upstream;

use std::io;
use std::process::ExitCode;

use crate::options::Options;

const USAGE: &str = "usage: xetway-load upstream | requests | streams | idle | unread  [--to ADDRESS] [--key KEY] \
[--model NAME] [--connections N] [--seconds S] [--warmup S] [--rate PER_S] [--events N] [--every-us US]";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let work = arguments.next().unwrap_or_default();
    match Options::read(arguments).and_then(|options| run(&work, &options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xetway-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(work: &str, options: &Options) -> io::Result<()> {
    match work {
        "upstream" => upstream::run(options),
        "requests" => requests::run(options),
        "streams" => streams::run(options),
        "idle" => held::idle(options),
        "unread" => held::unread(options),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, USAGE)),
    }
}

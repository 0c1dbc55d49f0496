//! The client against servers that misbehave, all on loopback.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod cas;
mod fetch;
mod hosts;
mod http;
mod proxy;
mod redirects;
mod server;
mod tls;

use std::time::Duration;

use xetway_client::{Concurrency, Http, Options, StallPolicy};

/// Options with pauses of milliseconds and no wish for any environment.
fn options() -> Options {
    Options {
        user_agent: "test/1".to_owned(),
        concurrency: Concurrency::Fixed(4),
        connect_timeout: Duration::from_secs(5),
        first_byte_timeout: Duration::from_secs(5),
        stall: StallPolicy {
            window: Duration::from_secs(5),
            min_bytes: 1,
        },
        attempts: 3,
        retry_base: Duration::from_millis(2),
        retry_cap: Duration::from_millis(10),
        ..Options::default()
    }
}

fn http_with(options: Options, env: &[(&str, String)]) -> Http {
    let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
    Http::with_env(options, &env).unwrap()
}

fn http() -> Http {
    http_with(options(), &[])
}

/// Bytes that tell where they are from.
fn content(length: usize) -> Vec<u8> {
    let period: Vec<u8> = (0..251_u32).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect();
    let mut content = period.repeat(length / period.len() + 1);
    content.truncate(length);
    content
}

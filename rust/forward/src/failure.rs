//! What a failed exchange means.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Kind};

/// Why waiting ended without a result.
pub(crate) enum Halt {
    Failed(hyper::Error),
    /// Nothing came in the time for one step.
    Idle,
    /// The time for all of it is over.
    Late,
}

/// What `hyper` says of a head that is too long; its method that tells needs its server.
const TOO_LARGE: &str = "message head is too large";

const DECADES: Duration = Duration::from_secs(30 * 365 * 86_400);

/// Return when `patience` is over; a wait without end is some decades.
pub(crate) fn after(patience: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(patience).unwrap_or_else(|| now + DECADES)
}

/// Wait for one step no longer than `patience`, nor beyond `deadline`.
pub(crate) async fn within<T>(
    patience: Duration,
    deadline: Instant,
    step: impl Future<Output = hyper::Result<T>>,
) -> Result<T, Halt> {
    let until = after(patience);
    match timeout_at(until.min(deadline), step).await {
        Ok(done) => done.map_err(Halt::Failed),
        Err(_) if deadline <= until => Err(Halt::Late),
        Err(_) => Err(Halt::Idle),
    }
}

impl Halt {
    /// Name what happened before the head of an answer was there.
    pub(crate) fn in_head(&self, host: &Arc<str>, seen: bool) -> Error {
        let (kind, message) = match self {
            Self::Idle => (
                Kind::FirstByteTimeout,
                format!("{host} did not begin to answer in time"),
            ),
            Self::Late => late(host),
            Self::Failed(error) => failed(error, host, seen),
        };
        transport(kind, host, seen, message)
    }

    /// Name what happened while a body was read.
    pub(crate) fn in_body(&self, host: &Arc<str>) -> Error {
        let (kind, message) = match self {
            Self::Idle => (Kind::Stalled, format!("the answer of {host} came to a halt")),
            Self::Late => late(host),
            Self::Failed(error) => failed(error, host, true),
        };
        transport(kind, host, true, message)
    }
}

/// Make the error of an answer that is not taken.
pub(crate) fn wrong(kind: Kind, host: &Arc<str>, what: &str) -> Error {
    transport(kind, host, true, format!("the answer of {host} {what}"))
}

fn transport(kind: Kind, host: &Arc<str>, seen: bool, message: String) -> Error {
    Error::Transport {
        kind,
        host: Arc::clone(host),
        seen,
        message,
    }
}

fn late(host: &str) -> (Kind, String) {
    (Kind::TotalTimeout, format!("{host} did not answer in time"))
}

fn failed(error: &hyper::Error, host: &str, seen: bool) -> (Kind, String) {
    let cause = root(error);
    if error.is_parse() && error.to_string() == TOO_LARGE {
        return (
            Kind::HeadTooLarge,
            format!("the head of the answer of {host} is too long"),
        );
    }
    if error.is_parse() || is_nonsense(error) {
        return (Kind::Malformed, format!("{host} does not answer in HTTP: {cause}"));
    }
    if seen {
        return (Kind::Cut, format!("the connection to {host} was cut: {cause}"));
    }
    (
        Kind::Reset,
        format!("{host} ended the connection without an answer: {cause}"),
    )
}

/// Say whether bytes came that the protocol does not allow, as opposed to too few.
fn is_nonsense(error: &hyper::Error) -> bool {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(failure) = cause.downcast_ref::<io::Error>()
            && matches!(failure.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
        {
            return true;
        }
        next = cause.source();
    }
    false
}

fn root(error: &hyper::Error) -> String {
    let mut cause: &dyn StdError = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

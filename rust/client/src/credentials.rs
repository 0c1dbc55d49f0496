//! Who we are to a content-addressed store: a token, or the Hub route that gives tokens.

use std::fmt;
use std::future::ready;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use tokio::sync::Mutex;

use crate::error::{Error, Result, TransportKind};
use crate::http::{Answer, Http, Request};
use crate::secret::Secret;

/// A token is renewed when it has no longer than this to live.
const RENEW_BEFORE_S: u64 = 30;

/// Longest answer of the route.
const MAX_ANSWER_BYTES: u64 = 64 << 10;

/// Most time for one attempt.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where a store is and how to be let in.
#[derive(Clone)]
pub enum Credentials {
    /// A token in hand.
    Fixed {
        /// Base URL of the store.
        cas_url: String,
        /// Bearer token.
        token: Secret,
    },
    /// A Hub route that gives tokens: GET gives `{casUrl, accessToken, exp}`.
    Refresh {
        /// The route.
        url: String,
        /// Headers, the Hub's token among them.
        headers: Vec<(String, Secret)>,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fixed { .. } => "Credentials::Fixed([redacted])",
            Self::Refresh { .. } => "Credentials::Refresh([redacted])",
        })
    }
}

/// Where the store is and the token it wants, valid now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Base URL, without a slash at the end.
    pub cas_url: String,
    /// Bearer token.
    pub token: Secret,
}

/// Keeps a token fresh; however many ask, the route is asked once.
#[derive(Debug)]
pub(crate) struct Tokens {
    credentials: Credentials,
    /// Failures so far: tells who waited for one that it was theirs too.
    failures: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<(Access, u64)>,
    last_error: Option<Error>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    cas_url: String,
    access_token: String,
    exp: u64,
}

impl Tokens {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            failures: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// Say whether a refused token can be replaced.
    pub(crate) const fn can_refresh(&self) -> bool {
        matches!(self.credentials, Credentials::Refresh { .. })
    }

    /// Return a token valid now, other than `refused`.
    pub(crate) async fn access(&self, http: &Http, refused: Option<&Access>) -> Result<Access> {
        let (url, headers) = match &self.credentials {
            Credentials::Fixed { cas_url, token } => return access(cas_url, token.clone()),
            Credentials::Refresh { url, headers } => (url, headers),
        };
        let failures = self.failures.load(Ordering::SeqCst);
        let mut state = self.state.lock().await;
        if let Some((held, expires_s)) = &state.held
            && refused != Some(held)
            && *expires_s > now_s().saturating_add(RENEW_BEFORE_S)
        {
            return Ok(held.clone());
        }
        if failures != self.failures.load(Ordering::SeqCst)
            && let Some(error) = &state.last_error
        {
            return Err(error.clone());
        }
        match fetch(http, url, headers).await {
            Ok(fresh) => {
                let access = fresh.0.clone();
                *state = State {
                    held: Some(fresh),
                    last_error: None,
                };
                Ok(access)
            }
            Err(error) => {
                state.last_error = Some(error.clone());
                self.failures.fetch_add(1, Ordering::SeqCst);
                Err(error)
            }
        }
    }
}

async fn fetch(http: &Http, url: &str, headers: &[(String, Secret)]) -> Result<(Access, u64)> {
    let request = Request {
        headers: headers.to_vec(),
        timeout: TIMEOUT,
        attempts: http.options().attempts,
        max_body_bytes: MAX_ANSWER_BYTES,
        follow: true,
        ..Request::new("GET", url)
    };
    http.request_as(&request, |answer| ready(read(answer))).await
}

fn read(answer: Answer) -> Result<(Access, u64)> {
    let answer = answer.checked()?;
    let json: Json = serde_json::from_slice(&answer.body).map_err(|_| {
        let host = answer.host();
        let message = format!("{host} answers without casUrl, accessToken and exp where a token was asked for");
        Error::transport(TransportKind::Protocol, host, message)
    })?;
    Ok((access(&json.cas_url, Secret::from(json.access_token))?, json.exp))
}

fn access(cas_url: &str, token: Secret) -> Result<Access> {
    if !(cas_url.starts_with("https://") || cas_url.starts_with("http://")) {
        return Err(Error::Config {
            what: "casUrl",
            message: "is not an absolute http or https URL".to_owned(),
        });
    }
    Ok(Access {
        cas_url: cas_url.trim_end_matches('/').to_owned(),
        token,
    })
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

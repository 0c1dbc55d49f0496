//! HTTP/1.1 for everything: small answers with retries, large bodies one attempt at a time.
//!
//! One client holds connections, trust, proxies, the limits and the counters of all transfers.
//! Nothing is decompressed on the way: what is asked for is `identity`.

mod body;
mod extent;
mod hosts;
mod message;
mod parts;
mod send;
mod stall;
mod stats;

use std::fmt;
use std::future::ready;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;

use crate::budget::Budget;
use crate::error::{Error, Result, TransportKind};
use crate::limiter::Limiter;
use crate::options::{Concurrency, Options};
use crate::proxies::Proxies;
use crate::rate::Rate;
use crate::retry::{self, pause, random};
use crate::secret::Secret;
use crate::tls;

pub use body::Body;
pub use message::{Answer, Request};
pub use parts::Parts;
pub(crate) use parts::is_refused_url;
pub use stats::Stats;

use extent::Extent;
use hosts::Hosts;
use send::{Exchanged, Follow, Sending};
use stats::{Counters, add};

/// Connections kept open beyond those in use: for small requests beside the bodies.
const SPARE_CONNECTIONS: usize = 8;

/// How long an unused connection is kept.
const IDLE_CONNECTION: Duration = Duration::from_secs(60);

/// What all transfers of a process share. Cheap to clone.
#[derive(Clone)]
pub struct Http(Arc<Inner>);

struct Inner {
    client: reqwest::Client,
    options: Options,
    proxies: Proxies,
    limiter: Limiter,
    rate: Option<Rate>,
    budget: Budget,
    counters: Counters,
    /// Those that do not give several ranges in one answer.
    single_range_hosts: Hosts,
    /// Those that answered, so that their names are names.
    answered_hosts: Hosts,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Http {
    /// Make a client with the certificates and proxies of this process's environment:
    /// `SSL_CERT_FILE`, `SSL_CERT_DIR`, `REQUESTS_CA_BUNDLE`, `HTTP_PROXY`, `HTTPS_PROXY`,
    /// `ALL_PROXY`, `NO_PROXY`.
    ///
    /// Reads certificates from disk. A variable or bundle that cannot be used is an error.
    pub fn new(options: Options) -> Result<Self> {
        Self::with_env(options, &|name| std::env::var(name).ok())
    }

    /// As [`Self::new`], with the environment variables that `env` returns.
    pub fn with_env(options: Options, env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let proxies = if options.use_proxies {
            Proxies::from_env(env)?
        } else {
            Proxies::default()
        };
        let streams = match options.concurrency {
            Concurrency::Adaptive { max, .. } => max,
            Concurrency::Fixed(streams) => streams,
        };
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client_config(options.ca_bundle.as_deref(), env)?)
            .http1_only()
            .user_agent(options.user_agent.as_str())
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(options.connect_timeout)
            .pool_idle_timeout(IDLE_CONNECTION)
            .pool_max_idle_per_host(streams.saturating_add(SPARE_CONNECTIONS))
            .no_proxy();
        if !proxies.is_empty() {
            let proxies = proxies.clone();
            builder = builder.proxy(reqwest::Proxy::custom(move |url| {
                proxies.pick(url).map(|proxy| proxy.url().clone())
            }));
        }
        let client = builder.build().map_err(|error| Error::Config {
            what: "HTTP client",
            message: error.without_url().to_string(),
        })?;
        Ok(Self(Arc::new(Inner {
            client,
            proxies,
            limiter: Limiter::new(options.concurrency),
            rate: options.rate_limit_bytes_s.map(Rate::new),
            budget: Budget::new(options.max_in_flight_bytes),
            counters: Counters::default(),
            single_range_hosts: Hosts::default(),
            answered_hosts: Hosts::default(),
            options,
        })))
    }

    /// Return the settings.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Return the budget for bytes in flight, one for all transfers of this client.
    pub fn budget(&self) -> &Budget {
        &self.0.budget
    }

    /// Return what bounds the number of bodies read at a time.
    pub fn limiter(&self) -> &Limiter {
        &self.0.limiter
    }

    /// Return the counters.
    pub fn stats(&self) -> Stats {
        self.0
            .counters
            .snapshot(self.0.limiter.in_use(), self.0.limiter.limit())
    }

    /// Send a request and return its whole answer, whatever its status.
    ///
    /// Sent again, up to its attempts, after transport failures and 408, 429 and 5xx but 501 and 508;
    /// `Retry-After` is honoured. When attempts are used up, the last answer is returned as it is.
    pub async fn request(&self, request: Request) -> Result<Answer> {
        self.request_as(&request, |answer| ready(Ok(answer))).await
    }

    /// As [`Self::request`], with what `read` makes of the answer: one that it cannot use is asked for again.
    pub(crate) async fn request_as<T, F>(&self, request: &Request, read: fn(Answer) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let (mut attempt, mut is_there) = (1, false);
        loop {
            let (error, answer) = match self.attempt(request).await {
                Ok(answer) if crate::error::is_retryable_status(answer.status) => (answer.to_error(), Some(answer)),
                Ok(answer) => match read(answer).await {
                    Ok(made) => return Ok(made),
                    Err(error) => (error, None),
                },
                Err(error) => (error, None),
            };
            is_there |= !error.is_unreachable();
            let attempts = if is_there {
                request.attempts
            } else {
                self.connect_attempts(request.attempts)
            };
            if let Err(error) = self.back_off(attempt, attempts, error).await {
                return match answer {
                    Some(answer) => read(answer).await,
                    None => Err(error),
                };
            }
            attempt += 1;
        }
    }

    /// Return how many of `attempts` are made if none of them connects to the host.
    pub fn connect_attempts(&self, attempts: u32) -> u32 {
        self.0
            .options
            .connect_attempts
            .map_or(attempts, |most| most.min(attempts))
    }

    async fn attempt(&self, request: &Request) -> Result<Answer> {
        let sending = Sending::new(
            request.method.as_str(),
            &request.url,
            &request.headers,
            request.body.clone(),
        )?;
        let host = sending.host();
        let follow = if request.follow {
            Follow::SameOrigin
        } else {
            Follow::Never
        };
        let exchange = self.exchange(sending, follow);
        let read = |exchanged: Exchanged| exchanged.into_answer(self, request.max_body_bytes);
        if request.long {
            return read(within(request.timeout, &host, exchange).await?).await;
        }
        within(request.timeout, &host, async { read(exchange.await?).await }).await
    }

    /// Open a body, in one attempt. A status other than 200 and 206 is an error.
    ///
    /// Waits for one of the limited slots first; the body holds it. Redirects are followed; to
    /// another origin without the headers that may hold credentials. Where one led is signed for a while:
    /// if it is refused with a 403 there, `url` is asked once more where to go. A `range` that is answered with
    /// the whole is cut out of it; one whose end is `u64::MAX` runs to the end.
    ///
    /// Who reads several bodies in an order of their own must not wait here for a slot that only an
    /// unread one of them would free.
    pub async fn open(&self, url: &str, headers: &[(String, Secret)], range: Option<Range<u64>>) -> Result<Body> {
        let mut sending = Sending::new(Method::GET.as_str(), url, headers, bytes::Bytes::new())?;
        if let Some(range) = &range {
            sending.set_ranges(std::slice::from_ref(range))?;
        }
        let extent = |status, headers: &[(String, String)]| Extent::read(status, headers, range);
        self.open_sending(sending, extent).await
    }

    /// Open the answer to `sending`, once `extent` says from its head what it holds.
    async fn open_sending(
        &self,
        sending: Sending,
        extent: impl FnOnce(u16, &[(String, String)]) -> Result<Extent, String>,
    ) -> Result<Body> {
        let host = sending.host();
        let slot = self.0.limiter.acquire().await;
        let begin = Instant::now();
        let patience = self.0.options.connect_timeout + self.0.options.first_byte_timeout;
        let opened = match within(patience, &host, self.exchange_renewed(sending)).await {
            Ok(exchanged) => {
                self.0.limiter.answered(begin.elapsed());
                exchanged.into_body(self, extent, slot).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &opened {
            self.note_overload(error);
        }
        opened
    }

    /// Wait before the attempt after `attempt` (from 1), which failed with `error`.
    ///
    /// `Err(error)` if another is no use: not retryable, all `attempts` used up, or the other side
    /// wants a longer pause than a transfer should wait.
    pub async fn back_off(&self, attempt: u32, attempts: u32, error: Error) -> Result<()> {
        let own = pause(attempt, self.0.options.retry_base, self.0.options.retry_cap, random());
        let wait = match retry::wait(own, error.retry_after_s()) {
            Some(wait) if attempt < attempts && error.is_retryable() => wait,
            _ => return Err(error),
        };
        add(&self.0.counters.retries, 1);
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Tell the limiter of failures that fewer streams may cure.
    fn note_overload(&self, error: &Error) {
        let overloaded = match error {
            Error::Transport { kind, .. } => matches!(
                kind,
                TransportKind::ConnectTimeout | TransportKind::Timeout | TransportKind::Stalled
            ),
            Error::Status { status, .. } => matches!(status, 429 | 503),
            _ => false,
        };
        if overloaded {
            self.0.limiter.overloaded(Instant::now());
        }
    }
}

/// Wait for `work`, which asks `host`, no longer than `patience`.
async fn within<T>(patience: Duration, host: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(patience, work).await.unwrap_or_else(|_| {
        let message = format!("{host} did not answer within {} s", patience.as_secs_f64());
        Err(Error::transport(TransportKind::Timeout, host, message))
    })
}

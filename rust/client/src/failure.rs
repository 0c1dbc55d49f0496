//! What a failed exchange means: one kind, the host, the cause, and what to do about it.
//!
//! `reqwest` wraps causes several layers deep; the layer that says most is looked for. Its own texts
//! may hold URLs and are not used.

use std::error::Error as StdError;
use std::io;

use reqwest::Url;

use crate::error::{Error, TransportKind};
use crate::proxies::Proxy;

/// Name the host of a URL, with the port if it is not the usual one.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Say what `error`, met on the way to `host`, means.
pub(crate) fn classify(error: &reqwest::Error, host: &str, proxy: Option<&Proxy>) -> Error {
    let causes = causes(error);
    let fail = |kind, message: String| Error::transport(kind, host, message);
    // Below these words everything is about the proxy, above them about the host.
    let in_proxy = causes.iter().any(|cause| cause.to_string() == PROXY_UNREACHABLE);
    if let Some(tls) = find::<rustls::Error>(&causes) {
        return match proxy.filter(|_| in_proxy) {
            Some(proxy) => fail(TransportKind::Tls, describe_tls(tls, &proxy.describe())),
            None => fail(TransportKind::Tls, describe_tls(tls, host)),
        };
    }
    if error.is_connect() || error.is_dns() {
        return match proxy {
            Some(proxy) => through_proxy(error, &causes, host, proxy),
            None => connecting(error, &causes, host),
        };
    }
    if error.is_timeout() {
        return fail(TransportKind::Timeout, format!("{host} did not answer in time"));
    }
    if error.is_builder() {
        return fail(
            TransportKind::Protocol,
            format!("the URL at {host} cannot be asked for"),
        );
    }
    let root = root(&causes);
    if NOT_HTTP.iter().any(|start| root.starts_with(start)) {
        return fail(
            TransportKind::Protocol,
            format!("{host} does not answer in HTTP/1.1: {root}; should its address begin with https://?"),
        );
    }
    fail(TransportKind::Cut, format!("the connection to {host} was cut: {root}"))
}

/// How the causes begin that come of an answer that is not HTTP, or of a server that speaks first.
const NOT_HTTP: [&str; 4] = [
    "invalid HTTP",
    "invalid content-length",
    "message head",
    "received unexpected message",
];

/// What resolvers of various systems say of a name that does not exist, as opposed to their own troubles.
const UNKNOWN_NAME: [&str; 3] = ["not known", "does not resolve", "No such host"];

const PROXY_UNREACHABLE: &str = "tunnel error: failed to create underlying connection";
const PROXY_WANTS_CREDENTIALS: &str = "tunnel error: proxy authorization required";
const PROXY_REFUSED: &str = "tunnel error: unsuccessful";

fn connecting(error: &reqwest::Error, causes: &[&(dyn StdError + 'static)], host: &str) -> Error {
    let root = root(causes);
    if error.is_dns() {
        let message = format!("the name of {host} cannot be resolved: {root}; check the name, the network and the DNS");
        let unknown = UNKNOWN_NAME.iter().any(|words| root.contains(words));
        let kind = if unknown {
            TransportKind::NoSuchHost
        } else {
            TransportKind::Dns
        };
        return Error::transport(kind, host, message);
    }
    if error.is_timeout() {
        let message = format!("no connection to {host} in time; is it reachable, or is a proxy needed (HTTPS_PROXY)?");
        return Error::transport(TransportKind::ConnectTimeout, host, message);
    }
    Error::transport(
        TransportKind::Connect,
        host,
        format!("cannot connect to {host}: {root}; is it running, and is this its address?"),
    )
}

fn through_proxy(error: &reqwest::Error, causes: &[&(dyn StdError + 'static)], host: &str, proxy: &Proxy) -> Error {
    let name = proxy.describe();
    let says = |text: &str| causes.iter().any(|cause| cause.to_string() == text);
    if says(PROXY_WANTS_CREDENTIALS) || says_auth(causes) {
        return proxy_auth(host, proxy);
    }
    if says(PROXY_REFUSED) {
        let message = format!("the proxy {name} would not connect to {host}");
        return Error::transport(TransportKind::Proxy, host, message);
    }
    let message = if error.is_timeout() {
        format!("no connection to {host} through the proxy {name} in time")
    } else {
        format!(
            "cannot connect to {host} through the proxy {name}: {}; name hosts that need no proxy in NO_PROXY",
            root(causes)
        )
    };
    Error::transport(TransportKind::Proxy, host, message)
}

/// A proxy that refuses our credentials, or wants some.
pub(crate) fn proxy_auth(host: &str, proxy: &Proxy) -> Error {
    let message = format!(
        "the proxy {} wants credentials, or refuses those it got; give them as http://user:password@host:port",
        proxy.describe()
    );
    Error::transport(TransportKind::ProxyAuth, host, message)
}

/// SOCKS failures are told apart by their words only.
fn says_auth(causes: &[&(dyn StdError + 'static)]) -> bool {
    causes.iter().any(|cause| {
        let text = cause.to_string().to_ascii_lowercase();
        text.starts_with("socks error") && (text.contains("credentials") || text.contains("authentication"))
    })
}

fn describe_tls(error: &rustls::Error, host: &str) -> String {
    use rustls::CertificateError as Bad;
    match error {
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer) => format!(
            "the certificate of {host} is not trusted (unknown issuer): a proxy that intercepts TLS? Give its root \
             certificate with --ca-bundle FILE or SSL_CERT_FILE (scripts/extract-warp-cert.sh finds Cloudflare WARP's)"
        ),
        rustls::Error::InvalidCertificate(
            Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. },
        ) => format!("the certificate of {host} is not valid at this time; check the clock of this machine"),
        rustls::Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            format!("the certificate of {host} is for another name")
        }
        rustls::Error::InvalidMessage(_) => {
            format!("{host} does not speak TLS: should its address begin with http://? ({error})")
        }
        rustls::Error::InvalidCertificate(_) => format!("the certificate of {host} is not trusted: {error}"),
        _ => format!("no TLS connection to {host}: {error}"),
    }
}

/// Return every cause, the outermost first. `io::Error` hides the error it wraps from `source`.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    let mut causes = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        causes.push(cause);
        next = match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    causes
}

fn find<'a, T: StdError + 'static>(causes: &[&'a (dyn StdError + 'static)]) -> Option<&'a T> {
    causes.iter().find_map(|cause| cause.downcast_ref())
}

fn root(causes: &[&(dyn StdError + 'static)]) -> String {
    causes.last().map(ToString::to_string).unwrap_or_default()
}

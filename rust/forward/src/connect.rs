//! From an address to a connection.

use std::io;
use std::sync::Arc;

use http::Uri;
use http::header::HeaderValue;
use http::uri::{PathAndQuery, Scheme};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::error::{Error, Kind, Result};
use crate::io::Wire;
use crate::tls;
use crate::upstream::Protocol;

/// Where an upstream is.
pub(crate) struct Target {
    /// As errors name it.
    pub(crate) host: Arc<str>,
    pub(crate) host_header: HeaderValue,
    /// The path before every path, without a slash at its end.
    pub(crate) prefix: String,
    base: Uri,
    address: (String, u16),
    tls: Option<(TlsConnector, ServerName<'static>)>,
    protocol: Protocol,
}

/// As ALPN names HTTP/2.
const H2: &[u8] = b"h2";

impl Target {
    pub(crate) fn parse(url: &str, protocol: Protocol, ca_bundle: Option<&[u8]>) -> Result<Self> {
        let bad = |message: &str| Error::Setting {
            what: "url",
            message: message.to_owned(),
        };
        let base: Uri = url.parse().map_err(|_| bad("is not an address"))?;
        let secure = match base.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(bad("begins with neither http:// nor https://")),
        };
        let authority = base.authority().ok_or_else(|| bad("has no host"))?;
        if authority.as_str().contains('@') || base.query().is_some() || url.contains('#') {
            return Err(bad("must have no user, no query and no fragment"));
        }
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = if secure {
            let protocol = if protocol == Protocol::Http2 { H2 } else { b"http/1.1" };
            let config = Arc::new(tls::client_config(ca_bundle, protocol)?);
            let name =
                ServerName::try_from(name.to_owned()).map_err(|_| bad("has no name a certificate can be for"))?;
            Some((TlsConnector::from(config), name))
        } else {
            None
        };
        Ok(Self {
            host: authority.as_str().into(),
            host_header: HeaderValue::from_str(authority.as_str()).map_err(|_| bad("has no host"))?,
            prefix: base.path().trim_end_matches('/').to_owned(),
            address: (name.to_owned(), port),
            base,
            tls,
            protocol,
        })
    }

    /// Return the whole address of a path, as HTTP/2 sends it.
    pub(crate) fn absolute(&self, path: PathAndQuery) -> Result<Uri> {
        let mut parts = self.base.clone().into_parts();
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).map_err(|error| Error::Request {
            message: error.to_string(),
        })
    }

    /// Connect, and shake hands where there is TLS.
    pub(crate) async fn connect(&self) -> Result<Wire> {
        let (name, port) = &self.address;
        let addresses: Vec<_> = tokio::net::lookup_host((name.as_str(), *port))
            .await
            .map_err(|error| {
                let text = format!(
                    "the name of {} cannot be resolved: {error}; check the name and the DNS",
                    self.host
                );
                self.failure(Kind::Dns, text)
            })?
            .collect();
        let stream = TcpStream::connect(addresses.as_slice())
            .await
            .map_err(|error| self.unconnected(&error))?;
        stream.set_nodelay(true).map_err(|error| self.unconnected(&error))?;
        let Some((connector, name)) = &self.tls else {
            return Ok(Wire::Plain(stream));
        };
        let stream = connector
            .connect(name.clone(), stream)
            .await
            .map_err(|error| self.failure(Kind::Tls, format!("no TLS connection to {}: {error}", self.host)))?;
        if self.protocol == Protocol::Http2 && stream.get_ref().1.alpn_protocol() != Some(H2) {
            return Err(self.failure(Kind::Malformed, format!("{} does not offer HTTP/2", self.host)));
        }
        Ok(Wire::Tls(Box::new(stream)))
    }

    /// Name what hindered the first words on a new connection.
    pub(crate) fn unshaken(&self, error: &hyper::Error) -> Error {
        self.failure(Kind::Malformed, format!("{} does not speak HTTP: {error}", self.host))
    }

    fn unconnected(&self, error: &io::Error) -> Error {
        let text = format!(
            "cannot connect to {}: {error}; is it running, and is this its address?",
            self.host
        );
        self.failure(Kind::Connect, text)
    }

    fn failure(&self, kind: Kind, message: String) -> Error {
        Error::Transport {
            kind,
            host: Arc::clone(&self.host),
            seen: false,
            message,
        }
    }
}

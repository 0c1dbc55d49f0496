//! Which headers pass: RFC 9110, section 7.6.1, and what is between a client and us only.

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::error::{Error, Result};

/// The headers of a request, gathered in one pass.
#[derive(Debug, Default)]
pub struct RequestHeaders {
    map: HeaderMap,
    /// Named by `Connection`: meant for us.
    named: Vec<HeaderName>,
    /// Where values are copied to: one allocation for many, which makes copies of the map cheap as well.
    values: BytesMut,
}

/// What most values of a request need together.
const USUAL_BYTES: usize = 512;

impl RequestHeaders {
    /// Make room for `headers` of them.
    pub fn with_capacity(headers: usize) -> Self {
        Self {
            map: HeaderMap::with_capacity(headers),
            named: Vec::new(),
            values: BytesMut::with_capacity(USUAL_BYTES),
        }
    }

    /// Take a header of the client, unless it is one that ends here.
    pub fn relay(&mut self, name: &[u8], value: &[u8]) -> Result<()> {
        let name = parse_name(name)?;
        if name == header::CONNECTION {
            self.named.extend(tokens(value));
        } else if !ends_here(&name) {
            let value = self.value(value)?;
            self.map.append(name, value);
        }
        Ok(())
    }

    /// End the client's headers; those set from now on replace them.
    pub fn end_of_client(&mut self) {
        for name in self.named.drain(..) {
            self.map.remove(name);
        }
    }

    /// Set a header in the caller's own name. Those that frame the message are refused.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<()> {
        let name = parse_own_name(name)?;
        let value = self.value(value)?;
        self.map.insert(name, value);
        Ok(())
    }

    /// Return them.
    pub fn into_map(self) -> HeaderMap {
        self.map
    }

    fn value(&mut self, value: &[u8]) -> Result<HeaderValue> {
        self.values.extend_from_slice(value);
        parse_value(self.values.split().freeze())
    }
}

fn parse_name(name: &[u8]) -> Result<HeaderName> {
    HeaderName::from_bytes(name).map_err(|_| Error::Request {
        message: "a header has a name that HTTP does not allow".to_owned(),
    })
}

/// Parse the name of a header that is not the client's.
pub(crate) fn parse_own_name(name: &[u8]) -> Result<HeaderName> {
    let name = parse_name(name)?;
    if is_hop_by_hop(&name) || name == header::CONNECTION || name == header::CONTENT_LENGTH || name == header::HOST {
        return Err(Error::Request {
            message: format!("the header {name} is set by the connection"),
        });
    }
    Ok(name)
}

/// Parse a value: no control characters, so that it stays one header.
pub(crate) fn parse_value(value: Bytes) -> Result<HeaderValue> {
    HeaderValue::from_maybe_shared(value).map_err(|_| Error::Request {
        message: "a header has a value that HTTP does not allow".to_owned(),
    })
}

fn tokens(value: &[u8]) -> impl Iterator<Item = HeaderName> + '_ {
    value
        .split(|byte| *byte == b',')
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "keep-alive" | "proxy-connection" | "te" | "trailer" | "trailers" | "transfer-encoding" | "upgrade"
    )
}

/// Say whether a client's header is for us, or is ours to set anew.
fn ends_here(name: &HeaderName) -> bool {
    is_hop_by_hop(name)
        || matches!(
            name.as_str(),
            "host" | "content-length" | "authorization" | "x-api-key" | "cookie" | "expect" | "http2-settings"
        )
        || name.as_str().starts_with("proxy-")
}

/// Remove from an answer what concerned its connection only. Its `Content-Length` stays if `length` says so.
pub(crate) fn relay_answer(headers: &mut HeaderMap, length: Option<u64>) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| tokens(value.as_bytes()))
        .filter(|name| *name != header::CONTENT_LENGTH)
        .collect();
    for name in named {
        headers.remove(name);
    }
    headers.remove(header::CONNECTION);
    for name in HOP_BY_HOP_IN_ANSWERS {
        headers.remove(name);
    }
    match length {
        // Several that say the same become one.
        Some(length) if headers.contains_key(header::CONTENT_LENGTH) => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        _ => {
            headers.remove(header::CONTENT_LENGTH);
        }
    }
}

const HOP_BY_HOP_IN_ANSWERS: [&str; 8] = [
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests {
    use super::{HeaderMap, RequestHeaders, relay_answer};

    fn relayed(headers: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut request = RequestHeaders::with_capacity(headers.len());
        for (name, value) in headers {
            request.relay(name.as_bytes(), value.as_bytes()).unwrap();
        }
        request.end_of_client();
        listed(&request.into_map())
    }

    fn listed(map: &HeaderMap) -> Vec<(String, String)> {
        let pairs = map.iter();
        let mut list: Vec<_> = pairs
            .map(|(name, value)| pair(name.as_str(), value.to_str().unwrap()))
            .collect();
        list.sort_by(|(one, _), (other, _)| one.cmp(other));
        list
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn what_is_between_client_and_us_ends_here() {
        let kept = relayed(&[
            ("Host", "us"),
            ("Authorization", "Bearer s"),
            ("X-Api-Key", "s"),
            ("Cookie", "s=1"),
            ("Connection", "close, X-Mine , keep-alive"),
            ("x-mine", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Authorization", "s"),
            ("Proxy-Anything", "s"),
            ("Expect", "100-continue"),
            ("TE", "trailers"),
            ("Trailer", "x"),
            ("Trailers", "x"),
            ("Upgrade", "h2c"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Length", "7"),
            ("Accept-Encoding", "gzip"),
            ("Content-Type", "application/json"),
            ("traceparent", "00-1-2-01"),
            ("X-Twice", "a"),
            ("X-Twice", "b"),
        ]);
        assert_eq!(
            kept,
            [
                pair("accept-encoding", "gzip"),
                pair("content-type", "application/json"),
                pair("traceparent", "00-1-2-01"),
                pair("x-twice", "a"),
                pair("x-twice", "b"),
            ]
        );
    }

    #[test]
    fn what_the_caller_sets_replaces_and_is_not_named_away() {
        let mut request = RequestHeaders::with_capacity(2);
        request.relay(b"connection", b"x-request-id").unwrap();
        request.relay(b"x-request-id", b"theirs").unwrap();
        request.end_of_client();
        request.set(b"X-Request-Id", b"ours").unwrap();
        request.set(b"Authorization", b"Bearer key").unwrap();
        let kept = listed(&request.into_map());
        let expected = [pair("authorization", "Bearer key"), pair("x-request-id", "ours")];
        assert_eq!(kept, expected);
    }

    #[test]
    fn nothing_can_be_injected() {
        let mut request = RequestHeaders::with_capacity(2);
        for (name, value) in [
            (&b"x"[..], &b"a\r\nEvil: 1"[..]),
            (b"x", b"a\nb"),
            (b"x", b"a\0b"),
            (b"x\r\nEvil", b"1"),
            (b"x: y", b"1"),
            (b"", b"1"),
        ] {
            assert_eq!(request.relay(name, value).unwrap_err().code(), "bad_header");
            assert_eq!(request.set(name, value).unwrap_err().code(), "bad_header");
        }
        for name in ["Transfer-Encoding", "content-length", "Host", "Connection", "Upgrade"] {
            assert_eq!(request.set(name.as_bytes(), b"1").unwrap_err().code(), "bad_header");
        }
    }

    #[test]
    fn an_answer_keeps_what_is_not_about_its_connection() {
        let answer = |length| {
            let mut map = HeaderMap::new();
            for (name, value) in [
                ("connection", "close, x-named"),
                ("connection", "content-length"),
                ("x-named", "1"),
                ("keep-alive", "timeout=5"),
                ("trailer", "x"),
                ("transfer-encoding", "chunked"),
                ("content-length", "5"),
                ("content-length", "5"),
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2"),
            ] {
                map.append(name, value.parse().unwrap());
            }
            relay_answer(&mut map, length);
            listed(&map)
        };
        let cookies = [pair("set-cookie", "a=1"), pair("set-cookie", "b=2")];
        assert_eq!(answer(None), cookies);
        assert_eq!(answer(Some(5)).len(), 3);
        assert!(answer(Some(5)).contains(&pair("content-length", "5")));
    }
}

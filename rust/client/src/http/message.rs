//! Small requests and their answers, whole in memory.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::retry::retry_after_s;
use crate::secret::Secret;

/// Longest message taken from an answer, in characters.
const MESSAGE_CHARACTERS: usize = 300;

/// A request whose answer is small enough to be held in memory.
#[derive(Clone)]
pub struct Request {
    /// HTTP method.
    pub method: String,
    /// Absolute URL.
    pub url: String,
    /// Headers besides `User-Agent` and `Content-Length`.
    pub headers: Vec<(String, Secret)>,
    /// Body; an empty one is sent as such if the method is not GET, HEAD or DELETE.
    pub body: Bytes,
    /// Most time for one attempt, its body included unless it is `long`.
    pub timeout: Duration,
    /// Tries in all, the first included.
    pub attempts: u32,
    /// Longest body accepted.
    pub max_body_bytes: u64,
    /// Whether the body may take longer than `timeout`, as long as it does not stall.
    pub long: bool,
    /// Whether redirects to the same origin are followed; others are answers.
    pub follow: bool,
}

impl Request {
    /// Make a request: no headers, no body, one attempt of 30 s, at most 64 MiB of answer, no redirects.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Bytes::new(),
            timeout: Duration::from_secs(30),
            attempts: 1,
            max_body_bytes: 64 << 20,
            long: false,
            follow: false,
        }
    }
}

/// A whole answer, of any status.
#[derive(Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// The URL that answered.
    pub url: String,
}

impl Answer {
    /// Return the first header called `name`, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Return the answer if its status is 2xx, else the error it stands for.
    pub fn checked(self) -> Result<Self> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        Err(self.to_error())
    }

    /// Return the error that an answer of this status stands for.
    pub fn to_error(&self) -> Error {
        status_error(self.status, self.host(), &self.headers, &self.body)
    }

    /// Return the host that answered, with the port if it is not the usual one.
    pub fn host(&self) -> String {
        reqwest::Url::parse(&self.url).map_or_else(|_| String::new(), |url| crate::failure::host_of(&url))
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &without_query(&self.url))
            .field("headers", &self.headers)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("url", &without_query(&self.url))
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Queries hold signatures.
fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

/// Make the error for an answer that is not what was wanted; `body` may be cut off.
pub(crate) fn status_error(status: u16, host: String, headers: &[(String, String)], body: &[u8]) -> Error {
    let line = |name| header(headers, name).map(one_line).filter(|line| !line.is_empty());
    Error::Status {
        status,
        host,
        code: line("x-error-code"),
        message: line("x-error-message")
            .or_else(|| json_message(body))
            .unwrap_or_default(),
        request_id: line("x-request-id"),
        retry_after_s: header(headers, "retry-after").and_then(|value| retry_after_s(value, SystemTime::now())),
    }
}

fn json_message(body: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    let text = ["error", "message"].iter().find_map(|key| json.get(key)?.as_str())?;
    Some(one_line(text))
}

/// Cut to one line of printable characters. What others say must not forge lines of a log.
fn one_line(text: &str) -> String {
    let words = text.split(|character: char| character.is_whitespace() || character.is_control());
    let mut line = String::new();
    for word in words.filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line.chars().take(MESSAGE_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::{Error, status_error};

    fn message(headers: &[(&str, &str)], body: &str) -> String {
        let headers: Vec<_> = headers
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        status_error(403, "h".to_owned(), &headers, body.as_bytes()).to_string()
    }

    #[test]
    fn says_what_the_other_side_says_in_one_line() {
        assert_eq!(message(&[], "<html>"), "h answered with status 403");
        assert_eq!(
            message(&[], r#"{"error":"no\n  way\u0007"}"#),
            "h answered with status 403: no way"
        );
        let headers = [
            ("x-error-code", "GatedRepo"),
            ("x-error-message", "ask first"),
            ("x-request-id", "r1"),
        ];
        assert_eq!(
            message(&headers, r#"{"error":"other"}"#),
            "h answered with status 403 (GatedRepo): ask first [request r1]"
        );
        let long = format!(r#"{{"error":"{}"}}"#, "ä".repeat(1000));
        assert_eq!(message(&[], &long).chars().filter(|c| *c == 'ä').count(), 300);
    }

    #[test]
    fn keeps_retry_after() {
        let headers = [("retry-after".to_owned(), "7".to_owned())];
        let error = status_error(429, String::new(), &headers, b"");
        assert!(matches!(
            error,
            Error::Status {
                retry_after_s: Some(7),
                ..
            }
        ));
    }
}

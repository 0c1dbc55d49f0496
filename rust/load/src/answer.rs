//! An HTTP/1.1 message as it comes in, in pieces: its head, then its body without the framing (RFC 9112).
//!
//! Only as much as the servers and clients of a bench send each other.

/// A head: its first line and how the body is framed.
pub(crate) struct Head<'a> {
    pub(crate) line: &'a [u8],
    pub(crate) body: Body,
    /// Bytes of the head, with the empty line.
    pub(crate) len: usize,
}

impl<'a> Head<'a> {
    /// None until the empty line is there.
    pub(crate) fn parse(input: &'a [u8]) -> Option<Self> {
        let end = find(input, b"\r\n\r\n")?;
        let mut lines = input.get(..end)?.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let line = lines.next().unwrap_or_default();
        let mut body = Body::Length(0);
        for (name, value) in lines.filter_map(|line| line.split_at_checked(find(line, b":")?)) {
            if name.eq_ignore_ascii_case(b"content-length") {
                body = Body::Length(number(value));
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                body = Body::Size(0);
            }
        }
        Some(Self {
            line,
            body,
            len: end + 4,
        })
    }
}

/// Where in a body the next byte belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// So many bytes to come.
    Length(usize),
    /// In the digits of a chunk's size.
    Size(usize),
    /// Behind them, before the end of the line.
    Extension(usize),
    Chunk(usize),
    ChunkEnd,
    /// Behind the last chunk; whether the line has anything in it.
    Trailer(bool),
}

impl Body {
    pub(crate) const END: Self = Self::Length(0);

    /// Take what belongs to the body; its content goes to `content`. Returns what is left behind the end.
    pub(crate) fn take<'a>(&mut self, mut input: &'a [u8], mut content: impl FnMut(&'a [u8])) -> &'a [u8] {
        while *self != Self::END {
            if let Self::Length(left) | Self::Chunk(left) = *self {
                let (now, rest) = input.split_at_checked(left).unwrap_or((input, &[]));
                content(now);
                input = rest;
                *self = match (*self, left - now.len()) {
                    (Self::Chunk(_), 0) => Self::ChunkEnd,
                    (Self::Chunk(_), left) => Self::Chunk(left),
                    (_, left) => Self::Length(left),
                };
                if input.is_empty() {
                    break;
                }
                continue;
            }
            let Some((byte, rest)) = input.split_first() else { break };
            input = rest;
            *self = self.after(*byte);
        }
        input
    }

    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Size(0) | Self::Extension(0) | Self::Trailer(true), b'\n') => Self::Trailer(false),
            (Self::Size(size) | Self::Extension(size), b'\n') => Self::Chunk(size),
            (Self::Size(size), _) => match char::from(byte).to_digit(16) {
                Some(digit) => Self::Size(size * 16 + digit as usize),
                None => Self::Extension(size),
            },
            (Self::ChunkEnd, b'\n') => Self::Size(0),
            (Self::Trailer(false), b'\n') => Self::END,
            (Self::Trailer(any), byte) => Self::Trailer(any || byte != b'\r'),
            (other, _) => other,
        }
    }
}

pub(crate) fn find(input: &[u8], wanted: &[u8]) -> Option<usize> {
    input.windows(wanted.len()).position(|window| window == wanted)
}

/// The first number in a text; 0 where there is none.
pub(crate) fn number(text: &[u8]) -> usize {
    let digits = text
        .iter()
        .skip_while(|byte| !byte.is_ascii_digit())
        .take_while(|byte| byte.is_ascii_digit());
    digits.fold(0_usize, |sum, digit| {
        sum.saturating_mul(10).saturating_add(usize::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(head: &[u8], body: &[u8], step: usize) -> (Vec<u8>, Vec<u8>) {
        let mut place = Head::parse(head).unwrap().body;
        let (mut found, mut behind) = (Vec::new(), Vec::new());
        for piece in body.chunks(step) {
            behind.extend_from_slice(place.take(piece, |more| found.extend_from_slice(more)));
        }
        assert!(place == Body::END);
        (found, behind)
    }

    #[test]
    fn a_body_comes_out_however_it_is_split() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let length = b"HTTP/1.1 200 OK\r\nX: 1\r\nContent-Length: 9\r\n\r\n";
        for step in [1, 2, 3, 7, 100] {
            let framed = b"4;x=y\r\nfour\r\n0005\r\n five\r\n0\r\nA: b\r\n\r\nHTTP";
            assert_eq!(
                content(chunked, framed, step),
                (b"four five".to_vec(), b"HTTP".to_vec())
            );
            assert_eq!(
                content(length, b"four fiveHTTP", step),
                (b"four five".to_vec(), b"HTTP".to_vec())
            );
        }
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\n").is_none());
        assert_eq!(
            Head::parse(b"HTTP/1.1 200 OK\r\n\r\n").unwrap().line,
            b"HTTP/1.1 200 OK"
        );
    }
}

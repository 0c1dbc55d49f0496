//! Answers as they should be, as they may be, and as nobody should send them.

use bytes::Bytes;

use super::{MAX_HEAD_BYTES, PartsParser, boundary};

const RANGES: [std::ops::Range<u64>; 3] = [0..1, 100..400, 1000..1007];

fn content(range: &std::ops::Range<u64>) -> Vec<u8> {
    range.clone().map(|at| (at % 251) as u8).collect()
}

/// An answer whose first delimiter follows `begin`.
fn answer(begin: &str, head: impl Fn(&std::ops::Range<u64>) -> String) -> Vec<u8> {
    let mut body = begin.as_bytes().to_vec();
    for range in &RANGES {
        body.extend(format!("--b b{}\r\n\r\n", head(range)).as_bytes());
        body.extend(content(range));
        body.extend(b"\r\n");
    }
    body.extend(b"--b b--\r\n");
    body
}

fn usual(range: &std::ops::Range<u64>) -> String {
    format!(
        "\r\nContent-Type: a/b\r\nContent-Range: bytes {}-{}/2000",
        range.start,
        range.end - 1
    )
}

/// Push `body` in pieces; returns the content by position, and whether all of it came.
fn parse(body: &[u8], piece_bytes: usize, limit: u64) -> Result<(Vec<(u64, u8)>, bool), String> {
    let mut parser = PartsParser::new(b"--b b".to_vec(), RANGES.to_vec());
    let mut all = Vec::new();
    for piece in body.chunks(piece_bytes) {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some((start, piece)) = parser.next(&mut input, limit)? {
            assert!(!piece.is_empty() && piece.len() as u64 <= limit);
            all.extend((start..).zip(piece));
        }
        assert!(input.is_empty() || parser.is_over());
        assert!(parser.head.capacity() <= 2 * MAX_HEAD_BYTES);
    }
    Ok((all, parser.is_over()))
}

fn expected() -> Vec<(u64, u8)> {
    RANGES
        .iter()
        .flat_map(|range| range.clone().zip(content(range)))
        .collect()
}

#[test]
fn splits_do_not_matter() {
    for begin in ["", "\r\n"] {
        let body = answer(begin, usual);
        for piece_bytes in [1, 2, 3, 7, 37, 255, body.len()] {
            for limit in [1, 10, u64::MAX] {
                assert_eq!(parse(&body, piece_bytes, limit), Ok((expected(), true)));
            }
        }
    }
}

#[test]
fn heads_may_look_otherwise() {
    let heads: [fn(&std::ops::Range<u64>) -> String; 2] = [
        |range| format!(" \t\r\ncontent-range:bytes {}-{}/*", range.start, range.end - 1),
        |range| {
            format!(
                "\r\nCONTENT-RANGE:  BYTES {}-{}/3000 \r\nx: y",
                range.start,
                range.end - 1
            )
        },
    ];
    for head in heads {
        assert_eq!(parse(&answer("", head), 5, u64::MAX), Ok((expected(), true)));
    }
}

#[test]
fn other_parts_than_asked_for_are_refused() {
    let bad: [fn(&std::ops::Range<u64>) -> String; 8] = [
        |_| String::new(),
        |_| "\r\nContent-Type: a/b".to_owned(),
        |range| format!("\r\nContent-Range: bytes {}-{}/2000", range.start, range.end),
        |range| format!("\r\nContent-Range: bytes {}-{}/2000", range.start + 1, range.end),
        |range| format!("\r\nContent-Range: items {}-{}/2000", range.start, range.end - 1),
        |range| format!("\r\nContent-Range: bytes {}-18446744073709551615/*", range.start),
        |range| format!("--\r\nContent-Range: bytes {}-{}/2000", range.start, range.end - 1),
        |range| format!("x\r\nContent-Range: bytes {}-{}/2000", range.start, range.end - 1),
    ];
    for head in bad {
        let reason = parse(&answer("", head), 64, u64::MAX).unwrap_err();
        assert!(reason.contains("bytes [0, 1)"), "{reason}");
    }
    let reason = parse(&answer("preamble\r\n", usual), 64, u64::MAX).unwrap_err();
    assert!(reason.contains("bytes [0, 1)"), "{reason}");
}

#[test]
fn a_head_without_an_end_costs_little() {
    for filler in [&b"x"[..], b"\r\n", b"\r\n-", b"--b b\r\nx: y\r\nx: "] {
        let reason = parse(&filler.repeat(1 << 16), 1000, u64::MAX).unwrap_err();
        assert!(reason.contains("long head") || reason.contains("asked for"), "{reason}");
    }
}

#[test]
fn an_answer_cut_anywhere_is_not_over() {
    let body = answer("\r\n", usual);
    let end_of_content = body.len() - b"\r\n--b b--\r\n".len();
    for end in 0..end_of_content {
        let (all, is_over) = parse(&body[..end], 64, u64::MAX).unwrap();
        assert!(!is_over, "cut at {end}");
        assert!(expected().starts_with(&all));
    }
    assert!(parse(&body[..end_of_content], 64, u64::MAX).unwrap().1);
}

#[test]
fn damage_never_gives_bytes_of_another_place_or_a_panic() {
    let body = answer("\r\n", usual);
    let positions: Vec<u64> = expected().iter().map(|(at, _)| *at).collect();
    let mut seed = 1_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % below
    };
    for _ in 0..20_000 {
        let mut damaged = body.clone();
        for _ in 0..=random(3) {
            let at = random(damaged.len());
            match random(4) {
                0 => damaged[at] ^= 1 << random(8),
                1 => drop(damaged.drain(at..(at + 1 + random(40)).min(body.len() / 2).max(at))),
                2 => damaged.insert(at, b"\r\n-:0 "[random(6)]),
                _ => damaged.extend_from_within(at..),
            }
        }
        if let Ok((all, _)) = parse(&damaged, 1 + random(300), u64::MAX) {
            assert!(positions.starts_with(&all.iter().map(|(at, _)| *at).collect::<Vec<_>>()));
        }
    }
}

#[test]
fn boundaries() {
    for (content_type, wanted) in [
        ("multipart/byteranges; boundary=abc", Some("abc")),
        (
            "Multipart/ByteRanges ;charset=x; BOUNDARY = \"a b'()+_,-./:=?\" ",
            Some("a b'()+_,-./:=?"),
        ),
        ("multipart/byteranges;boundary=\"a\";x=y", Some("a")),
        ("multipart/byteranges", None),
        ("multipart/byteranges; boundary=", None),
        ("multipart/byteranges; boundary=\"\"", None),
        ("multipart/byteranges; boundary=\"a", None),
        ("multipart/byteranges; boundary=\"a \"", None),
        ("multipart/byteranges; boundary=a\u{e9}", None),
        ("multipart/byteranges; xboundary=a", None),
        ("multipart/mixed; boundary=a", None),
        ("application/octet-stream", None),
    ] {
        assert_eq!(boundary(content_type), wanted, "{content_type}");
    }
    let boundary_of = |length: usize| format!("multipart/byteranges; boundary={}", "a".repeat(length));
    assert!(boundary(&boundary_of(70)).is_some());
    assert!(boundary(&boundary_of(71)).is_none());
}

//! Which bytes an answer holds, compared with those asked for.
//!
//! Source: RFC 9110, "Range Requests".

use std::ops::Range;

use super::message::header;

/// What part of the resource a body holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) start: u64,
    /// `u64::MAX` if not known.
    pub(super) end: u64,
    pub(super) total: Option<u64>,
    /// Bytes before `start` that come first.
    pub(super) skip: u64,
}

impl Extent {
    /// Compare an answer with the range asked for. The error completes a sentence about the host.
    pub(super) fn read(status: u16, headers: &[(String, String)], range: Option<Range<u64>>) -> Result<Self, String> {
        check_coding(headers)?;
        if status == 200 {
            return Self::of_whole(header(headers, "content-length"), range);
        }
        let Some(range) = range else {
            return Err("sends a part although the whole was asked for".to_owned());
        };
        let text = header(headers, "content-range").unwrap_or_default();
        let (start, end, total) =
            content_range(text).ok_or_else(|| format!("sends a part without a usable Content-Range: {text:?}"))?;
        let same_end = match range.end {
            u64::MAX => total.is_none_or(|total| total == end),
            wanted => wanted == end,
        };
        if start != range.start || !same_end {
            let Range { start: from, end: to } = range;
            return Err(format!(
                "sends another part than asked for: wanted bytes [{from}, {to}), got [{start}, {end})"
            ));
        }
        Ok(Self {
            start,
            end,
            total,
            skip: 0,
        })
    }

    /// The whole of an answer with several parts, whatever they are.
    pub(super) fn of_parts(headers: &[(String, String)]) -> Result<Self, String> {
        check_coding(headers)?;
        Self::of_whole(header(headers, "content-length"), None)
    }

    fn of_whole(length: Option<&str>, range: Option<Range<u64>>) -> Result<Self, String> {
        let total = length.and_then(|length| length.trim().parse().ok());
        let Range { start, end } = range.unwrap_or(0..u64::MAX);
        let end = match (total, end) {
            (Some(total), u64::MAX) => total,
            (Some(total), end) if end > total => {
                return Err(format!("sends {total} bytes although bytes up to {end} were asked for"));
            }
            (_, end) => end,
        };
        if start > end {
            return Err(format!("sends {end} bytes although bytes from {start} were asked for"));
        }
        Ok(Self {
            start,
            end,
            total,
            skip: start,
        })
    }
}

fn check_coding(headers: &[(String, String)]) -> Result<(), String> {
    match header(headers, "content-encoding").filter(|coding| *coding != "identity") {
        Some(coding) => Err(format!("sends {coding:?} although it was asked for plain bytes")),
        None => Ok(()),
    }
}

/// Read `bytes 0-9/100` or `bytes 0-9/*`: start, end (exclusive), length of the whole.
pub(super) fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (unit, rest) = text.trim().split_once(' ')?;
    let (range, total) = rest.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (start, end) = (
        first.trim().parse().ok()?,
        last.trim().parse::<u64>().ok()?.checked_add(1)?,
    );
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    let sane = unit.eq_ignore_ascii_case("bytes") && start < end && total.is_none_or(|total| end <= total);
    sane.then_some((start, end, total))
}

#[cfg(test)]
mod tests {
    use super::{Extent, content_range};

    fn extent(status: u16, headers: &[(&str, &str)], range: Option<std::ops::Range<u64>>) -> Result<Extent, String> {
        let headers: Vec<_> = headers
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Extent::read(status, &headers, range)
    }

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 0-9/100"), Some((0, 10, Some(100))));
        assert_eq!(content_range(" Bytes 5-5/*"), Some((5, 6, None)));
        for bad in [
            "",
            "bytes */100",
            "bytes 9-0/100",
            "bytes 0-100/100",
            "items 0-9/100",
            "bytes 0-9",
            "bytes 0-18446744073709551615/*",
        ] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_part_is_exactly_what_was_asked_for() {
        let part = [("content-range", "bytes 10-19/100")];
        let expected = Extent {
            start: 10,
            end: 20,
            total: Some(100),
            skip: 0,
        };
        assert_eq!(extent(206, &part, Some(10..20)), Ok(expected));
        for range in [10..19, 11..20, 0..20, 10..u64::MAX] {
            assert!(extent(206, &part, Some(range)).is_err());
        }
        assert!(extent(206, &part, None).is_err());
        assert!(extent(206, &[], Some(10..20)).is_err());
        let tail = [("content-range", "bytes 90-99/100")];
        assert_eq!(extent(206, &tail, Some(90..u64::MAX)).unwrap().end, 100);
    }

    #[test]
    fn a_part_is_cut_out_of_the_whole() {
        let whole = [("content-length", "100")];
        let expected = |start, end| Extent {
            start,
            end,
            total: Some(100),
            skip: start,
        };
        assert_eq!(extent(200, &whole, Some(10..20)), Ok(expected(10, 20)));
        assert_eq!(extent(200, &whole, Some(10..u64::MAX)), Ok(expected(10, 100)));
        assert_eq!(extent(200, &whole, None), Ok(expected(0, 100)));
        assert!(extent(200, &whole, Some(10..101)).is_err());
        assert!(extent(200, &whole, Some(101..u64::MAX)).is_err());
        assert_eq!(extent(200, &[], None).unwrap().end, u64::MAX);
        assert!(extent(200, &[("content-encoding", "gzip")], None).is_err());
    }
}

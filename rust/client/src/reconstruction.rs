//! How a file is put together, as a store answers it: both versions of the JSON, not trusted.
//!
//! What passes can be worked with unchecked: lengths within the format's limits, every term inside
//! one fetch, byte ranges that agree with chunk ranges as far as can be told without the xorb.
//! Whether the chunks are the right ones is for who decodes them to find out.
//!
//! Source: draft-denis-xet-03, "Reconstruction"; the answers of the deployed store.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use serde::Deserialize;
use xetway_core::Hash;
use xetway_core::plan::PlannedTerm;
use xetway_core::xorb::{ChunkHeader, MAX_CHUNK_BYTES, MAX_CHUNKS, MAX_COMPRESSED_CHUNK_BYTES};

use crate::error::{Error, Result, TransportKind};
use crate::secret::Secret;

/// Most terms of one answer: 16 TiB of chunks of 64 KiB, one a term, would need more; nothing real does.
const MAX_TERMS: usize = 4 << 20;
/// Most fetches of one answer.
const MAX_FETCHES: usize = 4 << 20;
/// Longest URL.
const MAX_URL_BYTES: usize = 16 << 10;
/// Most raw bytes of one term: twice what a xorb may hold, because old xorbs are larger.
const MAX_TERM_BYTES: u32 = 128 << 20;
/// Shortest stored chunk: a header and one byte.
const MIN_STORED_BYTES: u64 = ChunkHeader::BYTES as u64 + 1;
/// Longest stored chunk.
const MAX_STORED_BYTES: u64 = ChunkHeader::BYTES as u64 + MAX_COMPRESSED_CHUNK_BYTES as u64;

/// A range of a xorb and the URL to get it from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Chunks of the xorb.
    pub chunks: Range<u32>,
    /// The bytes that hold them.
    pub bytes: Range<u64>,
    /// Absolute URL, mostly signed for exactly these bytes.
    pub url: Secret,
}

/// How to put a byte range of a file together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconstruction {
    /// Raw bytes of the first term before the range.
    pub offset_into_first: u64,
    /// Terms in file order.
    pub terms: Vec<PlannedTerm>,
    /// What to fetch of each xorb: first chunks and last chunks both ascending, none inside another.
    pub fetches: HashMap<Hash, Vec<Fetch>>,
}

/// The JSON of both versions; which of the last two is there tells them apart.
#[derive(Deserialize)]
struct Json<'a> {
    offset_into_first_range: u64,
    #[serde(borrow)]
    terms: Vec<JsonTerm<'a>>,
    #[serde(borrow, default)]
    fetch_info: Option<HashMap<Cow<'a, str>, Vec<JsonFetch>>>,
    #[serde(borrow, default)]
    xorbs: Option<HashMap<Cow<'a, str>, Vec<JsonXorb>>>,
}

#[derive(Deserialize)]
struct JsonTerm<'a> {
    #[serde(borrow)]
    hash: Cow<'a, str>,
    unpacked_length: u32,
    range: JsonRange<u32>,
}

/// Version 1: a URL for each range.
#[derive(Deserialize)]
struct JsonFetch {
    range: JsonRange<u32>,
    url: String,
    url_range: JsonRange<u64>,
}

/// Version 2: a URL for several ranges.
#[derive(Deserialize)]
struct JsonXorb {
    url: String,
    ranges: Vec<JsonPart>,
}

#[derive(Deserialize)]
struct JsonPart {
    chunks: JsonRange<u32>,
    bytes: JsonRange<u64>,
}

#[derive(Clone, Copy, Deserialize)]
struct JsonRange<T> {
    start: T,
    end: T,
}

impl Reconstruction {
    /// Return the fetch that holds the chunks of `term`.
    pub fn fetch_for(&self, term: &PlannedTerm) -> Option<&Fetch> {
        covering(self.fetches.get(&term.xorb)?, term.start, term.end)
    }

    /// Return the raw bytes of all terms, those before the range included.
    pub fn raw_bytes(&self) -> u64 {
        self.terms.iter().map(|term| u64::from(term.unpacked_bytes)).sum()
    }

    /// Read an answer of `host`, of either version.
    pub(crate) fn parse(json: &[u8], host: &str) -> Result<Self> {
        Self::read(json).map_err(|reason| {
            let message = format!("{host} answers with a reconstruction that cannot be used: {reason}");
            Error::transport(TransportKind::Protocol, host, message)
        })
    }

    fn read(json: &[u8]) -> Result<Self, String> {
        // The text of the error may quote the JSON, which holds signed URLs.
        let json: Json<'_> = serde_json::from_slice(json)
            .map_err(|error| format!("not the JSON expected, line {} column {}", error.line(), error.column()))?;
        let fetches = match (json.xorbs, json.fetch_info) {
            (Some(xorbs), _) => collect(xorbs, json_xorbs)?,
            (None, Some(fetch_info)) => collect(fetch_info, json_fetches)?,
            (None, None) => return Err("neither xorbs nor fetch_info".to_owned()),
        };
        if json.terms.len() > MAX_TERMS {
            return Err(format!("{} terms, more than {MAX_TERMS}", json.terms.len()));
        }
        let terms = json.terms.iter().map(read_term).collect::<Result<Vec<_>, _>>()?;
        let plan = Self {
            offset_into_first: json.offset_into_first_range,
            terms,
            fetches,
        };
        if let Some(term) = plan.terms.iter().find(|term| plan.fetch_for(term).is_none()) {
            let PlannedTerm { xorb, start, end, .. } = term;
            return Err(format!("no fetch covers chunks [{start}, {end}) of xorb {xorb}"));
        }
        let first_bytes = plan.terms.first().map_or(1, |term| u64::from(term.unpacked_bytes));
        if plan.offset_into_first >= first_bytes {
            return Err(format!("offset {} is outside the first term", plan.offset_into_first));
        }
        Ok(plan)
    }
}

fn read_term(term: &JsonTerm<'_>) -> Result<PlannedTerm, String> {
    let xorb = Hash::parse(&term.hash).map_err(|error| error.to_string())?;
    let JsonRange { start, end } = term.range;
    let chunks = chunk_count(start, end)?;
    let bytes = term.unpacked_length;
    if bytes < chunks || bytes > MAX_TERM_BYTES || u64::from(bytes) > u64::from(chunks) * u64::from(MAX_CHUNK_BYTES) {
        return Err(format!("a term of {chunks} chunks has {bytes} bytes"));
    }
    Ok(PlannedTerm {
        xorb,
        unpacked_bytes: bytes,
        start,
        end,
    })
}

fn chunk_count(start: u32, end: u32) -> Result<u32, String> {
    if start >= end || end as usize > MAX_CHUNKS {
        return Err(format!("chunks [{start}, {end}) are not chunks of a xorb"));
    }
    Ok(end - start)
}

fn json_fetches(fetches: Vec<JsonFetch>) -> impl Iterator<Item = (JsonRange<u32>, JsonRange<u64>, Secret)> {
    fetches
        .into_iter()
        .map(|fetch| (fetch.range, fetch.url_range, Secret::from(fetch.url)))
}

fn json_xorbs(xorbs: Vec<JsonXorb>) -> impl Iterator<Item = (JsonRange<u32>, JsonRange<u64>, Secret)> {
    xorbs.into_iter().flat_map(|xorb| {
        let url = Secret::from(xorb.url);
        xorb.ranges
            .into_iter()
            .map(move |part| (part.chunks, part.bytes, url.clone()))
    })
}

fn collect<J, I>(
    map: HashMap<Cow<'_, str>, Vec<J>>,
    entries: impl Fn(Vec<J>) -> I,
) -> Result<HashMap<Hash, Vec<Fetch>>, String>
where
    I: Iterator<Item = (JsonRange<u32>, JsonRange<u64>, Secret)>,
{
    let mut count = 0;
    let mut fetches = HashMap::with_capacity(map.len());
    for (hash, list) in map {
        let xorb = Hash::parse(&hash).map_err(|error| error.to_string())?;
        let mut read = entries(list)
            .map(|(chunks, bytes, url)| read_fetch(chunks, bytes, url))
            .collect::<Result<Vec<_>, _>>()?;
        count += read.len();
        if count > MAX_FETCHES {
            return Err(format!("more than {MAX_FETCHES} fetches"));
        }
        order(&mut read).map_err(|reason| format!("{reason} of xorb {xorb}"))?;
        fetches.insert(xorb, read);
    }
    Ok(fetches)
}

fn read_fetch(chunks: JsonRange<u32>, bytes: JsonRange<u64>, url: Secret) -> Result<Fetch, String> {
    let count = u64::from(chunk_count(chunks.start, chunks.end)?);
    // The last byte is included on the wire.
    let bytes = bytes.start..bytes.end.saturating_add(1);
    let length = bytes.end.saturating_sub(bytes.start);
    let first = u64::from(chunks.start);
    let begins_well = match first {
        0 => bytes.start == 0,
        first => (first * MIN_STORED_BYTES..=first * MAX_STORED_BYTES).contains(&bytes.start),
    };
    if !begins_well || !(count * MIN_STORED_BYTES..=count * MAX_STORED_BYTES).contains(&length) {
        let (start, end) = (chunks.start, chunks.end);
        return Err(format!(
            "bytes [{}, {}) cannot hold chunks [{start}, {end})",
            bytes.start, bytes.end
        ));
    }
    let text = url.expose();
    if text.len() > MAX_URL_BYTES || !(text.starts_with("https://") || text.starts_with("http://")) {
        return Err("a URL is not absolute, not http or https, or too long".to_owned());
    }
    Ok(Fetch {
        chunks: chunks.start..chunks.end,
        bytes,
        url,
    })
}

/// Sort the fetches of one xorb, drop those inside another, and compare bytes with chunks.
fn order(fetches: &mut Vec<Fetch>) -> Result<(), String> {
    fetches.sort_unstable_by_key(|fetch| (fetch.chunks.start, std::cmp::Reverse(fetch.chunks.end)));
    fetches.dedup_by(|next, kept| next.chunks.end <= kept.chunks.end);
    for pair in fetches.windows(2) {
        let [left, right] = pair else { continue };
        let agrees = left.bytes.start < right.bytes.start
            && left.bytes.end < right.bytes.end
            && match right.chunks.start.cmp(&left.chunks.end) {
                std::cmp::Ordering::Less => right.bytes.start < left.bytes.end,
                std::cmp::Ordering::Equal => right.bytes.start == left.bytes.end,
                std::cmp::Ordering::Greater => right.bytes.start > left.bytes.end,
            };
        if !agrees {
            let (left, right) = (&left.chunks, &right.chunks);
            return Err(format!(
                "the bytes of chunks [{}, {}) and [{}, {}) contradict each other",
                left.start, left.end, right.start, right.end
            ));
        }
    }
    Ok(())
}

/// Find the fetch that holds chunks `start..end` in an ordered list: only the last that begins before can.
fn covering(fetches: &[Fetch], start: u32, end: u32) -> Option<&Fetch> {
    let after = fetches.partition_point(|fetch| fetch.chunks.start <= start);
    let last = fetches.get(after.checked_sub(1)?)?;
    (last.chunks.end >= end).then_some(last)
}

#[cfg(test)]
mod tests;

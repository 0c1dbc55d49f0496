//! What the store answers to each route.

use std::ops::Range;

use xetway_core::Hash;
use xetway_core::plan::plan;
use xetway_core::shard::{self, Form, Shard};
use xetway_core::xorb::parse_xorb;

use super::{PlainFile, Seen, Several, State};

pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }
}

pub(super) fn answer(state: &mut State, seen: &Seen, body: &[u8], url: &str) -> Reply {
    let parts: Vec<&str> = seen.path.split('/').skip(1).collect();
    match (seen.method.as_str(), parts.as_slice()) {
        ("GET", ["v2", "reconstructions", file]) => reconstruction(state, file, seen, url),
        ("GET", ["data", xorb, name]) => data(state, xorb, name, seen),
        ("GET", ["plain", name]) => match state.plain.get(*name) {
            Some(file) => plain(file, seen),
            None => Reply::new(404, "{}"),
        },
        ("POST", ["v1", "xorbs", "default", xorb]) => {
            let hash = Hash::parse(xorb).unwrap();
            match parse_xorb(body, Some(hash)) {
                Ok(meta) => {
                    state.xorbs.insert(hash, (body.to_vec(), meta));
                    Reply::new(200, r#"{"was_inserted":true}"#)
                }
                Err(error) => Reply::new(400, format!(r#"{{"error":"{error}"}}"#)),
            }
        }
        ("POST", ["v1", "shards"]) => {
            let shard = shard::parse(body).unwrap();
            for file in &shard.files {
                state.files.insert(file.hash, file.terms.clone());
            }
            state.shards.push(shard);
            Reply::new(200, r#"{"result":1}"#)
        }
        ("GET", ["v1", "chunks", "default", chunk]) => chunk_answer(state, Hash::parse(chunk).unwrap()),
        _ => Reply::new(404, "{}"),
    }
}

fn chunk_answer(state: &State, chunk: Hash) -> Reply {
    let Some(key) = state.key else {
        return Reply::new(404, "{}");
    };
    let mut shards = state.shards.iter();
    let Some(shard) = shards.find(|shard| {
        shard
            .xorbs
            .iter()
            .flat_map(|xorb| &xorb.chunks)
            .any(|info| info.hash == chunk)
    }) else {
        return Reply::new(404, "{}");
    };
    let told = Shard {
        files: Vec::new(),
        xorbs: shard.xorbs.clone(),
        footer: None,
    };
    let form = Form::Keyed {
        key,
        created_s: 1,
        expiry_s: 0,
    };
    Reply::new(200, shard::serialise(&told, form))
}

fn range_of(seen: &Seen) -> Option<Range<u64>> {
    range(seen.headers.get("range")?.strip_prefix("bytes=")?)
}

fn range(text: &str) -> Option<Range<u64>> {
    let (start, end) = text.split_once('-')?;
    let end = if end.is_empty() {
        u64::MAX
    } else {
        end.parse::<u64>().unwrap() + 1
    };
    Some(start.parse().unwrap()..end)
}

fn reconstruction(state: &State, file: &str, seen: &Seen, url: &str) -> Reply {
    let Some(terms) = state.files.get(&Hash::parse(file).unwrap()) else {
        return Reply::new(404, "{}");
    };
    let size: u64 = terms.iter().map(|term| u64::from(term.unpacked_bytes)).sum();
    let range = range_of(seen).unwrap_or(0..size);
    if range.start >= size {
        return Reply::new(416, "{}");
    }
    let lookup = |xorb: &Hash| Ok::<_, xetway_core::Error>(&state.xorbs[xorb].1);
    let plan = plan(terms, range.start, range.end, lookup).unwrap();
    let terms: Vec<String> = plan
        .terms
        .iter()
        .map(|term| {
            format!(
                r#"{{"hash":"{}","unpacked_length":{},"range":{{"start":{},"end":{}}}}}"#,
                term.xorb, term.unpacked_bytes, term.start, term.end
            )
        })
        .collect();
    let mut xorbs = Vec::new();
    for fetch in &plan.fetches {
        let per_url = if state.shared_urls { fetch.ranges.len() } else { 1 };
        let entries: Vec<String> = fetch
            .ranges
            .chunks(per_url)
            .map(|ranges| {
                let signed = ranges
                    .iter()
                    .map(|range| format!("{}-{}", range.byte_start, range.byte_end));
                let signed = signed.collect::<Vec<_>>().join(",");
                let ranges = ranges.iter().map(|range| {
                    format!(
                        r#"{{"chunks":{{"start":{},"end":{}}},"bytes":{{"start":{},"end":{}}}}}"#,
                        range.chunk_start,
                        range.chunk_end,
                        range.byte_start,
                        range.byte_end - 1
                    )
                });
                let ranges = ranges.collect::<Vec<_>>().join(",");
                let (xorb, generation) = (fetch.xorb, state.generation);
                format!(r#"{{"url":"{url}/data/{xorb}/{generation}:{signed}","ranges":[{ranges}]}}"#)
            })
            .collect();
        xorbs.push(format!(r#""{}":[{}]"#, fetch.xorb, entries.join(",")));
    }
    Reply::new(
        200,
        format!(
            r#"{{"offset_into_first_range":{},"terms":[{}],"xorbs":{{{}}}}}"#,
            plan.offset_into_first,
            terms.join(","),
            xorbs.join(",")
        ),
    )
}

fn data(state: &State, xorb: &str, name: &str, seen: &Seen) -> Reply {
    let (generation, signed) = name.split_once(':').unwrap();
    // Half-open in names, closed in headers.
    let signed: Vec<_> = signed.split(',').map(|text| range(text).unwrap()).collect();
    let wanted = seen.headers["range"].strip_prefix("bytes=").unwrap();
    let wanted: Vec<_> = wanted.split(',').map(|text| range(text).unwrap()).collect();
    let is_signed = |range: &Range<u64>| {
        let fits = |signed: &Range<u64>| {
            let signed = signed.start..signed.end - 1;
            if state.exact_ranges {
                signed == *range
            } else {
                signed.start <= range.start && range.end <= signed.end
            }
        };
        signed.iter().any(fits)
    };
    if generation.parse() != Ok(state.generation) || !wanted.iter().all(is_signed) {
        return Reply::new(403, "{}");
    }
    let content = &state.xorbs[&Hash::parse(xorb).unwrap()].0;
    match (wanted.as_slice(), state.several) {
        ([one], _) => part(content, one.clone()),
        ([first, ..], Several::FirstOnly) => part(content, first.clone()),
        (_, Several::Whole) => Reply::new(200, content.clone()),
        (_, Several::Status(status)) => Reply::new(status, "{}"),
        (_, Several::Backwards) => parts(content, wanted.iter().rev()),
        ([fewer @ .., _], Several::Fewer) => parts(content, fewer.iter()),
        _ => parts(content, wanted.iter()),
    }
}

fn parts<'a>(content: &[u8], ranges: impl Iterator<Item = &'a Range<u64>>) -> Reply {
    let mut body = Vec::new();
    for Range { start, end } in ranges {
        let head = format!(
            "\r\n--x\r\nContent-Range: bytes {start}-{}/{}\r\n\r\n",
            end - 1,
            content.len()
        );
        body.extend(head.as_bytes());
        body.extend(&content[*start as usize..*end as usize]);
    }
    body.extend(b"\r\n--x--\r\n");
    let mut reply = Reply::new(206, body);
    let kind = "multipart/byteranges; boundary=x".to_owned();
    reply.headers.push(("content-type".to_owned(), kind));
    reply
}

fn part(content: &[u8], range: Range<u64>) -> Reply {
    let total = content.len() as u64;
    if range.start >= total {
        return Reply::new(416, "{}");
    }
    let end = range.end.min(total);
    let mut reply = Reply::new(206, &content[range.start as usize..end as usize]);
    let value = format!("bytes {}-{}/{total}", range.start, end - 1);
    reply.headers.push(("content-range".to_owned(), value));
    reply
}

fn plain(file: &PlainFile, seen: &Seen) -> Reply {
    let is_same = seen
        .headers
        .get("if-range")
        .is_none_or(|tag| Some(tag) == file.etag.as_ref());
    let mut reply = match range_of(seen).filter(|_| is_same) {
        Some(range) => part(&file.content, range),
        None => Reply::new(200, file.content.clone()),
    };
    reply
        .headers
        .extend(file.etag.clone().map(|tag| ("etag".to_owned(), tag)));
    reply
}

//! A content-addressed store in memory, as raw HTTP, with faults to order.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use xetway_core::hash::chunk_hash;
use xetway_core::plan::plan;
use xetway_core::shard::{self, Form, Shard, Term};
use xetway_core::xorb::{XorbBuilder, XorbMeta, parse_xorb};
use xetway_core::{Hash, chunker};

/// What happens to an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    None,
    /// One bit of this byte of the body is wrong.
    Flip(usize),
    /// The connection ends after this many bytes of the body.
    Cut(usize),
    /// This many bytes of the body, then nothing more.
    Hang(usize),
    Status(u16),
}

/// A request as the store saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    /// Bytes of the body sent.
    pub(crate) sent: usize,
}

type Decide = Arc<dyn Fn(&Seen, usize) -> Fault + Send + Sync>;

/// A file that is not in xorbs.
#[derive(Clone, Default)]
pub(crate) struct PlainFile {
    pub(crate) content: Vec<u8>,
    pub(crate) etag: Option<String>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) xorbs: HashMap<Hash, (Vec<u8>, XorbMeta)>,
    pub(crate) files: HashMap<Hash, Vec<Term>>,
    pub(crate) plain: HashMap<String, PlainFile>,
    pub(crate) shards: Vec<Shard>,
    pub(crate) seen: Vec<Seen>,
    /// Key of answers to questions about chunks; none are answered without.
    pub(crate) key: Option<[u8; 32]>,
    /// URLs are refused unless they are of this generation.
    pub(crate) generation: u32,
    /// Only whole ranges as signed are given.
    pub(crate) exact_ranges: bool,
    fault: Option<Decide>,
}

pub(crate) struct Store {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Store {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let task = tokio::spawn(accept(listener, Arc::clone(&state), url.clone()));
        Self { url, state, task }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Decide the fault of each answer from the request and how many of that path came before.
    pub(crate) fn fault(&self, decide: impl Fn(&Seen, usize) -> Fault + Send + Sync + 'static) {
        self.state().fault = Some(Arc::new(decide));
    }

    pub(crate) fn no_faults(&self) {
        self.state().fault = None;
    }

    /// Store content, `per_xorb` chunks in each xorb; returns the file hash.
    pub(crate) fn add(&self, content: &[u8], per_xorb: usize) -> Hash {
        let chunks: Vec<&[u8]> = chunker::chunks(content).collect();
        let mut terms = Vec::new();
        for group in chunks.chunks(per_xorb) {
            let (xorb, count) = self.add_xorb(group);
            terms.push(self.term(xorb, 0..count));
        }
        self.add_file(&terms)
    }

    pub(crate) fn add_xorb(&self, chunks: &[&[u8]]) -> (Hash, u32) {
        let mut builder = XorbBuilder::new();
        for chunk in chunks {
            builder.push(chunk, chunk_hash(chunk)).unwrap();
        }
        let (data, meta) = builder.finish().unwrap();
        let hash = meta.hash();
        self.state().xorbs.insert(hash, (data, meta));
        (hash, chunks.len() as u32)
    }

    pub(crate) fn term(&self, xorb: Hash, chunks: Range<u32>) -> Term {
        let state = self.state();
        let metas = state.xorbs[&xorb].1.range(chunks.start, chunks.end).unwrap();
        Term {
            xorb,
            flags: 0,
            unpacked_bytes: metas.iter().map(|chunk| chunk.raw_bytes).sum(),
            start: chunks.start,
            end: chunks.end,
        }
    }

    /// Make a file of terms; returns its hash.
    pub(crate) fn add_file(&self, terms: &[Term]) -> Hash {
        let mut state = self.state();
        let mut merkle = xetway_core::merkle::MerkleHasher::new();
        for term in terms {
            for chunk in state.xorbs[&term.xorb].1.range(term.start, term.end).unwrap() {
                merkle.push(chunk.hash, u64::from(chunk.raw_bytes));
            }
        }
        let file = merkle.file_hash();
        state.files.insert(file, terms.to_vec());
        file
    }

    /// Forget what was asked.
    pub(crate) fn clear(&self) {
        self.state().seen.clear();
    }

    /// Bytes of xorbs and plain files sent.
    pub(crate) fn served(&self) -> u64 {
        let state = self.state();
        let data = state.seen.iter().filter(|seen| !seen.path.contains("reconstructions"));
        data.map(|seen| seen.sent as u64).sum()
    }

    pub(crate) fn count(&self, part: &str) -> usize {
        self.state().seen.iter().filter(|seen| seen.path.contains(part)).count()
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>, url: String) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(serve(stream, Arc::clone(&state), url.clone()));
    }
}

struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>, url: String) {
    let mut buffer = Vec::new();
    while let Some((seen, body)) = read_request(&mut stream, &mut buffer).await {
        let (mut reply, fault, index) = {
            let mut state = state.lock().unwrap();
            let before = state.seen.iter().filter(|other| other.path == seen.path).count();
            let fault = state.fault.clone().map_or(Fault::None, |decide| decide(&seen, before));
            state.seen.push(seen.clone());
            let index = state.seen.len() - 1;
            let reply = match fault {
                Fault::Status(status) => Reply::new(status, "{}"),
                _ => answer(&mut state, &seen, &body, &url),
            };
            (reply, fault, index)
        };
        let mut head = format!(
            "HTTP/1.1 {} X\r\ncontent-length: {}\r\n",
            reply.status,
            reply.body.len()
        );
        for (name, value) in &reply.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        head.push_str("\r\n");
        let end = match fault {
            Fault::Cut(bytes) | Fault::Hang(bytes) => bytes.min(reply.body.len()),
            Fault::Flip(at) => {
                if let Some(byte) = reply.body.get_mut(at) {
                    *byte ^= 1;
                }
                reply.body.len()
            }
            _ => reply.body.len(),
        };
        if stream.write_all(head.as_bytes()).await.is_err() {
            return;
        }
        for piece in reply.body[..end].chunks(16 << 10) {
            if stream.write_all(piece).await.is_err() {
                return;
            }
            if let Some(seen) = state.lock().unwrap().seen.get_mut(index) {
                seen.sent += piece.len();
            }
        }
        match fault {
            Fault::Cut(_) => return,
            Fault::Hang(_) => std::future::pending().await,
            _ => {}
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(Seen, Vec<u8>)> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer.drain(..end + 4).collect()).unwrap();
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: HashMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |text| text.parse().unwrap());
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer.drain(..length).collect();
    let seen = Seen {
        method,
        path,
        headers,
        sent: 0,
    };
    Some((seen, body))
}

fn answer(state: &mut State, seen: &Seen, body: &[u8], url: &str) -> Reply {
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
    let (start, end) = seen.headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
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
        let ranges: Vec<String> = fetch
            .ranges
            .iter()
            .map(|range| {
                format!(
                    r#"{{"url":"{url}/data/{}/{}-{}-{}","ranges":[{{"chunks":{{"start":{},"end":{}}},"bytes":{{"start":{},"end":{}}}}}]}}"#,
                    fetch.xorb,
                    state.generation,
                    range.byte_start,
                    range.byte_end,
                    range.chunk_start,
                    range.chunk_end,
                    range.byte_start,
                    range.byte_end - 1
                )
            })
            .collect();
        xorbs.push(format!(r#""{}":[{}]"#, fetch.xorb, ranges.join(",")));
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
    let signed: Vec<u64> = name.split('-').map(|part| part.parse().unwrap()).collect();
    let range = range_of(seen).unwrap();
    let is_signed = if state.exact_ranges {
        (range.start, range.end) == (signed[1], signed[2])
    } else {
        range.start >= signed[1] && range.end <= signed[2]
    };
    if signed[0] != u64::from(state.generation) || !is_signed {
        return Reply::new(403, "{}");
    }
    part(&state.xorbs[&Hash::parse(xorb).unwrap()].0, range)
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

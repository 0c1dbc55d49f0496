//! The other store: reconstructions, xorb ranges and plain files on a loopback port, counted, with faults on demand.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use xetway_client::{Credentials, Secret};
use xetway_core::plan::plan;
use xetway_core::shard::Term;
use xetway_core::xorb::XorbMeta;
use xetway_core::{Error, Hash};

use crate::content::{File, Xorb};

pub const TOKEN: &str = "token-of-the-caller";
pub const SIGNATURE: &str = "signature-of-the-store";
const WRITE_BYTES: usize = 16 << 10;

/// What goes wrong with a request for bytes.
#[derive(Clone)]
pub enum What {
    /// The byte at this offset of the xorb is another; only requests that touch it count.
    Flip(u64),
    /// The connection ends after so many bytes.
    Cut(usize),
    /// Nothing comes after so many bytes, until the other side gives up.
    Stall(usize),
    /// This status instead.
    Status(u16),
    /// So many bytes of another page, under 200.
    Page(usize),
    /// The same, without saying how many.
    EndlessPage(usize),
    /// Each piece of 16 KiB needs a permit.
    Paced(Arc<Semaphore>),
}

#[derive(Default)]
pub struct State {
    base: Mutex<String>,
    xorbs: Mutex<HashMap<Hash, Xorb>>,
    files: Mutex<HashMap<Hash, Vec<Term>>>,
    plain: Mutex<HashMap<String, Vec<u8>>>,
    faults: Mutex<Vec<(What, u32)>>,
    /// Addresses signed in an earlier epoch have expired.
    epoch: AtomicU64,
    /// Addresses serve exactly the range they are signed for.
    strict: AtomicBool,
    /// Added to the offset of answers for ranges.
    lie: AtomicI64,
    pub xorb_bytes: AtomicU64,
    pub xorb_requests: AtomicU64,
    pub plans: AtomicU64,
    pub plain_bytes: AtomicU64,
    pub plain_requests: AtomicU64,
    /// `authorization` headers seen at the place a plain file was moved to.
    pub leaked: AtomicU64,
}

/// A running store. Dropping it ends it.
pub struct Upstream {
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::ops::Deref for Upstream {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl Upstream {
    pub async fn start() -> Self {
        let state = Arc::new(State::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        *state.base.lock().unwrap() = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { state, task }
    }
}

impl State {
    pub fn base(&self) -> String {
        self.base.lock().unwrap().clone()
    }

    pub fn credentials(&self) -> Credentials {
        Credentials::Fixed {
            cas_url: self.base(),
            token: Secret::from(TOKEN.to_owned()),
        }
    }

    pub fn add_xorb(&self, xorb: &Xorb) {
        self.xorbs.lock().unwrap().insert(xorb.hash, xorb.clone());
    }

    pub fn add_file(&self, file: &File) {
        self.claim(file.hash, &file.terms);
    }

    /// Say that the file called `hash` is made of `terms`, true or not.
    pub fn claim(&self, hash: Hash, terms: &[Term]) {
        self.files.lock().unwrap().insert(hash, terms.to_vec());
    }

    pub fn add_plain(&self, path: &str, bytes: &[u8]) {
        self.plain.lock().unwrap().insert(path.to_owned(), bytes.to_vec());
    }

    /// Let `what` happen to the next `times` requests for bytes.
    pub fn fault(&self, what: What, times: u32) {
        self.faults.lock().unwrap().push((what, times));
    }

    pub fn heal(&self) {
        self.faults.lock().unwrap().clear();
    }

    /// All addresses given out so far stop working.
    pub fn expire(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    pub fn strict(&self) {
        self.strict.store(true, Ordering::SeqCst);
    }

    pub fn lie_about_offsets(&self, by: i64) {
        self.lie.store(by, Ordering::SeqCst);
    }

    pub fn sent(&self) -> u64 {
        self.xorb_bytes.load(Ordering::SeqCst)
    }

    pub fn planned(&self) -> u64 {
        self.plans.load(Ordering::SeqCst)
    }

    /// The faults of one request for `range`.
    fn faults(&self, range: &Range<u64>) -> Vec<What> {
        let mut faults = self.faults.lock().unwrap();
        let mut found = Vec::new();
        for (what, left) in faults.iter_mut().filter(|(_, left)| *left > 0) {
            if matches!(what, What::Flip(at) if !range.contains(at)) {
                continue;
            }
            *left = left.saturating_sub(u32::from(*left < u32::MAX));
            found.push(what.clone());
        }
        found
    }
}

struct Request {
    path: String,
    headers: HashMap<String, String>,
}

async fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8(head).ok()?;
    let mut lines = text.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Request { path, headers })
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    while let Some(request) = read_request(&mut stream).await {
        if answer(&mut stream, &state, &request).await.is_none() {
            return;
        }
    }
}

/// The range asked for, half-open; its end may be missing.
fn range_of(request: &Request) -> Option<(u64, Option<u64>)> {
    let (start, last) = request.headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
    Some((start.parse().ok()?, last.parse::<u64>().ok().map(|last| last + 1)))
}

async fn status(stream: &mut TcpStream, status: u16, more: &str, body: &[u8]) -> Option<()> {
    let head = format!(
        "HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\n{more}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body).await.ok()
}

async fn answer(stream: &mut TcpStream, state: &State, request: &Request) -> Option<()> {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    if let Some(file) = path.strip_prefix("/v2/reconstructions/") {
        return reconstruction(stream, state, request, file).await;
    }
    if let Some(xorb) = path.strip_prefix("/xorb/") {
        return xorb_range(stream, state, request, xorb, query).await;
    }
    if let Some(place) = path.strip_prefix("/moved/") {
        // Another origin: the name instead of the address.
        let there = state.base().replace("127.0.0.1", "localhost");
        return status(stream, 302, &format!("location: {there}/plain/{place}\r\n"), b"").await;
    }
    if let Some(name) = path.strip_prefix("/plain/") {
        if request.headers.contains_key("authorization") {
            state.leaked.fetch_add(1, Ordering::SeqCst);
        }
        let Some(bytes) = state.plain.lock().unwrap().get(name).cloned() else {
            return status(stream, 404, "", b"").await;
        };
        state.plain_requests.fetch_add(1, Ordering::SeqCst);
        let (start, end) = range_of(request).unwrap_or((0, None));
        if start > 0 && start >= bytes.len() as u64 {
            return status(stream, 416, "", b"").await;
        }
        let range = start..end.unwrap_or(bytes.len() as u64).min(bytes.len() as u64);
        let part = request.headers.contains_key("range").then_some(bytes.len() as u64);
        return body(stream, state, &bytes, range, part, &state.plain_bytes).await;
    }
    status(stream, 404, "", b"").await
}

async fn reconstruction(stream: &mut TcpStream, state: &State, request: &Request, file: &str) -> Option<()> {
    if request.headers.get("authorization").map(String::as_str) != Some(&format!("Bearer {TOKEN}")) {
        return status(stream, 401, "", b"").await;
    }
    state.plans.fetch_add(1, Ordering::SeqCst);
    let terms = state.files.lock().unwrap().get(&Hash::parse(file).ok()?).cloned();
    let Some(terms) = terms else {
        return status(stream, 404, "", b"").await;
    };
    let size: u64 = terms.iter().map(|term| u64::from(term.unpacked_bytes)).sum();
    let asked = range_of(request);
    let (start, end) = asked.unwrap_or((0, None));
    if start >= size {
        return status(stream, 416, "", b"").await;
    }
    let xorbs = state.xorbs.lock().unwrap().clone();
    let lookup = |xorb: &Hash| -> Result<Arc<XorbMeta>, Error> {
        let found = xorbs.get(xorb).map(|xorb| Arc::clone(&xorb.meta));
        found.ok_or(Error::UnknownXorb { xorb: *xorb })
    };
    let plan = plan(&terms, start, end.unwrap_or(size), lookup).unwrap();
    let lie = if asked.is_some_and(|(start, _)| start > 0) {
        state.lie.load(Ordering::SeqCst)
    } else {
        0
    };
    let terms: Vec<String> = plan
        .terms
        .iter()
        .map(|term| {
            let (hash, bytes) = (term.xorb, term.unpacked_bytes);
            let range = format!(r#"{{"start":{},"end":{}}}"#, term.start, term.end);
            format!(r#"{{"hash":"{hash}","unpacked_length":{bytes},"range":{range}}}"#)
        })
        .collect();
    let epoch = state.epoch.load(Ordering::SeqCst);
    let fetches: Vec<String> = plan
        .fetches
        .iter()
        .map(|fetch| {
            let entries: Vec<String> = fetch
                .ranges
                .iter()
                .map(|range| {
                    let (first, end) = (range.byte_start, range.byte_end);
                    let (base, xorb) = (state.base(), fetch.xorb);
                    let url = format!("{base}/xorb/{xorb}?b={first}-{end}&e={epoch}&sig={SIGNATURE}");
                    let chunks = format!(r#"{{"start":{},"end":{}}}"#, range.chunk_start, range.chunk_end);
                    let bytes = format!(r#"{{"start":{first},"end":{}}}"#, end - 1);
                    format!(r#"{{"url":"{url}","ranges":[{{"chunks":{chunks},"bytes":{bytes}}}]}}"#)
                })
                .collect();
            format!(r#""{}":[{}]"#, fetch.xorb, entries.join(","))
        })
        .collect();
    let json = format!(
        r#"{{"offset_into_first_range":{},"terms":[{}],"xorbs":{{{}}}}}"#,
        plan.offset_into_first.saturating_add_signed(lie),
        terms.join(","),
        fetches.join(",")
    );
    status(stream, 200, "", json.as_bytes()).await
}

async fn xorb_range(stream: &mut TcpStream, state: &State, request: &Request, xorb: &str, query: &str) -> Option<()> {
    let query: HashMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let is_valid = query.get("sig") == Some(&SIGNATURE)
        && query.get("e") == Some(&state.epoch.load(Ordering::SeqCst).to_string().as_str())
        && !request.headers.contains_key("authorization");
    let (start, end) = range_of(request)?;
    let end = end?;
    let is_signed = !state.strict.load(Ordering::SeqCst) || query.get("b") == Some(&format!("{start}-{end}").as_str());
    if !is_valid || !is_signed {
        return status(stream, 403, "", b"expired").await;
    }
    state.xorb_requests.fetch_add(1, Ordering::SeqCst);
    let xorb = state.xorbs.lock().unwrap().get(&Hash::parse(xorb).ok()?).cloned()?;
    let total = Some(xorb.len());
    body(stream, state, &xorb.data, start..end, total, &state.xorb_bytes).await
}

async fn body(
    stream: &mut TcpStream,
    state: &State,
    content: &[u8],
    range: Range<u64>,
    part_of: Option<u64>,
    count: &AtomicU64,
) -> Option<()> {
    let faults = state.faults(&range);
    if let Some(What::Status(code)) = faults.iter().find(|what| matches!(what, What::Status(_))) {
        return status(stream, *code, "", b"").await;
    }
    for what in &faults {
        match what {
            What::Page(bytes) => return status(stream, 200, "", &vec![b'<'; *bytes]).await,
            What::EndlessPage(bytes) => {
                let page = vec![b'<'; *bytes];
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
                stream.write_all(&page).await.ok()?;
                return None;
            }
            _ => {}
        }
    }
    let mut bytes = content[range.start as usize..range.end as usize].to_vec();
    let (mut limit, mut stalls, mut pace) = (bytes.len(), false, None);
    for fault in faults {
        match fault {
            What::Flip(at) => bytes[(at - range.start) as usize] ^= 0x40,
            What::Cut(after) => limit = limit.min(after),
            What::Stall(after) => (limit, stalls) = (limit.min(after), true),
            What::Paced(permits) => pace = Some(permits),
            What::Status(_) | What::Page(_) | What::EndlessPage(_) => {}
        }
    }
    let head = match part_of {
        Some(total) => format!(
            "HTTP/1.1 206 Partial\r\ncontent-range: bytes {}-{}/{total}\r\ncontent-length: {}\r\n\r\n",
            range.start,
            range.end - 1,
            bytes.len()
        ),
        None => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", bytes.len()),
    };
    stream.write_all(head.as_bytes()).await.ok()?;
    for piece in bytes[..limit].chunks(WRITE_BYTES) {
        if let Some(permits) = &pace {
            permits.acquire().await.ok()?.forget();
        }
        stream.write_all(piece).await.ok()?;
        count.fetch_add(piece.len() as u64, Ordering::SeqCst);
    }
    if stalls {
        let mut rest = Vec::new();
        // Ends when the other side has had enough.
        let _ = stream.read_to_end(&mut rest).await;
    }
    (limit == bytes.len()).then_some(())
}

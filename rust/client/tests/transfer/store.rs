//! A content-addressed store in memory, as raw HTTP, with faults to order.

mod answers;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use xetway_core::hash::chunk_hash;
use xetway_core::shard::{Shard, Term};
use xetway_core::xorb::{XorbBuilder, XorbMeta};
use xetway_core::{Hash, chunker};

use answers::{Reply, answer};

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
    /// 200, and so many bytes of another page.
    Page(usize),
    /// The same, without saying how many.
    EndlessPage(usize),
}

/// What the store answers to a request for several ranges.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Several {
    #[default]
    Parts,
    /// The parts in another order.
    Backwards,
    /// All but the last part.
    Fewer,
    Whole,
    FirstOnly,
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
    /// The ranges of a xorb have one URL.
    pub(crate) shared_urls: bool,
    pub(crate) several: Several,
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

    pub(crate) fn handle(&self) -> Arc<Mutex<State>> {
        Arc::clone(&self.state)
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
                Fault::Page(bytes) | Fault::EndlessPage(bytes) => Reply::new(200, vec![b'<'; bytes]),
                _ => answer(&mut state, &seen, &body, &url),
            };
            (reply, fault, index)
        };
        let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
        if !matches!(fault, Fault::EndlessPage(_)) {
            write!(head, "content-length: {}\r\n", reply.body.len()).unwrap();
        }
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
            Fault::Cut(_) | Fault::EndlessPage(_) => return,
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

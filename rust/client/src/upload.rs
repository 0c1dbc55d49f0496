//! Files on their way into a content-addressed store.
//!
//! Files are read in blocks, cut into chunks and hashed while the blocks before are packed into xorbs
//! and full xorbs are sent. Chunks that this session has sent, or that the store says it has, are not
//! sent again. The shard that makes the files known is sent at the end, when all xorbs have arrived.
//! Making the files part of a repository is not done here.
//!
//! Memory: three xorbs of 64 MiB at most, three blocks, and 44 bytes for each chunk sent.
//!
//! Source: draft-denis-xet-03, "Upload Protocol"; where it differs, the deployed client.

mod blocks;
mod known;
mod packing;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::{JoinHandle, JoinSet};
use xetway_core::Hash;
use xetway_core::shard::{ChunkInfo, FileInfo, Form, Shard, XorbInfo, serialise};
use xetway_core::xorb::XorbMeta;

use crate::cas::Cas;
use crate::compute;
use crate::download::Meter;
use crate::error::{Error, Result};
use crate::http::Request;

pub use crate::download::{Progress, ProgressEvent};

use blocks::{BlockHasher, BlockReader, Hashed, Sums};
use packing::{Packed, Packing, Terms};

/// Xorbs that are sent at a time, besides the one being built.
const MAX_SENDING: usize = 2;

/// Fewest chunks between two questions about chunks of one file.
const QUERY_SPACING_CHUNKS: u64 = 256;

/// Questions that may fail before no more are asked.
const MAX_FAILED_QUERIES: u32 = 3;

/// Most chunks described by one shard: it stays below 64 MiB.
const SHARD_CHUNKS: usize = 1 << 20;

const QUERY_TIMEOUT: Duration = Duration::from_secs(30);
/// A store may check all that a shard says before it answers.
const SHARD_TIMEOUT: Duration = Duration::from_secs(600);
/// The slowest link on which a xorb is given time to arrive.
const SLOWEST_BYTES_S: u64 = 32 << 10;

/// A file that was taken in; it is known to the store only after [`Uploader::finish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// File hash.
    pub file: Hash,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the content.
    pub sha256: [u8; 32],
}

/// What a session has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uploaded {
    /// Raw bytes of chunks that were sent.
    pub new_bytes: u64,
    /// Raw bytes of chunks that were known.
    pub dedup_bytes: u64,
    /// Xorbs that were sent.
    pub xorbs: u64,
}

/// A session that uploads files. After an error, or a future dropped half way, it is of no use.
pub struct Uploader {
    cas: Cas,
    /// Absent while it is being worked with, and after an error.
    packing: Option<Packing>,
    files: Vec<(Sums, Terms)>,
    xorbs: Vec<XorbMeta>,
    sending: JoinSet<Result<()>>,
    failed_queries: u32,
}

impl Uploader {
    /// Begin a session.
    pub fn new(cas: Cas) -> Self {
        Self {
            cas,
            packing: Some(Packing::default()),
            files: Vec::new(),
            xorbs: Vec::new(),
            sending: JoinSet::new(),
            failed_queries: 0,
        }
    }

    /// Take in the file at `path`: chunk it, hash it, and send what is new.
    ///
    /// `progress` tells the bytes packed and, of the network, the xorbs that this file filled.
    pub async fn add_path(&mut self, path: &Path, progress: Option<Progress>) -> Result<Added> {
        let (reader, size) = BlockReader::open(path).await?;
        let buffers = reader.buffers();
        let meter = Arc::new(Meter::new(progress, size));
        let mut questions = Questions::default();
        let mut ahead = tokio::spawn(Pipeline::new(reader).next());
        let sums = loop {
            let (pipeline, hashed) = joined(ahead.await)?;
            let is_last = hashed.is_last;
            let next = if is_last {
                Err(pipeline.hasher.finish())
            } else {
                // The next block is hashed while this one is packed, and the one after it is read.
                Ok(tokio::spawn(pipeline.next()))
            };
            let block = self.take_in(hashed, &mut questions, &meter).await?;
            buffers.give_back(block);
            match next {
                Ok(next) => ahead = next,
                Err(sums) => break sums,
            }
        };
        let terms = self.packing.as_mut().ok_or(Error::Cancelled)?.end_file();
        self.files.push((sums, terms));
        Ok(Added {
            file: sums.file,
            size: sums.size,
            sha256: sums.sha256,
        })
    }

    /// Send what is left and make the files known.
    pub async fn finish(mut self) -> Result<Uploaded> {
        let mut packing = self.packing.take().ok_or(Error::Cancelled)?;
        if let Some(packed) = packing.close()? {
            self.send(packed, &Arc::new(Meter::new(None, 0))).await?;
        }
        while let Some(sent) = self.sending.join_next().await {
            joined(sent)?;
        }
        let uploaded = Uploaded {
            new_bytes: packing.new_bytes,
            dedup_bytes: packing.known_bytes,
            xorbs: self.xorbs.len() as u64,
        };
        drop(packing);
        let (files, xorbs) = (std::mem::take(&mut self.files), std::mem::take(&mut self.xorbs));
        for shard in compute::run(move || shards(files, &xorbs)).await? {
            let request = Request {
                body: shard,
                timeout: SHARD_TIMEOUT,
                attempts: self.cas.http().options().attempts,
                ..Request::new("POST", "/v1/shards")
            };
            self.cas.send(request).await?.checked()?;
        }
        Ok(uploaded)
    }

    /// Pack the chunks of a block and send the xorbs that become full; returns the block.
    async fn take_in(&mut self, hashed: Hashed, questions: &mut Questions, meter: &Arc<Meter>) -> Result<Vec<u8>> {
        let mut packing = self.packing.take().ok_or(Error::Cancelled)?;
        self.ask(&hashed, questions, &mut packing).await;
        let (packing, hashed, full) = compute::run(move || {
            let full = packing.add(&hashed);
            (packing, hashed, full)
        })
        .await;
        for xorb in full? {
            self.send(xorb, meter).await?;
        }
        self.packing = Some(packing);
        let bytes: usize = hashed.chunks.iter().map(|(range, _)| range.len()).sum();
        meter.done(bytes as u64);
        Ok(hashed.block)
    }

    /// Ask the store about some chunks of a block. That it cannot answer is no reason to fail.
    async fn ask(&mut self, hashed: &Hashed, questions: &mut Questions, packing: &mut Packing) {
        for (_, hash) in &hashed.chunks {
            let is_due = questions.is_due(hash);
            let is_useful = self.failed_queries < MAX_FAILED_QUERIES && packing.told.has_room();
            if !is_due || !is_useful || packing.find(hash).is_some() {
                continue;
            }
            let told = match self.question(hash).await {
                Ok(Some(answer)) => packing.told.insert(&answer),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if told.is_err() {
                self.failed_queries += 1;
            }
        }
    }

    async fn question(&self, hash: &Hash) -> Result<Option<Bytes>> {
        let request = Request {
            timeout: QUERY_TIMEOUT,
            attempts: 2,
            ..Request::new("GET", format!("/v1/chunks/default/{hash}"))
        };
        let answer = self.cas.send(request).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        Ok(Some(answer.checked()?.body))
    }

    /// Send a xorb, once there is room for one more.
    async fn send(&mut self, (data, meta): Packed, meter: &Arc<Meter>) -> Result<()> {
        while self.sending.len() >= MAX_SENDING {
            if let Some(sent) = self.sending.join_next().await {
                joined(sent)?;
            }
        }
        let (cas, meter) = (self.cas.clone(), Arc::clone(meter));
        let bytes = data.len() as u64;
        let request = Request {
            body: Bytes::from(data),
            timeout: Duration::from_secs(60 + bytes / SLOWEST_BYTES_S),
            attempts: cas.http().options().attempts,
            ..Request::new("POST", format!("/v1/xorbs/default/{}", meta.hash()))
        };
        self.xorbs.push(meta);
        self.sending.spawn(async move {
            cas.send(request).await?.checked()?;
            meter.received(bytes);
            meter.tell();
            Ok(())
        });
        Ok(())
    }
}

/// Reads and hashes blocks, one ahead of the other.
struct Pipeline {
    reading: JoinHandle<Result<(BlockReader, Vec<u8>)>>,
    hasher: BlockHasher,
}

impl Pipeline {
    fn new(reader: BlockReader) -> Self {
        Self {
            reading: tokio::spawn(reader.next()),
            hasher: BlockHasher::new(),
        }
    }

    async fn next(self) -> Result<(Self, Hashed)> {
        let (reader, block) = joined(self.reading.await)?;
        let reading = tokio::spawn(reader.next());
        let mut hasher = self.hasher;
        let (hasher, chunked) = compute::run(move || {
            let chunked = hasher.push(block);
            (hasher, chunked)
        })
        .await;
        Ok((Self { reading, hasher }, chunked))
    }
}

/// Which chunks of a file the store is asked about: its first, and some whose hash says so.
#[derive(Default)]
struct Questions {
    chunks: u64,
    next_at: u64,
}

impl Questions {
    /// Say whether to ask about the next chunk, which has this hash.
    fn is_due(&mut self, hash: &Hash) -> bool {
        let is_due = self.chunks == 0 || (self.chunks >= self.next_at && hash.is_dedup_eligible());
        if is_due {
            self.next_at = self.chunks + QUERY_SPACING_CHUNKS;
        }
        self.chunks += 1;
        is_due
    }
}

fn joined<T>(ended: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    match ended {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Cancelled),
    }
}

/// Describe a session: mostly in one shard; in several, files last, if it has very many chunks.
fn shards(files: Vec<(Sums, Terms)>, xorbs: &[XorbMeta]) -> Result<Vec<Bytes>> {
    let files = files.into_iter().map(|(sums, terms)| terms.describe(&sums, xorbs));
    let files = files.collect::<Result<Vec<FileInfo>>>()?;
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    let mut shard = Shard::default();
    let mut chunks = 0;
    let mut seen = HashSet::new();
    for meta in xorbs.iter().filter(|meta| seen.insert(meta.hash())) {
        if chunks + meta.len() > SHARD_CHUNKS {
            all.push(upload_form(std::mem::take(&mut shard)));
            chunks = 0;
        }
        chunks += meta.len();
        shard.xorbs.push(describe(meta));
    }
    let mut seen = HashSet::new();
    shard.files = files.into_iter().filter(|file| seen.insert(file.hash)).collect();
    all.push(upload_form(shard));
    Ok(all)
}

fn upload_form(mut shard: Shard) -> Bytes {
    shard.sort();
    Bytes::from(serialise(&shard, Form::Upload))
}

fn describe(meta: &XorbMeta) -> XorbInfo {
    let chunk = |chunk: &xetway_core::xorb::ChunkMeta| ChunkInfo {
        hash: chunk.hash,
        offset: chunk.raw_start(),
        raw_bytes: chunk.raw_bytes,
        flags: 0,
    };
    XorbInfo {
        hash: meta.hash(),
        flags: 0,
        bytes_in_xorb: meta.raw_bytes(),
        bytes_on_disk: 0,
        chunks: meta.chunks().iter().map(chunk).collect(),
    }
}

//! A mirror in a temporary folder, an upstream, and a client that reads as `hf_xet` does.

use std::future::Future;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use tempfile::TempDir;
use xetway_client::{Concurrency, Http, Options, StallPolicy};
use xetway_mirror::{Error, Limits, Mirror, Planned, Stream};

use crate::content::{File, Xorb, decode};
use crate::upstream::Upstream;

/// What readers are asked for at once.
pub(crate) const PIECE_BYTES: usize = 256 << 10;

/// Long after everything should be over.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct World {
    pub upstream: Upstream,
    pub mirror: Mirror,
    folder: TempDir,
}

pub fn http() -> Http {
    Http::new(Options {
        connect_timeout: Duration::from_secs(10),
        first_byte_timeout: Duration::from_secs(10),
        stall: StallPolicy {
            window: Duration::from_secs(3),
            min_bytes: 1,
        },
        concurrency: Concurrency::Fixed(16),
        attempts: 4,
        retry_base: Duration::from_millis(1),
        retry_cap: Duration::from_millis(10),
        use_proxies: false,
        ..Options::default()
    })
    .unwrap()
}

impl World {
    pub async fn new() -> Self {
        Self::with_limits(Limits::default()).await
    }

    pub async fn with_limits(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mirror = Mirror::open(http(), folder.path(), limits).unwrap();
        Self {
            upstream: Upstream::start().await,
            mirror,
            folder,
        }
    }

    /// A world with these xorbs and one file of all of them.
    pub async fn with(xorbs: &[&Xorb]) -> (Self, File) {
        let world = Self::new().await;
        let file = File::whole(xorbs);
        world.add(xorbs, &[&file]);
        (world, file)
    }

    pub fn add(&self, xorbs: &[&Xorb], files: &[&File]) {
        xorbs.iter().for_each(|xorb| self.upstream.add_xorb(xorb));
        files.iter().for_each(|file| self.upstream.add_file(file));
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Close the mirror and open it again, as a new process would.
    pub async fn reopen(self) -> Self {
        let Self {
            upstream,
            mirror,
            folder,
        } = self;
        drop(mirror);
        let reopened = async {
            loop {
                match Mirror::open(http(), folder.path(), Limits::default()) {
                    Ok(mirror) => return mirror,
                    // Fetches that nobody waits for any more hold it for a moment.
                    Err(error) => assert_eq!(error.code(), "cache_in_use"),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let mirror = within(reopened).await;
        Self {
            upstream,
            mirror,
            folder,
        }
    }

    pub async fn plan(&self, file: &File, range: Option<Range<u64>>) -> Result<Option<Planned>, Error> {
        self.mirror
            .plan(file.hash, None, range, Some(self.upstream.credentials()))
            .await
    }

    /// Read the whole file as decoded content.
    pub async fn read(&self, file: &File) -> Result<Vec<u8>, Error> {
        self.read_range(file, 0..file.size()).await
    }

    pub async fn read_range(&self, file: &File, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let credentials = Some(self.upstream.credentials());
        let length = range.end - range.start;
        let stream = self
            .mirror
            .open_file(file.hash, file.size(), range, credentials)
            .await?;
        assert_eq!(stream.remaining(), length);
        drain(stream).await
    }

    /// Read a range of a file as a Xet client does: plan, stored ranges, decoding here.
    pub async fn fetch(&self, file: &File, range: Range<u64>, session: &str) -> Result<Vec<u8>, Error> {
        let planned = self.plan(file, Some(range.clone())).await?.unwrap();
        let stored = self.fetch_planned(file, &planned, session).await?;
        Ok(assemble(&planned, &stored, range.end - range.start))
    }

    /// Read everything a plan names, all ranges at once.
    pub async fn fetch_planned(&self, file: &File, planned: &Planned, session: &str) -> Result<Stored, Error> {
        let ranges: Vec<_> = planned
            .fetches
            .iter()
            .flat_map(|fetch| fetch.ranges.iter().map(|range| (fetch.xorb, *range)))
            .collect();
        let reads = ranges.iter().map(|(xorb, range)| async {
            let bytes = range.byte_start..range.byte_end;
            let session = Some(session.to_owned());
            let open = self
                .mirror
                .open_xorb(file.hash, planned.generation, *xorb, bytes, session);
            let bytes = drain(open.await?).await?;
            assert_eq!(bytes.len() as u64, range.byte_end - range.byte_start);
            Ok(bytes)
        });
        let bytes = within(join_all(reads))
            .await
            .into_iter()
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(ranges
            .into_iter()
            .zip(bytes)
            .map(|((xorb, range), bytes)| (xorb, range, bytes))
            .collect())
    }

    /// Download a file in blocks that end at `edges`, as `hf_xet` does. The first failure ends it.
    pub async fn download(&self, file: &File, edges: &[u64], session: &str) -> Result<Vec<u8>, Error> {
        let (mut content, mut start) = (Vec::new(), 0);
        for end in edges.iter().copied().chain([file.size()]) {
            content.extend(self.fetch(file, start..end, session).await?);
            start = end;
        }
        Ok(content)
    }
}

pub type Stored = Vec<(xetway_core::Hash, xetway_core::plan::FetchRange, Vec<u8>)>;

/// Put content together from the ranges of a plan.
pub fn assemble(planned: &Planned, stored: &Stored, length: u64) -> Vec<u8> {
    let mut content = Vec::new();
    for term in &planned.terms {
        let (_, range, bytes) = stored
            .iter()
            .find(|(xorb, range, _)| {
                *xorb == term.xorb && range.chunk_start <= term.start && term.end <= range.chunk_end
            })
            .expect("each term lies in one range");
        let raw = decode(bytes, range.chunk_start, term.start..term.end);
        assert_eq!(raw.len() as u64, u64::from(term.unpacked_bytes), "length of a term");
        content.extend(raw);
    }
    content.drain(..planned.offset_into_first as usize);
    content.truncate(length as usize);
    content
}

pub async fn drain(mut stream: Stream) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    within(async {
        while let Some(piece) = stream.next(PIECE_BYTES).await? {
            assert!(!piece.is_empty() && piece.len() <= 1 << 20);
            bytes.extend_from_slice(&piece);
        }
        assert_eq!(stream.remaining(), 0);
        Ok(bytes)
    })
    .await
}

pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("this hangs")
}

/// Do it again until the upstream is asked again, which it is not for some seconds after it stayed wrong.
pub async fn recovered(again: impl AsyncFn() -> Result<Vec<u8>, Error>) -> Vec<u8> {
    within(async {
        loop {
            match again().await {
                Ok(bytes) => return bytes,
                // Planned before it was put right: begin again.
                Err(Error::ContentChanged { .. }) => {}
                Err(error) => assert_eq!(error.code(), "upstream_integrity", "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await
}

/// Whatever failed, nobody may be told that wrong bytes are right.
pub fn never_wrong(outcome: &Result<Vec<u8>, Error>, truth: &[u8]) {
    if let Ok(bytes) = outcome {
        assert!(bytes == truth, "ended well with wrong bytes");
    }
}

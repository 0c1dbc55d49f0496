//! Whole files, or byte ranges of them, from a content-addressed store.
//!
//! [`to_path`] fetches every range of every xorb once, small ones of a xorb together, and writes chunks where they
//! belong as they are decoded; what was written is noted, so that a transfer that was killed goes on.
//! [`stream`] gives the content in order. A whole file appears, or ends, only when the hash of the
//! file agrees with all its chunks. [`plain`] is for files that are not in such a store.
//!
//! Memory: the budget of the [`crate::Http`] for files, as much again for each stream, and the hashes
//! of chunks that wait for earlier ones.

mod batches;
mod decode;
mod job;
mod journal;
mod layout;
mod part;
pub mod plain;
mod positioned;
mod progress;
mod proof;
mod stream;
mod together;
mod urls;

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;
use xetway_core::Hash;
use xetway_core::hash::chunk_hash;

use crate::cas::Cas;
use crate::error::{Error, Result};
use crate::reconstruction::Reconstruction;

pub use progress::{Progress, ProgressEvent};
pub use stream::{ContentStream, stream};

pub(crate) use decode::Buffers;
pub(crate) use part::blocking;
pub(crate) use progress::Meter;

use batches::READER_BYTES;
use job::{Begun, Download};
use journal::{Journal, Subject};
use layout::Layout;
use part::{Part, Paths};
use proof::Proof;
use together::Group;
use urls::PlanUrls;

/// What to download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDownload {
    /// File hash.
    pub file: Hash,
    /// Size of the whole file, if known; a file of another size is an error.
    pub size: Option<u64>,
    /// The bytes wanted; an end past the end of the file means its end.
    pub range: Option<Range<u64>>,
}

/// How to download.
#[derive(Clone, Debug)]
pub struct DownloadOptions {
    /// Go on where an earlier transfer to the same path stopped.
    pub resume: bool,
    /// Who wants to know how far it is.
    pub progress: Option<Progress>,
}

impl Default for DownloadOptions {
    fn default() -> Self {
        Self {
            resume: true,
            progress: None,
        }
    }
}

/// A download that has ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Bytes of content.
    pub size: u64,
    /// Bytes received for them, without plans.
    pub received_bytes: u64,
    /// Bytes of content that were there already.
    pub resumed_bytes: u64,
    /// Whether the hash of the whole file was checked.
    pub verified: bool,
}

impl FileDownload {
    /// The range to ask for; nothing if that is all of it.
    fn range(&self) -> Option<Range<u64>> {
        let range = self.range.clone()?;
        let end = self.size.map_or(range.end, |size| range.end.min(size));
        let is_whole = range.start == 0 && (range.end == u64::MAX || self.size == Some(end));
        (!is_whole).then_some(range.start..end)
    }

    /// The length of the content, where that follows from the request.
    fn content_bytes(&self) -> Option<u64> {
        match (self.range(), self.size) {
            (None, size) => size,
            (Some(range), Some(_)) => Some(range.end.saturating_sub(range.start)),
            (Some(_), None) => None,
        }
    }

    async fn plan(&self, cas: &Cas) -> Result<Reconstruction> {
        let range = self.range();
        if let (Some(Range { start, end }), Some(size)) = (self.range.clone(), self.size)
            && start > size
        {
            return Err(xetway_core::Error::RangeOutside { start, end, size }.into());
        }
        if self.file == Hash::ZERO || range.as_ref().is_some_and(Range::is_empty) {
            return Ok(Reconstruction::default());
        }
        if let Some(plan) = cas.reconstruct(&self.file, range.clone()).await? {
            return Ok(plan);
        }
        let (start, end) = range.map_or((0, 0), |range| (range.start, range.end));
        let size = self.size.unwrap_or(start);
        Err(xetway_core::Error::RangeOutside { start, end, size }.into())
    }

    fn layout(&self, plan: &Reconstruction) -> Result<Layout> {
        let wanted = self.range().map(|range| range.end.saturating_sub(range.start));
        let layout = Layout::new(plan, wanted)?;
        match self.content_bytes() {
            Some(expected) if expected != layout.total_bytes => Err(Error::Integrity {
                what: "length of the file in its plan",
                expected: expected.to_string(),
                actual: layout.total_bytes.to_string(),
            }),
            _ => Ok(layout),
        }
    }

    fn subject(&self, size_bytes: u64) -> Subject {
        let (start, end) = self.range().map_or((0, u64::MAX), |range| (range.start, range.end));
        let identity = format!("xet {} {start} {end}", self.file);
        Subject {
            identity: *chunk_hash(identity.as_bytes()).as_bytes(),
            size_bytes,
            label: Vec::new(),
        }
    }
}

/// Bring `what` to `path`, by way of `path` + `.xetway-part` and `.xetway-journal`.
///
/// What is at `path` is replaced, in one step, when the content is whole; for a whole file that
/// means that its hash agrees. If it does not, both files are removed and the error is
/// [`Error::Integrity`]; after any other error, and when the future is dropped, they stay and the next
/// call goes on from them. Only one transfer to a path at a time.
pub async fn to_path(cas: Cas, what: FileDownload, path: &Path, options: DownloadOptions) -> Result<Finished> {
    let paths = Paths::new(path);
    let outcome = attempt(&cas, &what, paths.clone(), &options).await;
    match outcome {
        // What was resumed may be to blame.
        Err((Error::Integrity { .. }, resumed_bytes)) if resumed_bytes > 0 => {
            let afresh = DownloadOptions {
                resume: false,
                ..options
            };
            attempt(&cas, &what, paths, &afresh).await
        }
        outcome => outcome,
    }
    .map_err(|(error, _)| error)
}

/// The error comes with the number of bytes that were resumed.
async fn attempt(
    cas: &Cas,
    what: &FileDownload,
    paths: Paths,
    options: &DownloadOptions,
) -> Result<Finished, (Error, u64)> {
    let prepared = prepare(cas, what, paths, options).await;
    let (download, groups) = prepared.map_err(|error| (error, 0))?;
    let outcome = fetch_all(&download, groups, cas).await;
    let resumed_bytes = download.meter.resumed_bytes();
    let failed = |error| (error, resumed_bytes);
    outcome.map_err(failed)?;
    let size = download.layout.total_bytes;
    let received_bytes = download.meter.network_bytes();
    let verified = download.proof.is_some();
    let file = what.file;
    blocking(move || finish(&download, file)).await.map_err(failed)?;
    Ok(Finished {
        size,
        received_bytes,
        resumed_bytes,
        verified,
    })
}

async fn prepare(
    cas: &Cas,
    what: &FileDownload,
    paths: Paths,
    options: &DownloadOptions,
) -> Result<(Arc<Download>, Vec<Group>)> {
    let plan = what.plan(cas).await?;
    let layout = what.layout(&plan)?;
    let groups = together::groups(&plan, &layout);
    let total_bytes = layout.total_bytes;
    let subject = what.subject(total_bytes);
    let resume = options.resume;
    let (part, journal) = blocking(move || open_files(paths, &subject, resume)).await?;
    let meter = Arc::new(Meter::new(options.progress.clone(), total_bytes));
    meter.tell();
    let proof = what.range().is_none().then(|| Mutex::new(Proof::new(&layout)));
    let download = Download {
        http: cas.http().clone(),
        source: Arc::new(PlanUrls::new(cas.clone(), what.file, what.range(), plan)),
        layout,
        part,
        journal,
        buffers: Buffers::default(),
        meter,
        proof,
    };
    Ok((Arc::new(download), groups))
}

fn open_files(paths: Paths, subject: &Subject, resume: bool) -> Result<(Part, Journal)> {
    let part = Part::open(paths)?;
    let path = &part.paths().journal;
    let found = if resume { Journal::open(path, subject)? } else { None };
    let journal = if let Some(journal) = found {
        journal
    } else {
        part.set_len(0)?;
        Journal::create(path, subject)?
    };
    part.set_len(subject.size_bytes)?;
    Ok((part, journal))
}

/// Something to do.
enum Work {
    Group(Vec<usize>),
    Left(Begun),
}

impl Work {
    /// Do it; returns what is left to do, now job by job.
    async fn run(self, download: Arc<Download>) -> Result<Vec<Begun>> {
        let mut begun = Vec::new();
        match self {
            Self::Left(job) => begun.push(job),
            Self::Group(jobs) => {
                for job in jobs {
                    begun.extend(job::begin(&download, job).await?);
                }
            }
        }
        if begun.len() > 1 {
            return together::fetch(&download, begun).await;
        }
        if let Some(job) = begun.pop() {
            job.fetch(None).await?;
        }
        Ok(begun)
    }

    /// What it holds in memory at most: one job is read at a time.
    fn reader_bytes(&self, layout: &Layout) -> u64 {
        let of = |index: &usize| layout.jobs.get(*index).map_or(0, |job| reader_bytes(layout, job));
        match self {
            Self::Group(jobs) => jobs.iter().map(of).max().unwrap_or_default(),
            Self::Left(job) => of(&job.index()),
        }
    }
}

/// Run all jobs, in file order, as many at a time as the budget allows.
async fn fetch_all(download: &Arc<Download>, groups: Vec<Group>, cas: &Cas) -> Result<()> {
    let budget = cas.http().budget();
    let mut running = JoinSet::new();
    let mut waiting: VecDeque<Work> = groups.into_iter().map(|group| Work::Group(group.jobs)).collect();
    loop {
        let Some(work) = waiting.pop_front() else {
            match running.join_next().await {
                Some(ended) => put_back(&mut waiting, joined(ended)?),
                None => return Ok(()),
            }
            continue;
        };
        let mut permit = std::pin::pin!(budget.take(work.reader_bytes(&download.layout)));
        let permit = loop {
            tokio::select! {
                biased;
                Some(ended) = running.join_next() => put_back(&mut waiting, joined(ended)?),
                permit = &mut permit => break permit,
            }
        };
        let download = Arc::clone(download);
        running.spawn(async move {
            let outcome = work.run(download).await;
            drop(permit);
            outcome
        });
    }
}

/// What a job holds in memory at most.
fn reader_bytes(layout: &Layout, job: &layout::Job) -> u64 {
    let stored = job.bytes.end.saturating_sub(job.bytes.start);
    let terms = job.terms.iter().filter_map(|index| layout.terms.get(*index));
    let raw = terms.map(|term| term.raw_bytes).fold(0, u64::saturating_add);
    stored.saturating_mul(2).saturating_add(raw).min(READER_BYTES)
}

/// Do next what is left of a group: it is earlier in the file than what waits, and so is its proof.
fn put_back(waiting: &mut VecDeque<Work>, left: Vec<Begun>) {
    for job in left.into_iter().rev() {
        waiting.push_front(Work::Left(job));
    }
}

fn joined(ended: Result<Result<Vec<Begun>>, tokio::task::JoinError>) -> Result<Vec<Begun>> {
    match ended {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Cancelled),
    }
}

/// Check the file hash and put the file in its place.
fn finish(download: &Download, file: Hash) -> Result<()> {
    if let Some(proof) = &download.proof {
        let actual = proof
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .finish(&download.layout);
        if actual != Some(file) {
            download.part.discard()?;
            return Err(wrong_file(file, actual));
        }
    }
    download.part.publish()
}

pub(crate) fn wrong_file(expected: Hash, actual: Option<Hash>) -> Error {
    Error::Integrity {
        what: "content of the file",
        expected: expected.to_hex(),
        actual: actual.map_or_else(|| "chunks are missing".to_owned(), |hash| hash.to_hex()),
    }
}

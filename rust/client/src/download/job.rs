//! One job of a file: what the journal says is on disk is hashed again, the rest is fetched.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use xetway_core::Hash;

use super::batches::{BATCH_BYTES, Batch, Reading, Sink, read};
use super::decode::{Buffers, decode_into, hash_all, raw_bytes};
use super::journal::{Journal, Run, Written};
use super::layout::{Cursor, Job, Layout, Segment};
use super::part::Part;
use super::progress::Meter;
use super::proof::Proof;
use crate::compute;
use crate::error::{Error, Result};
use crate::fetch::{SharedParts, UrlSource};
use crate::frames::Frame;
use crate::http::Http;

/// Most chunks checked at a time: a batch of the usual ones.
const GROUP_CHUNKS: u32 = 1024;

/// What the jobs of one download share.
pub(crate) struct Download {
    pub(crate) http: Http,
    pub(crate) source: Arc<dyn UrlSource>,
    pub(crate) layout: Layout,
    pub(crate) part: Part,
    pub(crate) journal: Journal,
    pub(crate) buffers: Buffers,
    pub(crate) meter: Arc<Meter>,
    /// Only for whole files.
    pub(crate) proof: Option<Mutex<Proof>>,
}

impl Download {
    fn prove(&self, job: usize, chunks: &[Written]) {
        if let Some(proof) = &self.proof {
            let chunks = chunks.iter().map(|chunk| (chunk.hash, chunk.raw_bytes));
            let mut proof = proof.lock().unwrap_or_else(PoisonError::into_inner);
            proof.add(&self.layout, job, chunks);
        }
    }

    fn job(&self, index: usize) -> Result<&Job> {
        // Indices come from the layout itself.
        self.layout.jobs.get(index).ok_or(Error::Cancelled)
    }
}

/// A job of which something is not on disk.
pub(crate) struct Begun {
    sink: FileSink,
    from: Cursor,
}

/// Go through what is on disk of job `index`; returns `None` if that is all of it.
pub(crate) async fn begin(download: &Arc<Download>, index: usize) -> Result<Option<Begun>> {
    let job = download.job(index)?;
    let mut sink = FileSink {
        download: Arc::clone(download),
        index,
        bases: vec![0; job.terms.len()],
    };
    let from = sink.adopt().await?;
    Ok((from.chunk < job.chunks.end).then_some(Begun { sink, from }))
}

impl Begun {
    /// Return the index of the job.
    pub(crate) fn index(&self) -> usize {
        self.sink.index
    }

    /// Return the xorb and the bytes of it that are not on disk.
    pub(crate) fn missing(&self) -> (Hash, Range<u64>) {
        let job = self.sink.download.layout.jobs.get(self.sink.index);
        let (xorb, end) = job.map_or((Hash::ZERO, self.from.byte), |job| (job.xorb, job.bytes.end));
        (xorb, self.from.byte..end)
    }

    /// Bring the rest to disk, from `parts` as far as that goes well.
    pub(crate) async fn fetch(mut self, parts: Option<SharedParts>) -> Result<()> {
        let download = Arc::clone(&self.sink.download);
        let job = download.job(self.sink.index)?;
        let reading = Reading {
            http: download.http.clone(),
            source: Arc::clone(&download.source),
            meter: Arc::clone(&download.meter),
            xorb: job.xorb,
            from: self.from,
            end_byte: job.bytes.end,
            wanted: self.from.chunk..job.chunks.end,
            parts,
        };
        read(reading, &mut self.sink).await
    }
}

struct FileSink {
    download: Arc<Download>,
    index: usize,
    bases: Vec<u64>,
}

impl FileSink {
    /// Go through the chunks that the journal names, as far as they are really on disk.
    async fn adopt(&mut self) -> Result<Cursor> {
        let download = Arc::clone(&self.download);
        let job = download.job(self.index)?;
        let mut at = Layout::begin(job);
        loop {
            let limit = job.chunks.end.saturating_sub(at.chunk).min(GROUP_CHUNKS);
            let mut group = download.journal.known(&job.xorb, at.chunk, at.byte, limit);
            group.truncate(chunks_of_one_batch(&group));
            let lengths: Vec<u32> = group.iter().map(|chunk| chunk.raw_bytes).collect();
            let end = group.iter().fold(at, after);
            let Ok(segments) = download.layout.place(job, &mut self.bases, at, &lengths) else {
                return Ok(at);
            };
            if group.is_empty() || end.byte > job.bytes.end {
                return Ok(at);
            }
            let (shared, index) = (Arc::clone(&download), self.index);
            let (good, bytes) = compute::run(move || {
                let (good, bytes) = shared.check(&group, &segments);
                group.truncate(good);
                shared.prove(index, &group);
                (group, bytes)
            })
            .await;
            at = good.iter().fold(at, after);
            download.meter.resumed(bytes);
            if at != end {
                return Ok(at);
            }
        }
    }
}

fn after(at: Cursor, chunk: &Written) -> Cursor {
    Cursor {
        chunk: at.chunk.saturating_add(1),
        byte: at.byte.saturating_add(u64::from(chunk.stored_bytes)),
        raw: at.raw.saturating_add(u64::from(chunk.raw_bytes)),
    }
}

fn chunks_of_one_batch(chunks: &[Written]) -> usize {
    let mut raw = 0_u64;
    let fits = |chunk: &&Written| {
        raw = raw.saturating_add(u64::from(chunk.raw_bytes));
        raw <= BATCH_BYTES
    };
    chunks.iter().take_while(fits).count()
}

impl Download {
    /// Count the chunks that are on disk, whole and right wherever they belong, and their bytes there.
    ///
    /// Those that reach out of the content are not counted: what is on disk of them has no hash.
    fn check(&self, group: &[Written], segments: &[Segment]) -> (usize, u64) {
        let mut good = group.len();
        for segment in segments {
            good = good.min(self.check_segment(group, segment));
        }
        let mut bytes = 0_u64;
        for segment in segments {
            let there = group.get(segment.chunks.start..segment.chunks.end.min(good));
            bytes += there
                .unwrap_or_default()
                .iter()
                .map(|chunk| u64::from(chunk.raw_bytes))
                .sum::<u64>();
        }
        (good, bytes)
    }

    /// Return the position of the first chunk of `segment` that is not right, or the end of the group.
    fn check_segment(&self, group: &[Written], segment: &Segment) -> usize {
        let chunks = group.get(segment.chunks.clone()).unwrap_or_default();
        let mut buffer = self.buffers.take(segment.len());
        let is_read = !segment.is_clipped && self.part.read_at(&mut buffer, segment.position).is_ok();
        let mut right = 0;
        if is_read {
            let hashes = hash_all(&mut buffer, chunks.iter().map(|chunk| chunk.raw_bytes));
            right = hashes
                .iter()
                .zip(chunks)
                .take_while(|(hash, chunk)| **hash == chunk.hash)
                .count();
        }
        self.buffers.give_back(buffer);
        if right == chunks.len() {
            group.len()
        } else {
            segment.chunks.start + right
        }
    }

    /// Decode a batch, write it wherever it belongs, and note that.
    fn write(&self, xorb: Hash, batch: &Batch, segments: &[Segment]) -> Result<Vec<Written>> {
        let mut buffer = self.buffers.take(raw_bytes(&batch.frames));
        let outcome = decode_into(&batch.frames, &mut buffer).and_then(|hashes| {
            for segment in segments {
                let bytes = buffer.get(segment.bytes.clone()).unwrap_or_default();
                self.part.write_at(bytes, segment.position)?;
            }
            Ok(hashes)
        });
        self.buffers.give_back(buffer);
        let written = |(hash, frame): (Hash, &Frame)| Written {
            hash,
            raw_bytes: frame.header.raw_bytes,
            stored_bytes: frame.header.stored_bytes(),
        };
        let run = Run {
            xorb,
            first: batch.at.chunk,
            start: batch.at.byte,
            chunks: outcome?.into_iter().zip(&batch.frames).map(written).collect(),
        };
        self.journal.append(&run)?;
        Ok(run.chunks)
    }
}

impl Sink for FileSink {
    type Done = (Vec<Written>, u64);

    fn work(&mut self, batch: Batch) -> Result<impl FnOnce() -> Result<Self::Done> + Send + 'static> {
        let download = Arc::clone(&self.download);
        let job = download.job(self.index)?;
        let segments = download
            .layout
            .place(job, &mut self.bases, batch.at, &batch.raw_bytes())?;
        let (download, xorb) = (Arc::clone(&self.download), job.xorb);
        Ok(move || {
            let written = download.write(xorb, &batch, &segments)?;
            let bytes = segments.iter().map(|segment| segment.len() as u64).sum();
            Ok((written, bytes))
        })
    }

    fn commit(&mut self, (written, bytes): Self::Done, _end: Cursor) -> Result<()> {
        self.download.prove(self.index, &written);
        self.download.meter.done(bytes);
        Ok(())
    }
}

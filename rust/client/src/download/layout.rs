//! What has to be fetched for a file, and where each chunk of it goes.
//!
//! A job is one range of one xorb; it is fetched once however many terms use it. Where a chunk lands
//! is not in the plan: it follows from the raw lengths of the chunks before it, which are known only
//! when those have been framed. A length that would push a chunk out of its term is an error before
//! anything is written. No network and no files here.

use std::collections::HashMap;
use std::ops::Range;

use xetway_core::Hash;

use crate::error::Result;
use crate::reconstruction::Reconstruction;

/// A range of a xorb that is fetched once.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) xorb: Hash,
    pub(crate) chunks: Range<u32>,
    pub(crate) bytes: Range<u64>,
    /// The terms made of it, ascending by first chunk.
    pub(crate) terms: Vec<usize>,
}

/// A term and its place in the content.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) job: usize,
    pub(crate) chunks: Range<u32>,
    pub(crate) raw_bytes: u64,
    /// Where it starts, counted from the start of the first term.
    pub(crate) content_start: u64,
}

/// The jobs of a file or a range of it, in the order of first use.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    pub(crate) jobs: Vec<Job>,
    pub(crate) terms: Vec<Placed>,
    /// Bytes of the first term before the content.
    pub(crate) skipped_bytes: u64,
    /// Length of the content.
    pub(crate) total_bytes: u64,
}

/// A position in a job: before a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) chunk: u32,
    /// Offset in the xorb.
    pub(crate) byte: u64,
    /// Raw bytes since the start of the job.
    pub(crate) raw: u64,
}

/// Consecutive chunks that land next to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Positions in the batch.
    pub(crate) chunks: Range<usize>,
    /// The part of the batch's raw bytes that belongs to the content.
    pub(crate) bytes: Range<usize>,
    /// Where it goes.
    pub(crate) position: u64,
    /// Whether some bytes of the chunks lie outside the content.
    pub(crate) is_clipped: bool,
}

impl Segment {
    pub(crate) fn len(&self) -> usize {
        self.bytes.end.saturating_sub(self.bytes.start)
    }
}

impl Layout {
    /// Lay out `plan`; `wanted_bytes` is the length of the range it was asked for.
    pub(crate) fn new(plan: &Reconstruction, wanted_bytes: Option<u64>) -> Result<Self> {
        let mut layout = Self {
            skipped_bytes: plan.offset_into_first,
            ..Self::default()
        };
        let mut jobs = HashMap::new();
        let mut content_start = 0_u64;
        for term in &plan.terms {
            let missing = xetway_core::Error::UnknownXorb { xorb: term.xorb };
            let fetch = plan.fetch_for(term).ok_or(missing)?;
            let index = *jobs.entry((term.xorb, fetch.chunks.start)).or_insert_with(|| {
                layout.jobs.push(Job {
                    xorb: term.xorb,
                    chunks: fetch.chunks.clone(),
                    bytes: fetch.bytes.clone(),
                    terms: Vec::new(),
                });
                layout.jobs.len() - 1
            });
            if let Some(job) = layout.jobs.get_mut(index) {
                job.terms.push(layout.terms.len());
            }
            layout.terms.push(Placed {
                job: index,
                chunks: term.start..term.end,
                raw_bytes: u64::from(term.unpacked_bytes),
                content_start,
            });
            content_start = content_start.saturating_add(u64::from(term.unpacked_bytes));
        }
        let Self { jobs, terms, .. } = &mut layout;
        for job in jobs {
            job.terms
                .sort_by_key(|index| terms.get(*index).map_or(0, |term| term.chunks.start));
        }
        let available = content_start.saturating_sub(layout.skipped_bytes);
        layout.total_bytes = wanted_bytes.map_or(available, |wanted| wanted.min(available));
        Ok(layout)
    }

    /// Return the cursor at the start of a job.
    pub(crate) fn begin(job: &Job) -> Cursor {
        Cursor {
            chunk: job.chunks.start,
            byte: job.bytes.start,
            raw: 0,
        }
    }

    /// Say where the chunks after `at`, of these raw lengths, land.
    ///
    /// `bases` has one entry for each term of the job: the raw offset at which it starts, which is
    /// learnt here. Chunks that no term uses are in no segment.
    pub(crate) fn place(&self, job: &Job, bases: &mut [u64], at: Cursor, raw_bytes: &[u32]) -> Result<Vec<Segment>> {
        let mut offsets = Vec::with_capacity(raw_bytes.len() + 1);
        let mut offset = 0_u64;
        offsets.push(offset);
        for bytes in raw_bytes {
            offset = offset.saturating_add(u64::from(*bytes));
            offsets.push(offset);
        }
        let batch = at.chunk
            ..at.chunk
                .saturating_add(u32::try_from(raw_bytes.len()).unwrap_or(u32::MAX));
        let mut segments = Vec::new();
        for (index, base) in job.terms.iter().zip(bases) {
            let Some(term) = self.terms.get(*index) else { continue };
            if term.chunks.start >= batch.end {
                break;
            }
            if term.chunks.end <= batch.start {
                continue;
            }
            let first = term.chunks.start.saturating_sub(batch.start) as usize;
            let last = (term.chunks.end.min(batch.end) - batch.start) as usize;
            let (Some(start), Some(end)) = (offsets.get(first), offsets.get(last)) else {
                continue;
            };
            if term.chunks.start >= batch.start {
                *base = at.raw.saturating_add(*start);
            }
            let inside = at.raw.saturating_add(*start).saturating_sub(*base);
            let inside_end = at.raw.saturating_add(*end).saturating_sub(*base);
            let is_last = term.chunks.end <= batch.end;
            if inside_end > term.raw_bytes || (is_last && inside_end != term.raw_bytes) {
                return Err(wrong_length(term, inside_end, at.byte));
            }
            segments.extend(self.clip(term.content_start.saturating_add(inside), first..last, *start..*end));
        }
        Ok(segments)
    }

    /// Cut off what lies outside the content.
    fn clip(&self, content: u64, chunks: Range<usize>, bytes: Range<u64>) -> Option<Segment> {
        let content_end = content.saturating_add(bytes.end - bytes.start);
        let start = content.max(self.skipped_bytes);
        let end = content_end.min(self.skipped_bytes.saturating_add(self.total_bytes));
        if start >= end {
            return None;
        }
        let inner = |position: u64| usize::try_from(bytes.start + (position - content)).ok();
        Some(Segment {
            chunks,
            bytes: inner(start)?..inner(end)?,
            position: start - self.skipped_bytes,
            is_clipped: start > content || end < content_end,
        })
    }
}

fn wrong_length(term: &Placed, actual: u64, offset: u64) -> crate::Error {
    xetway_core::Error::LengthMismatch {
        what: "term",
        expected: term.raw_bytes,
        actual,
        offset,
        code: "length_mismatch",
    }
    .into()
}

#[cfg(test)]
mod tests {
    use xetway_core::plan::PlannedTerm;

    use super::*;
    use crate::reconstruction::Fetch;

    fn hash(byte: u8) -> Hash {
        Hash::from_bytes([byte; 32])
    }

    fn term(xorb: u8, chunks: Range<u32>, unpacked_bytes: u32) -> PlannedTerm {
        PlannedTerm {
            xorb: hash(xorb),
            unpacked_bytes,
            start: chunks.start,
            end: chunks.end,
        }
    }

    fn plan(terms: Vec<PlannedTerm>, offset_into_first: u64) -> Reconstruction {
        let fetch = |chunks: Range<u32>| Fetch {
            bytes: u64::from(chunks.start) * 18..u64::from(chunks.end) * 18,
            chunks,
            url: "http://h/x".into(),
        };
        Reconstruction {
            offset_into_first,
            terms,
            fetches: HashMap::from([(hash(1), vec![fetch(2..10)]), (hash(2), vec![fetch(0..1), fetch(4..6)])]),
        }
    }

    #[test]
    fn a_range_used_by_many_terms_is_one_job() {
        let terms = vec![
            term(1, 5..10, 50),
            term(2, 4..6, 20),
            term(1, 2..7, 50),
            term(2, 0..1, 10),
            term(2, 4..5, 10),
        ];
        let layout = Layout::new(&plan(terms, 0), None).unwrap();
        assert_eq!(layout.total_bytes, 140);
        assert_eq!(
            layout.jobs.iter().map(|job| job.terms.clone()).collect::<Vec<_>>(),
            [vec![2, 0], vec![1, 4], vec![3]]
        );
        let job = &layout.jobs[0];
        let mut bases = vec![0; 2];
        let at = Layout::begin(job);
        // Chunks 2, 3, 4, 5 of 10 bytes: the third term has them all, the first only the last.
        let segments = layout.place(job, &mut bases, at, &[10; 4]).unwrap();
        let places: Vec<_> = segments
            .iter()
            .map(|segment| (segment.bytes.clone(), segment.position))
            .collect();
        assert_eq!(places, [(0..40, 70), (30..40, 0)]);
        let next = Cursor {
            chunk: 6,
            byte: at.byte + 72,
            raw: 40,
        };
        let segments = layout.place(job, &mut bases, next, &[10; 4]).unwrap();
        let places: Vec<_> = segments
            .iter()
            .map(|segment| (segment.bytes.clone(), segment.position))
            .collect();
        assert_eq!(places, [(0..10, 110), (0..40, 10)]);
    }

    #[test]
    fn bytes_outside_the_range_are_clipped() {
        let layout = Layout::new(&plan(vec![term(1, 2..4, 20), term(2, 0..1, 10)], 7), Some(18)).unwrap();
        assert_eq!(layout.total_bytes, 18);
        let job = &layout.jobs[0];
        let first = layout.place(job, &mut [0], Layout::begin(job), &[10, 10]).unwrap();
        assert_eq!(
            (first[0].bytes.clone(), first[0].position, first[0].is_clipped),
            (7..20, 0, true)
        );
        let job = &layout.jobs[1];
        let last = layout.place(job, &mut [0], Layout::begin(job), &[10]).unwrap();
        assert_eq!(
            (last[0].bytes.clone(), last[0].position, last[0].is_clipped),
            (0..5, 13, true)
        );
    }

    #[test]
    fn a_chunk_never_leaves_its_term() {
        let layout = Layout::new(&plan(vec![term(1, 2..5, 30), term(2, 0..1, 10)], 0), None).unwrap();
        let job = &layout.jobs[0];
        let at = Layout::begin(job);
        for lengths in [&[10, 21][..], &[10, 10, 9], &[10, 10, 11], &[31]] {
            let error = layout.place(job, &mut [0], at, lengths).unwrap_err();
            assert_eq!(error.code(), "length_mismatch", "{lengths:?}");
        }
        layout.place(job, &mut [0], at, &[10, 10, 10]).unwrap();
    }
}

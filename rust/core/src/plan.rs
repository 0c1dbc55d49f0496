//! Plan the reconstruction of a byte range of a file: which chunks, and which bytes of which xorbs.
//!
//! Terms are trimmed to whole chunks. Chunk ranges of the same xorb that touch or overlap are
//! fetched once. No URL and no JSON here.
//!
//! Source: draft-denis-xet-03, "Range Queries"; behaviour the deployed client expects.

use std::collections::HashMap;
use std::ops::Deref;

use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::shard::Term;
use crate::xorb::{ChunkMeta, XorbMeta};

/// A term, or the part of one that the range touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedTerm {
    /// Xorb hash.
    pub xorb: Hash,
    /// Raw length of the chunks together.
    pub unpacked_bytes: u32,
    /// First chunk.
    pub start: u32,
    /// One past the last chunk.
    pub end: u32,
}

/// Consecutive chunks of a xorb that are fetched together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchRange {
    /// First chunk.
    pub chunk_start: u32,
    /// One past the last chunk.
    pub chunk_end: u32,
    /// Where the first chunk starts in the chunk data.
    pub byte_start: u64,
    /// One past the last byte of the last chunk in the chunk data.
    pub byte_end: u64,
}

/// What is fetched of one xorb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XorbFetch {
    /// Xorb hash.
    pub xorb: Hash,
    /// Ranges in ascending order, none touching another.
    pub ranges: Vec<FetchRange>,
}

/// How to reconstruct a byte range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Raw bytes of the first term that come before the range.
    pub offset_into_first: u64,
    /// Terms in file order.
    pub terms: Vec<PlannedTerm>,
    /// Xorbs in the order they are first used; each term lies in one range.
    pub fetches: Vec<XorbFetch>,
}

/// Plan bytes `start..end` of the file made of `terms`.
///
/// An `end` past the end of the file means its end; an empty range gives an empty plan, and a
/// `start` past the end of the file, or after `end`, is an error. `lookup` describes a xorb, and is
/// asked once for each term that the range touches. A touched term that names chunks its xorb does
/// not have, or whose length is not theirs, is an error.
pub fn plan<M, E>(
    terms: &[Term],
    start: u64,
    end: u64,
    mut lookup: impl FnMut(&Hash) -> Result<M, E>,
) -> Result<Plan, E>
where
    M: Deref<Target = XorbMeta>,
    E: From<Error>,
{
    let size = terms
        .iter()
        .map(|term| u64::from(term.unpacked_bytes))
        .fold(0, u64::saturating_add);
    if start > size || start > end {
        return Err(Error::RangeOutside { start, end, size }.into());
    }
    let end = end.min(size);
    let mut plan = Plan::default();
    if start >= end {
        return Ok(plan);
    }
    let mut fetches = Fetches::default();
    let mut term_start = 0_u64;
    for term in terms {
        let term_end = term_start.saturating_add(u64::from(term.unpacked_bytes));
        if term_end > start && term_start < end {
            let meta = lookup(&term.xorb)?;
            let inner = start.saturating_sub(term_start)..end.min(term_end).saturating_sub(term_start);
            let (planned, skipped) = trim(term, &meta, inner)?;
            if plan.terms.is_empty() {
                plan.offset_into_first = start.saturating_sub(term_start).saturating_sub(skipped);
            }
            fetches.add(&planned, &meta);
            plan.terms.push(planned);
        }
        term_start = term_end;
    }
    plan.fetches = fetches.finish();
    Ok(plan)
}

/// Check that `term` names chunks that `meta` has and that they are as long as it says.
///
/// Returns the chunks.
pub fn check_term<'a>(term: &Term, meta: &'a XorbMeta) -> Result<&'a [ChunkMeta]> {
    let chunks = meta.range(term.start, term.end)?;
    let actual = raw_bytes(chunks);
    if actual != term.unpacked_bytes {
        return Err(Error::LengthMismatch {
            what: "term",
            expected: u64::from(term.unpacked_bytes),
            actual: u64::from(actual),
            offset: 0,
            code: "length_mismatch",
        });
    }
    Ok(chunks)
}

fn raw_bytes(chunks: &[ChunkMeta]) -> u32 {
    let start = chunks.first().map_or(0, ChunkMeta::raw_start);
    chunks.last().map_or(0, |chunk| chunk.raw_end).saturating_sub(start)
}

/// Drop the chunks of a term that lie outside `inner`, a byte range inside the term.
///
/// Also returns how many bytes were dropped before the first chunk kept.
fn trim(term: &Term, meta: &XorbMeta, inner: std::ops::Range<u64>) -> Result<(PlannedTerm, u64)> {
    let chunks = check_term(term, meta)?;
    let base = u64::from(chunks.first().map_or(0, ChunkMeta::raw_start));
    let first = chunks.partition_point(|chunk| u64::from(chunk.raw_end).saturating_sub(base) <= inner.start);
    let last = chunks.partition_point(|chunk| u64::from(chunk.raw_start()).saturating_sub(base) < inner.end);
    let kept = chunks.get(first..last).unwrap_or_default();
    let skipped = u64::from(kept.first().map_or(0, ChunkMeta::raw_start)).saturating_sub(base);
    // Both are positions inside a xorb, at most 8192.
    let offset = |position: usize| term.start.saturating_add(u32::try_from(position).unwrap_or_default());
    let planned = PlannedTerm {
        xorb: term.xorb,
        unpacked_bytes: raw_bytes(kept),
        start: offset(first),
        end: offset(last),
    };
    Ok((planned, skipped))
}

#[derive(Default)]
struct Fetches {
    order: Vec<XorbFetch>,
    index: HashMap<Hash, usize>,
}

impl Fetches {
    fn add(&mut self, term: &PlannedTerm, meta: &XorbMeta) {
        let byte_at = |chunk: u32| u64::from(meta.start(chunk as usize).unwrap_or_default());
        let range = FetchRange {
            chunk_start: term.start,
            chunk_end: term.end,
            byte_start: byte_at(term.start),
            byte_end: byte_at(term.end),
        };
        let slot = *self.index.entry(term.xorb).or_insert(self.order.len());
        match self.order.get_mut(slot) {
            Some(fetch) => fetch.ranges.push(range),
            None => self.order.push(XorbFetch {
                xorb: term.xorb,
                ranges: vec![range],
            }),
        }
    }

    fn finish(mut self) -> Vec<XorbFetch> {
        for fetch in &mut self.order {
            fetch
                .ranges
                .sort_unstable_by_key(|range| (range.chunk_start, range.chunk_end));
            fetch.ranges.dedup_by(|next, kept| {
                let touches = next.chunk_start <= kept.chunk_end;
                if touches && next.chunk_end > kept.chunk_end {
                    kept.chunk_end = next.chunk_end;
                    kept.byte_end = next.byte_end;
                }
                touches
            });
        }
        self.order
    }
}

//! Plans of byte ranges: made here from what is known of the chunks, or asked of the upstream.
//!
//! What the upstream says of a range must fit what it said of the whole file: that is what the file's
//! hash proves. Positions inside terms that can't be compared yet are checked with the file.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use xetway_cache::{Cache, FilePlan};
use xetway_client::Reconstruction;
use xetway_core::Hash;
use xetway_core::plan::{FetchRange, PlannedTerm, XorbFetch};

use crate::error::{Error, Result};
use crate::files::FileState;
use crate::mirror::{Planned, Shared, blocking};
use crate::stats::add;

/// What the upstream said of a position inside a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Claim {
    /// Position of the term in the file's plan.
    pub(crate) term: usize,
    /// A chunk of it.
    pub(crate) chunk: u32,
    /// Raw bytes of the term before the chunk.
    pub(crate) raw_before: u64,
}

/// The parts of a plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    offset_into_first: u64,
    terms: Vec<PlannedTerm>,
    fetches: Vec<XorbFetch>,
    /// Whether all chunks are known and proven.
    proven: bool,
}

impl Shared {
    /// Return the plan of a whole file: from memory, from disk, or from the upstream, which is asked once.
    pub(crate) async fn file_plan(&self, file: &Arc<FileState>, may_ask: bool) -> Result<Arc<FilePlan>> {
        if let Some(plan) = file.plan() {
            return Ok(plan);
        }
        let _planning = file.planning.lock().await;
        if let Some(plan) = file.plan() {
            return Ok(plan);
        }
        if !file.must_ask() {
            let (cache, state) = (self.cache.clone(), Arc::clone(file));
            let found = blocking(move || match cache.plan(&state.hash)? {
                Some(plan) => state.adopt(plan),
                None => Ok(()),
            });
            found.await??;
        }
        if file.plan().is_none() && may_ask {
            self.ask_upstream(file, None).await?;
        }
        file.plan().ok_or_else(|| not_cached(&file.hash))
    }

    /// Check that a file has the size that it is said to have.
    ///
    /// If its plan has another and is not proven, either may be wrong: the plan is asked for again.
    pub(crate) async fn check_size(&self, file: &Arc<FileState>, size: u64, may_ask: bool) -> Result<()> {
        let mut planned = 0;
        if file.hash != Hash::ZERO {
            let seen = file.addresses.whole_plans();
            let plan = self.file_plan(file, may_ask).await?;
            planned = plan.size;
            if planned != size && !plan.proven && may_ask {
                self.ask_again(file, seen).await?;
                planned = self.file_plan(file, may_ask).await?.size;
            }
        }
        if planned == size {
            return Ok(());
        }
        Err(Error::UpstreamIntegrity {
            what: format!("the length of file {}", file.hash),
            expected: format!("{size} bytes"),
            actual: format!("{planned} bytes"),
        })
    }

    /// Plan `range` of a file; `None` if it starts past the end. Also says whether all chunks are known and proven.
    pub(crate) async fn plan_range(
        &self,
        file: &Arc<FileState>,
        range: Option<Range<u64>>,
        may_ask: bool,
    ) -> Result<Option<(Planned, bool)>> {
        // Again if an answer does not fit: it may be of another layout, which is asked for then.
        for _ in 0..3 {
            let plan = self.file_plan(file, may_ask).await?;
            let Some(generation) = file.generation_of(&plan) else {
                continue;
            };
            let range = range.clone().unwrap_or(0..plan.size);
            let range = range.start..range.end.min(plan.size);
            if range.start > 0 && range.start >= plan.size {
                return Ok(None);
            }
            let parts = self.parts(file, &plan, &range, may_ask).await?;
            let Some(parts) = parts.filter(|_| file.generation() == generation) else {
                continue;
            };
            if plan.proven && !parts.proven {
                let losing = Arc::clone(file);
                blocking(move || losing.lose()).await??;
            } else {
                let planned = Planned {
                    size: plan.size,
                    generation,
                    offset_into_first: parts.offset_into_first,
                    terms: parts.terms,
                    fetches: parts.fetches,
                };
                return Ok(Some((planned, parts.proven)));
            }
        }
        Err(Error::UpstreamIntegrity {
            what: format!("the plan of a range of file {}", file.hash),
            expected: "part of the plan of the file".to_owned(),
            actual: "something else".to_owned(),
        })
    }

    /// Return the parts for a range; `None` if the upstream's answer does not fit the plan of the file.
    async fn parts(
        &self,
        file: &Arc<FileState>,
        plan: &Arc<FilePlan>,
        range: &Range<u64>,
        may_ask: bool,
    ) -> Result<Option<Parts>> {
        let (cache, known, wanted) = (self.cache.clone(), Arc::clone(plan), range.clone());
        if let Some((parts, claim)) = blocking(move || plan_known(&cache, &known, &wanted, !may_ask)).await?? {
            add(&self.counters.local_plans, 1);
            if let Some(claim) = claim {
                file.claim(claim);
            }
            return Ok(Some(parts));
        }
        if !may_ask {
            return Err(not_cached(&file.hash));
        }
        if let Some(parts) = remembered(file, plan, range) {
            return Ok(Some(parts));
        }
        let _planning = file.planning.lock().await;
        if let Some(parts) = remembered(file, plan, range) {
            return Ok(Some(parts));
        }
        if *range == (0..plan.size) {
            // Its addresses are not known: it was on disk.
            self.ask_upstream(file, None).await?;
            let now = file.plan();
            return Ok(now
                .filter(|now| now.terms == plan.terms)
                .and_then(|_| plan_fetches(plan, file)));
        }
        let answer = self.ask_upstream(file, Some(range.clone())).await?;
        let fit = answer.and_then(|answer| fits(plan, range, &answer).ok().map(|claim| (parts_of(answer), claim)));
        let Some((parts, claim)) = fit else {
            self.ask_upstream(file, None).await?;
            return Ok(None);
        };
        let is_kept = file.set_answer(plan, range.clone(), &parts, claim);
        Ok(is_kept.then_some(parts))
    }
}

fn remembered(file: &FileState, plan: &FilePlan, range: &Range<u64>) -> Option<Parts> {
    if *range == (0..plan.size) {
        return plan_fetches(plan, file);
    }
    file.answer(range)
}

fn not_cached(file: &Hash) -> Error {
    Error::NotCached {
        what: format!("file {file}"),
    }
}

/// Check that an answer for `range` is part of the plan of the file.
fn fits(plan: &FilePlan, range: &Range<u64>, answer: &Reconstruction) -> Result<Option<Claim>, ()> {
    let start = range.start.checked_sub(answer.offset_into_first).ok_or(())?;
    let (mut at, mut term_start) = (0, 0_u64);
    for (index, term) in plan.terms.iter().enumerate() {
        let term_end = term_start + u64::from(term.unpacked_bytes);
        at = index;
        if range.start < term_end {
            break;
        }
        term_start = term_end;
    }
    let wholes = plan.terms.get(at..).unwrap_or_default();
    let whole_first = wholes.first().ok_or(())?;
    let first = answer.terms.first().ok_or(())?;
    let raw_before = start.checked_sub(term_start).ok_or(())?;
    let last_index = answer.terms.len().checked_sub(1).ok_or(())?;
    for (index, part) in answer.terms.iter().enumerate() {
        let whole = wholes.get(index).ok_or(())?;
        let begins = index == 0 || part.start == whole.start;
        let ends = index == last_index || part.end == whole.end;
        let is_inside = whole.start <= part.start && part.start < part.end && part.end <= whole.end;
        let is_whole = part.start == whole.start && part.end == whole.end;
        if part.xorb != whole.xorb || !begins || !ends || !is_inside {
            return Err(());
        }
        if (is_whole && part.unpacked_bytes != whole.unpacked_bytes) || part.unpacked_bytes > whole.unpacked_bytes {
            return Err(());
        }
    }
    let begins_right = match (first.start == whole_first.start, first.end == whole_first.end) {
        (true, _) => raw_before == 0,
        (false, true) => raw_before == u64::from(whole_first.unpacked_bytes - first.unpacked_bytes),
        (false, false) => raw_before < u64::from(whole_first.unpacked_bytes),
    };
    if !begins_right || start + answer.raw_bytes() < range.end {
        return Err(());
    }
    Ok((first.start != whole_first.start).then_some(Claim {
        term: at,
        chunk: first.start,
        raw_before,
    }))
}

/// Plan a range from the chunks known; `None` if one that it touches is not, or is not held and has to be.
///
/// Also returns what it says of a position inside a term.
fn plan_known(
    cache: &Cache,
    plan: &FilePlan,
    range: &Range<u64>,
    must_hold: bool,
) -> Result<Option<(Parts, Option<Claim>)>> {
    let mut parts = Parts {
        proven: true,
        ..Parts::default()
    };
    let mut claim = None;
    let mut ranges = Fetches::default();
    let mut term_start = 0_u64;
    for (term_index, term) in plan.terms.iter().enumerate() {
        let term_end = term_start + u64::from(term.unpacked_bytes);
        if term_end > range.start && term_start < range.end {
            let chunks = cache.xorb(&term.xorb)?.chunks(term.start..term.end);
            if chunks.len() as u64 != u64::from(term.end.saturating_sub(term.start)) {
                return Ok(None);
            }
            let mut at = term_start;
            let mut kept: Option<(PlannedTerm, Range<u64>)> = None;
            for chunk in &chunks {
                let end = at + u64::from(chunk.raw_bytes);
                if end > range.start && at < range.end {
                    if must_hold && !chunk.held {
                        return Ok(None);
                    }
                    parts.proven &= chunk.proven;
                    let first = PlannedTerm {
                        xorb: term.xorb,
                        unpacked_bytes: 0,
                        start: chunk.index,
                        end: chunk.index,
                    };
                    if kept.is_none() && parts.terms.is_empty() {
                        parts.offset_into_first = range.start.saturating_sub(at);
                        claim = (chunk.index != term.start).then_some(Claim {
                            term: term_index,
                            chunk: chunk.index,
                            raw_before: at - term_start,
                        });
                    }
                    let (planned, bytes) = kept.get_or_insert((first, chunk.start..chunk.end));
                    planned.end = chunk.index.saturating_add(1);
                    planned.unpacked_bytes = planned.unpacked_bytes.saturating_add(chunk.raw_bytes);
                    bytes.end = chunk.end;
                }
                at = end;
            }
            if at != term_end {
                return Ok(None);
            }
            if let Some((planned, bytes)) = kept {
                ranges.add(planned.xorb, planned.start..planned.end, bytes);
                parts.terms.push(planned);
            }
        }
        term_start = term_end;
    }
    parts.fetches = ranges.finish();
    Ok(Some((parts, claim)))
}

/// Plan a whole file from the addresses known; `None` if one is missing.
fn plan_fetches(plan: &FilePlan, file: &FileState) -> Option<Parts> {
    let mut ranges = Fetches::default();
    for term in &plan.terms {
        let fetch = file.addresses.fetch_of(term)?;
        ranges.add(term.xorb, fetch.chunks, fetch.bytes);
    }
    Some(Parts {
        offset_into_first: 0,
        terms: plan.terms.clone(),
        fetches: ranges.finish(),
        proven: false,
    })
}

fn parts_of(answer: Reconstruction) -> Parts {
    let mut ranges = Fetches::default();
    for term in &answer.terms {
        if let Some(fetch) = answer.fetch_for(term) {
            ranges.add(term.xorb, fetch.chunks.clone(), fetch.bytes.clone());
        }
    }
    Parts {
        offset_into_first: answer.offset_into_first,
        terms: answer.terms,
        fetches: ranges.finish(),
        proven: false,
    }
}

/// Collects what is fetched of each xorb; ranges that touch or overlap become one.
#[derive(Default)]
struct Fetches {
    order: Vec<XorbFetch>,
    index: HashMap<Hash, usize>,
}

impl Fetches {
    fn add(&mut self, xorb: Hash, chunks: Range<u32>, bytes: Range<u64>) {
        let range = FetchRange {
            chunk_start: chunks.start,
            chunk_end: chunks.end,
            byte_start: bytes.start,
            byte_end: bytes.end,
        };
        let slot = *self.index.entry(xorb).or_insert(self.order.len());
        match self.order.get_mut(slot) {
            Some(fetch) => fetch.ranges.push(range),
            None => self.order.push(XorbFetch {
                xorb,
                ranges: vec![range],
            }),
        }
    }

    fn finish(mut self) -> Vec<XorbFetch> {
        for fetch in &mut self.order {
            let ranges = &mut fetch.ranges;
            ranges.sort_unstable_by_key(|range| (range.chunk_start, range.chunk_end));
            ranges.dedup_by(|next, kept| {
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

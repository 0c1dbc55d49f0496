//! Plans of byte ranges: made here from what is known of the chunks, or asked of the upstream.

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

impl Shared {
    /// Return the plan of a whole file: from memory, from disk, or from the upstream, which is asked once.
    pub(crate) async fn file_plan(&self, file: &Arc<FileState>) -> Result<Arc<FilePlan>> {
        if let Some(plan) = file.plan() {
            return Ok(plan);
        }
        let _planning = file.planning.lock().await;
        if let Some(plan) = file.plan() {
            return Ok(plan);
        }
        let (cache, hash) = (self.cache.clone(), file.hash);
        if let Some(plan) = blocking(move || cache.plan(&hash)).await?? {
            file.set_plan(plan);
        } else {
            if file.cas().is_none() {
                return Err(not_cached(&file.hash));
            }
            self.ask_upstream(file, None).await?;
        }
        file.plan().ok_or_else(|| not_cached(&file.hash))
    }

    /// Keep a plan in memory and, if the disk has room, there.
    pub(crate) async fn keep_plan(&self, file: &Arc<FileState>, plan: FilePlan) -> Result<()> {
        file.set_plan(plan.clone());
        let (cache, hash) = (self.cache.clone(), file.hash);
        match blocking(move || cache.put_plan(&hash, &plan)).await? {
            Ok(()) | Err(xetway_cache::Error::Full { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Plan `range` of a file; `None` if it starts past the end.
    pub(crate) async fn plan_range(&self, file: &Arc<FileState>, range: Option<Range<u64>>) -> Result<Option<Planned>> {
        let plan = self.file_plan(file).await?;
        let range = range.unwrap_or(0..plan.size);
        let range = range.start..range.end.min(plan.size);
        if range.start > 0 && range.start >= plan.size {
            return Ok(None);
        }
        let generation = file.generation();
        let planned = |parts: Parts| Planned {
            size: plan.size,
            generation,
            offset_into_first: parts.offset_into_first,
            terms: parts.terms,
            fetches: parts.fetches,
        };
        let (cache, known, wanted) = (self.cache.clone(), Arc::clone(&plan), range.clone());
        if let Some(parts) = blocking(move || plan_known(&cache, &known, &wanted)).await?? {
            add(&self.counters.local_plans, 1);
            return Ok(Some(planned(parts)));
        }
        if file.cas().is_none() {
            return Err(not_cached(&file.hash));
        }
        let whole = range == (0..plan.size);
        if whole {
            if let Some(parts) = plan_fetches(&plan, file) {
                return Ok(Some(planned(parts)));
            }
        }
        let asked = (!whole).then_some(range);
        let answer = self.ask_upstream(file, asked).await?;
        Ok(answer.map(|answer| planned(parts_of(answer))))
    }
}

fn not_cached(file: &Hash) -> Error {
    Error::NotCached {
        what: format!("file {file}"),
    }
}

#[derive(Default)]
struct Parts {
    offset_into_first: u64,
    terms: Vec<PlannedTerm>,
    fetches: Vec<XorbFetch>,
}

/// Plan a range from the chunks known; `None` if one that it touches is not.
fn plan_known(cache: &Cache, plan: &FilePlan, range: &Range<u64>) -> Result<Option<Parts>> {
    let mut parts = Parts::default();
    let mut ranges = Fetches::default();
    let mut term_start = 0_u64;
    for term in &plan.terms {
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
                    let first = PlannedTerm {
                        xorb: term.xorb,
                        unpacked_bytes: 0,
                        start: chunk.index,
                        end: chunk.index,
                    };
                    if kept.is_none() && parts.terms.is_empty() {
                        parts.offset_into_first = range.start.saturating_sub(at);
                    }
                    let (planned, bytes) = kept.get_or_insert_with(|| (first, chunk.start..chunk.end));
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
    Ok(Some(parts))
}

/// Plan a whole file from the addresses known; `None` if one is missing.
fn plan_fetches(plan: &FilePlan, file: &FileState) -> Option<Parts> {
    let mut ranges = Fetches::default();
    for term in &plan.terms {
        let fetch = file.fetch_of(term)?;
        ranges.add(term.xorb, fetch.chunks, fetch.bytes);
    }
    Some(Parts {
        offset_into_first: 0,
        terms: plan.terms.clone(),
        fetches: ranges.finish(),
    })
}

fn parts_of(answer: Reconstruction) -> Parts {
    let mut ranges = Fetches::default();
    for term in &answer.terms {
        for fetch in answer.fetches.get(&term.xorb).into_iter().flatten() {
            if fetch.chunks.start <= term.start && term.end <= fetch.chunks.end {
                ranges.add(term.xorb, fetch.chunks.clone(), fetch.bytes.clone());
                break;
            }
        }
    }
    Parts {
        offset_into_first: answer.offset_into_first,
        terms: answer.terms,
        fetches: ranges.finish(),
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

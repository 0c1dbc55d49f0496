//! Where the ranges of one file come from: the store, and the addresses it gave.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use xetway_client::{Cas, Fetch};
use xetway_core::Hash;
use xetway_core::plan::PlannedTerm;

/// Addresses remembered per xorb and file: random reads bring ever new ones.
const MAX_FETCHES: usize = 64;

/// The addresses known of one file. In memory only, as they are secrets.
#[derive(Debug, Default)]
pub(crate) struct Addresses(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    cas: Option<Cas>,
    fetches: HashMap<Hash, Vec<Fetch>>,
    /// Goes up with each plan of the whole file that the upstream gave.
    whole_plans: u64,
}

impl Addresses {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Return the store, with the credentials that were given last.
    pub(crate) fn cas(&self) -> Option<Cas> {
        self.lock().cas.clone()
    }

    pub(crate) fn set_cas(&self, cas: Cas) {
        self.lock().cas = Some(cas);
    }

    /// Remember where ranges come from; newer addresses take the place of those for the same bytes.
    pub(crate) fn learn(&self, fetches: &HashMap<Hash, Vec<Fetch>>, is_whole: bool) {
        let mut inner = self.lock();
        inner.whole_plans += u64::from(is_whole);
        for (xorb, new) in fetches {
            let ranges = inner.fetches.entry(*xorb).or_default();
            ranges.retain(|before| new.iter().all(|fetch| fetch.bytes != before.bytes));
            ranges.extend(new.iter().cloned());
            let surplus = ranges.len().saturating_sub(MAX_FETCHES.max(new.len()));
            ranges.drain(..surplus);
        }
    }

    /// Forget them: they led to wrong bytes.
    pub(crate) fn forget(&self) {
        self.lock().fetches.clear();
    }

    /// Return how many plans of the whole file were learnt from.
    pub(crate) fn whole_plans(&self) -> u64 {
        self.lock().whole_plans
    }

    /// Return the fetch that holds `at` and reaches furthest towards `end`, the shortest of equals.
    pub(crate) fn fetch_at(&self, xorb: &Hash, at: u64, end: u64) -> Option<Fetch> {
        let inner = self.lock();
        let fetches = inner.fetches.get(xorb)?.iter();
        let covers = fetches.filter(|fetch| fetch.bytes.contains(&at));
        covers
            .max_by_key(|fetch| (fetch.bytes.end.min(end), fetch.bytes.start, u64::MAX - fetch.bytes.end))
            .cloned()
    }

    /// Whether the upstream named `at` as the start or end of a range.
    pub(crate) fn is_edge(&self, xorb: &Hash, at: u64) -> bool {
        let inner = self.lock();
        let mut fetches = inner.fetches.get(xorb).into_iter().flatten();
        fetches.any(|fetch| fetch.bytes.start == at || fetch.bytes.end == at)
    }

    /// Return the fetch that holds all chunks of a term.
    pub(crate) fn fetch_of(&self, term: &PlannedTerm) -> Option<Fetch> {
        let inner = self.lock();
        let fetches = inner.fetches.get(&term.xorb)?.iter();
        let holds = fetches.filter(|fetch| fetch.chunks.start <= term.start && term.end <= fetch.chunks.end);
        holds.min_by_key(|fetch| fetch.chunks.len()).cloned()
    }
}

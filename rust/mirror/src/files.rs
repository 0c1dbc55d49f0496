//! What the mirror knows in memory of one file: its plan, where its ranges come from, and what was shown of it.
//!
//! Bytes that nobody has proven may be shown, but not forgotten: a file remembers who saw some. When
//! its content turns out to be wrong, its generation changes and everyone who saw unproven bytes is
//! refused from then on, because what follows would be added to wrong bytes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use xetway_cache::FilePlan;
use xetway_client::{Cas, Fetch};
use xetway_core::Hash;
use xetway_core::plan::PlannedTerm;

use crate::error::{Error, Result};

/// Files whose sources are remembered although nobody reads them: clients plan first and fetch later.
const RECENT_FILES: usize = 256;
/// Files that were found wrong, kept so that their readers are known; far more than ever happens.
const TROUBLED_FILES: usize = 4_096;
/// Sessions remembered per file; a client in more trouble than this is not to be helped.
const MAX_SESSIONS: usize = 4_096;
/// How long those without a session may not go on after they were shown wrong bytes.
const NAMELESS_REFUSED_FOR: Duration = Duration::from_secs(3_600);

/// Who reads: a session that the client names, or nobody in particular.
pub(crate) type Reader = Option<String>;

/// One file.
#[derive(Debug)]
pub(crate) struct FileState {
    pub(crate) hash: Hash,
    generations: Arc<AtomicU64>,
    known: Mutex<Known>,
    /// Held while the upstream is asked for the plan: one asks, the others wait.
    pub(crate) planning: tokio::sync::Mutex<()>,
    /// Held while the file is checked as a whole.
    pub(crate) proving: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Known {
    generation: u64,
    /// Generations in which unproven bytes were shown that are, or may be, wrong.
    wrong: HashSet<u64>,
    plan: Option<Arc<FilePlan>>,
    cas: Option<Cas>,
    fetches: HashMap<Hash, Vec<Fetch>>,
    /// Goes up with each plan that the upstream gave.
    plans: u64,
    /// Terms before this one have all their chunks known.
    complete_terms: usize,
    shown: HashSet<Reader>,
    refused: HashSet<Reader>,
    nameless_until: Option<Instant>,
    /// Shown wrong once: not shown again before it is proven.
    suspect: bool,
}

impl FileState {
    fn new(hash: Hash, generations: Arc<AtomicU64>) -> Self {
        let generation = generations.fetch_add(1, Ordering::Relaxed);
        Self {
            hash,
            generations,
            known: Mutex::new(Known {
                generation,
                wrong: HashSet::new(),
                plan: None,
                cas: None,
                fetches: HashMap::new(),
                plans: 0,
                complete_terms: 0,
                shown: HashSet::new(),
                refused: HashSet::new(),
                nameless_until: None,
                suspect: false,
            }),
            planning: tokio::sync::Mutex::default(),
            proving: tokio::sync::Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.known().generation
    }

    pub(crate) fn plan(&self) -> Option<Arc<FilePlan>> {
        self.known().plan.clone()
    }

    pub(crate) fn is_proven(&self) -> bool {
        self.known().plan.as_ref().is_some_and(|plan| plan.proven)
    }

    pub(crate) fn is_suspect(&self) -> bool {
        self.known().suspect
    }

    /// Take over a plan. One with other terms is another layout of the same content, and not proven.
    pub(crate) fn set_plan(&self, plan: FilePlan) {
        let mut known = self.known();
        let proven = plan.proven;
        if known.plan.as_ref().is_none_or(|before| before.terms != plan.terms) {
            known.complete_terms = 0;
        }
        known.plan = Some(Arc::new(plan));
        if proven {
            known.suspect = false;
            known.shown.clear();
        }
    }

    pub(crate) fn cas(&self) -> Option<Cas> {
        self.known().cas.clone()
    }

    pub(crate) fn set_cas(&self, cas: Cas) {
        self.known().cas = Some(cas);
    }

    /// Remember where ranges come from; newer addresses take the place of those for the same bytes.
    pub(crate) fn learn(&self, fetches: &HashMap<Hash, Vec<Fetch>>) {
        let mut known = self.known();
        known.plans += 1;
        for (xorb, new) in fetches {
            let ranges = known.fetches.entry(*xorb).or_default();
            for fetch in new {
                match ranges.iter_mut().find(|before| before.bytes == fetch.bytes) {
                    Some(before) => *before = fetch.clone(),
                    None => ranges.push(fetch.clone()),
                }
            }
        }
    }

    pub(crate) fn plans(&self) -> u64 {
        self.known().plans
    }

    /// Return the fetch that holds `at` and reaches furthest towards `end`, the newest of equals.
    pub(crate) fn fetch_at(&self, xorb: &Hash, at: u64, end: u64) -> Option<Fetch> {
        let known = self.known();
        let covers = known
            .fetches
            .get(xorb)?
            .iter()
            .filter(|fetch| fetch.bytes.contains(&at));
        covers.max_by_key(|fetch| fetch.bytes.end.min(end)).cloned()
    }

    /// Return the fetch that holds all chunks of a term.
    pub(crate) fn fetch_of(&self, term: &PlannedTerm) -> Option<Fetch> {
        let known = self.known();
        let mut fetches = known.fetches.get(&term.xorb)?.iter();
        let holds = |fetch: &&Fetch| fetch.chunks.start <= term.start && term.end <= fetch.chunks.end;
        fetches.find(holds).cloned()
    }

    pub(crate) fn complete_terms(&self) -> usize {
        self.known().complete_terms
    }

    pub(crate) fn set_complete_terms(&self, count: usize) {
        self.known().complete_terms = count;
    }

    /// Refuse a reader who saw wrong bytes, or comes with a plan of the time when they were shown.
    pub(crate) fn admit(&self, reader: &Reader, generation: u64) -> Result<()> {
        let known = self.known();
        if known.refuses(reader) || known.wrong.contains(&generation) {
            return Err(Error::changed(&self.hash));
        }
        if generation != known.generation {
            return Err(Error::PlanLost { file: self.hash });
        }
        Ok(())
    }

    /// Refuse a reader who saw wrong bytes and wants what follows them.
    pub(crate) fn admit_to_rest(&self, reader: &Reader) -> Result<()> {
        if self.known().refuses(reader) {
            return Err(Error::changed(&self.hash));
        }
        Ok(())
    }

    /// Note that `reader` is about to get unproven bytes, read while `generation` was current.
    pub(crate) fn note_shown(&self, reader: &Reader, generation: u64) -> Result<()> {
        let mut known = self.known();
        if generation != known.generation {
            return Err(Error::changed(&self.hash));
        }
        if !known.shown.contains(reader) && known.shown.len() < MAX_SESSIONS {
            known.shown.insert(reader.clone());
        }
        Ok(())
    }

    /// Whether anybody has unproven bytes of it.
    pub(crate) fn is_shown(&self) -> bool {
        !self.known().shown.is_empty()
    }

    /// Begin a new generation: what was shown is, or may be, wrong.
    pub(crate) fn invalidate(&self) {
        let mut known = self.known();
        known.complete_terms = 0;
        if known.shown.is_empty() {
            return;
        }
        let before = known.generation;
        known.wrong.insert(before);
        known.generation = self.generations.fetch_add(1, Ordering::Relaxed);
        known.suspect = true;
        let shown = std::mem::take(&mut known.shown);
        if shown.contains(&None) {
            known.nameless_until = Some(Instant::now() + NAMELESS_REFUSED_FOR);
        }
        let named = shown.into_iter().filter(Option::is_some);
        known.refused.extend(named);
    }

    fn is_troubled(&self) -> bool {
        !self.known().wrong.is_empty()
    }

    pub(crate) fn uses(&self, xorb: &Hash) -> bool {
        self.plan()
            .is_some_and(|plan| plan.terms.iter().any(|term| term.xorb == *xorb))
    }
}

impl Known {
    fn refuses(&self, reader: &Reader) -> bool {
        let is_late = || self.nameless_until.is_some_and(|until| Instant::now() < until);
        self.refused.contains(reader) || (reader.is_none() && is_late())
    }
}

/// All files in use, and some that were lately.
#[derive(Debug)]
pub(crate) struct Files {
    generations: Arc<AtomicU64>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    files: HashMap<Hash, Weak<FileState>>,
    recent: VecDeque<Arc<FileState>>,
    troubled: VecDeque<Arc<FileState>>,
}

impl Files {
    /// `first_generation` differs from one run of the process to the next, so that plans of an earlier
    /// run, whose readers nobody remembers, are not taken for plans of this one.
    pub(crate) fn new(first_generation: u64) -> Self {
        Self {
            generations: Arc::new(AtomicU64::new(first_generation)),
            table: Mutex::default(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Return a file's state, the same for all.
    pub(crate) fn get(&self, file: &Hash) -> Arc<FileState> {
        let mut table = self.table();
        let state = table.files.get(file).and_then(Weak::upgrade).unwrap_or_else(|| {
            let made = Arc::new(FileState::new(*file, Arc::clone(&self.generations)));
            table.files.insert(*file, Arc::downgrade(&made));
            made
        });
        if table.recent.back().is_none_or(|last| last.hash != *file) {
            table.recent.retain(|recent| recent.hash != *file);
            table.recent.push_back(Arc::clone(&state));
        }
        if table.recent.len() > RECENT_FILES {
            let oldest = table.recent.pop_front().filter(|oldest| oldest.is_troubled());
            table.troubled.extend(oldest);
            if table.troubled.len() > TROUBLED_FILES {
                table.troubled.pop_front();
            }
            table.files.retain(|_, state| state.strong_count() > 0);
        }
        state
    }

    /// Return a file's state if there is one.
    pub(crate) fn find(&self, file: &Hash) -> Option<Arc<FileState>> {
        self.table().files.get(file).and_then(Weak::upgrade)
    }

    /// Return the files in use that have terms in `xorb`.
    pub(crate) fn using(&self, xorb: &Hash) -> Vec<Arc<FileState>> {
        let all: Vec<Arc<FileState>> = self.table().files.values().filter_map(Weak::upgrade).collect();
        all.into_iter().filter(|file| file.uses(xorb)).collect()
    }
}

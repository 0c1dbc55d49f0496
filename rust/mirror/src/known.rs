//! What is known of one file at one moment: the part of its state that changes, behind its lock.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use xetway_cache::FilePlan;

use crate::digests::Digests;
use crate::error::Error;
use crate::ledger::{NAMELESS, PLAIN, Remembered, Viewer, now_s};
use crate::plan::{Claim, Parts};

/// See [`crate::files::FileState`].
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) generation: u64,
    pub(crate) plan: Option<Arc<FilePlan>>,
    /// The plan before this one, found wrong: the one on disk must not be used.
    pub(crate) former: Option<Arc<FilePlan>>,
    pub(crate) answers: VecDeque<(Range<u64>, Parts)>,
    /// What the upstream said of positions inside terms, to be checked with the file.
    pub(crate) claims: HashSet<Claim>,
    /// Terms before this one have all their chunks known.
    pub(crate) complete_terms: usize,
    /// Who saw unproven bytes of this generation.
    pub(crate) viewers: HashSet<Viewer>,
    /// The unproven chunks they saw.
    pub(crate) shown: Digests,
    /// Who saw bytes that turned out wrong, and when that was found.
    pub(crate) poisoned: HashMap<Viewer, u64>,
    /// Proven bytes were shown.
    pub(crate) was_read: bool,
    /// Found wrong once: not shown again before it is proven.
    pub(crate) suspect: bool,
    pub(crate) given_up: Option<(Instant, Error)>,
}

impl Known {
    /// Begin with what is remembered of earlier.
    pub(crate) fn new(remembered: Remembered) -> Self {
        Self {
            generation: remembered.generation,
            plan: None,
            former: None,
            answers: VecDeque::new(),
            claims: HashSet::new(),
            complete_terms: 0,
            viewers: remembered.shown.into_keys().collect(),
            shown: Digests::new(),
            poisoned: remembered.poisoned,
            was_read: false,
            suspect: false,
            given_up: None,
        }
    }

    pub(crate) fn is_proven(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.proven)
    }

    pub(crate) fn refuses(&self, viewer: Viewer) -> bool {
        viewer != PLAIN && viewer != NAMELESS && self.poisoned.contains_key(&viewer)
    }

    pub(crate) fn begin_anew(&mut self) {
        self.generation += 1;
        let found_s = now_s();
        let viewers = std::mem::take(&mut self.viewers);
        self.poisoned
            .extend(viewers.into_iter().map(|viewer| (viewer, found_s)));
        self.shown.clear();
        self.answers.clear();
        self.claims.clear();
        self.complete_terms = 0;
    }

    pub(crate) fn shows_other_than(&self, digests: &Digests) -> bool {
        self.shown.iter().any(|(xorb, shown)| {
            let there = digests.get(xorb).map(Vec::as_slice).unwrap_or_default();
            // Chunks that are not of the file were shown for the range's sake: they do not matter.
            let mut both = shown
                .iter()
                .zip(there)
                .filter(|(shown, there)| **shown != 0 && **there != 0);
            both.any(|(shown, there)| shown != there)
        })
    }
}

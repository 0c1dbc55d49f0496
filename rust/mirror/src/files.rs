//! What the mirror knows in memory of one file: its plan, and what was shown of it to whom.
//!
//! Bytes that nobody has proven may be shown, but not forgotten: a file remembers which chunks with
//! which hash, and who saw any. When its content turns out to be wrong, or other than what was shown,
//! a new generation begins and everyone who saw unproven bytes is refused from then on, because what
//! follows would be added to wrong bytes. Who that is outlives the process (`ledger`).

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use xetway_cache::{ChunkInfo, FilePlan};
use xetway_core::Hash;

use crate::addresses::Addresses;
use crate::digests::{Digests, digest_of, remember};
use crate::error::{Error, Result};
use crate::known::Known;
use crate::ledger::{Ledger, PLAIN, Viewer, now_s};
use crate::plan::{Claim, Parts};
use crate::proof::Settled;
use crate::reader::Show;

/// Answers for ranges that are remembered per file.
const MAX_ANSWERS: usize = 64;
/// How long those without a session may not go on after they were shown wrong bytes.
const PLAIN_REFUSED_S: u64 = 3_600;
/// How long an upstream that stays wrong is not asked again.
const GIVEN_UP_FOR: Duration = Duration::from_secs(10);

/// One file.
#[derive(Debug)]
pub(crate) struct FileState {
    pub(crate) hash: Hash,
    /// Where its ranges come from.
    pub(crate) addresses: Addresses,
    ledger: Ledger,
    known: Mutex<Known>,
    /// Held while the upstream is asked for a plan: one asks, the others wait.
    pub(crate) planning: tokio::sync::Mutex<()>,
    /// Held while the file is checked as a whole.
    pub(crate) proving: tokio::sync::Mutex<()>,
    /// Held while all of it is brought to the cache.
    pub(crate) holding: tokio::sync::Mutex<()>,
}

impl FileState {
    pub(crate) fn new(hash: Hash, ledger: Ledger) -> Self {
        let remembered = ledger.file(&hash);
        Self {
            hash,
            addresses: Addresses::default(),
            ledger,
            known: Mutex::new(Known::new(remembered)),
            planning: tokio::sync::Mutex::default(),
            proving: tokio::sync::Mutex::default(),
            holding: tokio::sync::Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.known().generation
    }

    /// Return the generation in which `plan` is the plan; `None` if it is not any more.
    pub(crate) fn generation_of(&self, plan: &Arc<FilePlan>) -> Option<u64> {
        let known = self.known();
        let now = known.plan.as_ref()?;
        Arc::ptr_eq(now, plan).then_some(known.generation)
    }

    pub(crate) fn plan(&self) -> Option<Arc<FilePlan>> {
        self.known().plan.clone()
    }

    pub(crate) fn is_proven(&self) -> bool {
        self.known().is_proven()
    }

    pub(crate) fn is_suspect(&self) -> bool {
        self.known().suspect
    }

    /// Whether unproven chunks of `xorb` were shown as part of it.
    pub(crate) fn has_shown(&self, xorb: &Hash) -> bool {
        self.known().shown.contains_key(xorb)
    }

    /// Whether this chunk was shown, unproven.
    pub(crate) fn has_shown_chunk(&self, xorb: &Hash, index: u32) -> bool {
        let known = self.known();
        let slot = known.shown.get(xorb).and_then(|slots| slots.get(index as usize));
        slot.is_some_and(|digest| *digest != 0)
    }

    /// Whether the plan on disk must not be used.
    pub(crate) fn must_ask(&self) -> bool {
        self.known().former.is_some()
    }

    /// Take over a plan. Blocking.
    ///
    /// One with other terms is another layout of the same content. Its proof would not be one of what
    /// was shown and planned before: a new generation begins.
    pub(crate) fn adopt(&self, plan: FilePlan) -> Result<()> {
        let generation = {
            let mut known = self.known();
            let before = known.plan.take().or(known.former.take());
            let same = before.as_ref().map(|before| before.terms == plan.terms);
            let was_proven = before.is_some_and(|before| before.proven);
            known.plan = Some(Arc::new(FilePlan {
                proven: plan.proven || (was_proven && same == Some(true)),
                ..plan
            }));
            if same != Some(false) {
                return Ok(());
            }
            known.suspect |= !known.viewers.is_empty();
            known.begin_anew();
            known.generation
        };
        self.ledger.changed(self.hash, generation)
    }

    pub(crate) fn answer(&self, range: &Range<u64>) -> Option<Parts> {
        let known = self.known();
        let mut answers = known.answers.iter();
        answers.find(|(of, _)| of == range).map(|(_, parts)| parts.clone())
    }

    /// Remember an answer and what is to be checked of it; false if it was for another plan.
    pub(crate) fn set_answer(
        &self,
        plan: &Arc<FilePlan>,
        range: Range<u64>,
        parts: &Parts,
        claim: Option<Claim>,
    ) -> bool {
        let mut known = self.known();
        if !known.plan.as_ref().is_some_and(|now| Arc::ptr_eq(now, plan)) {
            return false;
        }
        known.claims.extend(claim);
        if known.answers.len() >= MAX_ANSWERS {
            known.answers.pop_front();
        }
        known.answers.push_back((range, parts.clone()));
        true
    }

    /// Remember a position told to a client that rests on chunks nobody has proven.
    pub(crate) fn claim(&self, claim: Claim) {
        let mut known = self.known();
        if !known.is_proven() {
            known.claims.insert(claim);
        }
    }

    pub(crate) fn claims(&self) -> HashSet<Claim> {
        self.known().claims.clone()
    }

    pub(crate) fn complete_terms(&self) -> usize {
        self.known().complete_terms
    }

    pub(crate) fn set_complete_terms(&self, count: usize) {
        self.known().complete_terms = count;
    }

    /// Refuse a viewer who saw wrong bytes, or comes with a plan of the time when they were shown.
    pub(crate) fn admit(&self, viewer: Viewer, generation: u64) -> Result<()> {
        let known = self.known();
        if known.refuses(viewer) || generation < known.generation {
            return Err(Error::changed(&self.hash));
        }
        if generation > known.generation {
            return Err(Error::PlanLost { file: self.hash });
        }
        Ok(())
    }

    /// Refuse those without a session who want what follows bytes that may have been wrong.
    pub(crate) fn admit_to_rest(&self) -> Result<()> {
        match self.known().poisoned.get(&PLAIN) {
            Some(found_s) if found_s + PLAIN_REFUSED_S > now_s() => Err(Error::changed(&self.hash)),
            _ => Ok(()),
        }
    }

    /// Decide whether `viewer`, admitted in `generation`, may see these chunks, and note it if they are not proven.
    ///
    /// `is_second` says that [`Show::Again`] was answered just before.
    pub(crate) fn show(
        &self,
        viewer: Viewer,
        generation: u64,
        xorb: &Hash,
        chunks: &[ChunkInfo],
        is_second: bool,
    ) -> Result<Show> {
        let mut known = self.known();
        if generation != known.generation || known.refuses(viewer) {
            return Err(Error::changed(&self.hash));
        }
        if known.is_proven() {
            if chunks.iter().all(|chunk| chunk.proven) {
                known.was_read = true;
                return Ok(Show::Proven);
            }
            if !is_second {
                return Ok(Show::Again);
            }
            return Ok(Show::Lost);
        }
        if known.suspect {
            return Ok(Show::Suspect);
        }
        let mut differs = false;
        for chunk in chunks {
            let before = remember(&mut known.shown, xorb, chunk);
            differs |= before.is_some_and(|before| before != digest_of(&chunk.hash));
        }
        let first = known.viewers.insert(viewer);
        Ok(if differs {
            Show::Differs
        } else {
            Show::Unproven { first }
        })
    }

    /// Write down that `viewer` is about to be shown unproven bytes. Blocking.
    ///
    /// Fails if a new generation began meanwhile: then nothing may be shown.
    pub(crate) fn write_down(&self, viewer: Viewer, generation: u64) -> Result<()> {
        self.ledger.shown(self.hash, viewer)?;
        if self.generation() != generation {
            return Err(Error::changed(&self.hash));
        }
        Ok(())
    }

    /// Begin a new generation: what was shown is, or may be, wrong. Blocking.
    pub(crate) fn change(&self) -> Result<()> {
        let generation = {
            let mut known = self.known();
            known.begin_anew();
            known.suspect = true;
            known.generation
        };
        self.ledger.changed(self.hash, generation)
    }

    /// Take note that chunks which were proven are not known any more: what comes in their place is not.
    ///
    /// Who was shown some when they were proven is not noted: if anybody was, nothing is shown before all
    /// is proven again. Blocking.
    pub(crate) fn lose(&self) -> Result<()> {
        let generation = {
            let mut known = self.known();
            let Some(plan) = known.plan.as_ref().filter(|plan| plan.proven) else {
                return Ok(());
            };
            let mut unproven = FilePlan::clone(plan);
            unproven.proven = false;
            known.plan = Some(Arc::new(unproven));
            known.suspect |= known.was_read;
            known.begin_anew();
            known.generation
        };
        self.ledger.changed(self.hash, generation)
    }

    /// Take note that its chunks were found wrong and are forgotten; returns whether that is to be told. Blocking.
    ///
    /// It is if anybody saw any, or was told wrong positions (`is_lie`).
    pub(crate) fn spoil(&self, is_lie: bool) -> Result<bool> {
        self.addresses.forget();
        let generation = {
            let mut known = self.known();
            known.former = known.plan.take();
            known.answers.clear();
            known.complete_terms = 0;
            known.suspect = true;
            if known.viewers.is_empty() && !is_lie {
                // Claims stay: plans that were given out rest on them.
                return Ok(false);
            }
            known.begin_anew();
            known.generation
        };
        self.ledger.changed(self.hash, generation)?;
        Ok(true)
    }

    /// Take note that chunks it may share were forgotten.
    pub(crate) fn look_again(&self) {
        self.known().complete_terms = 0;
    }

    /// Take note that `plan` was proven, with chunks of these digests and all of `claims`. Blocking.
    pub(crate) fn settle(&self, plan: &Arc<FilePlan>, digests: &Digests, claims: &HashSet<Claim>) -> Result<Settled> {
        let (settled, generation) = {
            let mut known = self.known();
            let is_same = known.plan.as_ref().is_some_and(|now| Arc::ptr_eq(now, plan));
            if !is_same || known.claims != *claims {
                return Ok(Settled::Stale);
            }
            let mut proven = FilePlan::clone(plan);
            proven.proven = true;
            known.plan = Some(Arc::new(proven));
            let settled = if known.shows_other_than(digests) {
                known.begin_anew();
                Settled::Changed
            } else {
                known.viewers.clear();
                known.shown.clear();
                Settled::Proven
            };
            known.suspect = false;
            known.given_up = None;
            (settled, known.generation)
        };
        match settled {
            Settled::Changed => self.ledger.changed(self.hash, generation)?,
            _ => self.ledger.settled(self.hash)?,
        }
        Ok(settled)
    }

    /// Return why the upstream was given up on, if that was lately.
    pub(crate) fn given_up(&self) -> Option<Error> {
        let known = self.known();
        let (since, error) = known.given_up.as_ref()?;
        (since.elapsed() < GIVEN_UP_FOR).then(|| error.clone())
    }

    pub(crate) fn give_up(&self, error: &Error) {
        self.known().given_up = Some((Instant::now(), error.clone()));
    }

    pub(crate) fn uses(&self, xorb: &Hash) -> bool {
        self.plan()
            .is_some_and(|plan| plan.terms.iter().any(|term| term.xorb == *xorb))
    }
}

//! The URLs of one plan, and how to get new ones when they expire.

use std::ops::Range;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLockReadGuard};

use futures_util::future::BoxFuture;
use xetway_core::Hash;

use crate::cas::Cas;
use crate::error::{Error, Result};
use crate::fetch::UrlSource;
use crate::reconstruction::{Fetch, Reconstruction};
use crate::secret::Secret;

/// Knows the URLs of the plan of one file; asks for the plan again once for all who need new ones.
pub(crate) struct PlanUrls {
    cas: Cas,
    file: Hash,
    range: Option<Range<u64>>,
    plan: RwLock<Reconstruction>,
    /// Outcome of the last renewal.
    renewal: tokio::sync::Mutex<Result<()>>,
    renewals: AtomicU64,
}

impl PlanUrls {
    /// Take over the URLs of `plan`, the answer for `range` of `file`; its terms are dropped.
    pub(crate) fn new(cas: Cas, file: Hash, range: Option<Range<u64>>, mut plan: Reconstruction) -> Self {
        plan.terms = Vec::new();
        Self {
            cas,
            file,
            range,
            plan: RwLock::new(plan),
            renewal: tokio::sync::Mutex::new(Ok(())),
            renewals: AtomicU64::new(0),
        }
    }

    fn plan(&self) -> RwLockReadGuard<'_, Reconstruction> {
        self.plan.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, xorb: &Hash, bytes: &Range<u64>) -> Result<Fetch> {
        let plan = self.plan();
        let mut fetches = plan.fetches.get(xorb).into_iter().flatten();
        let covers = |fetch: &&Fetch| fetch.bytes.start <= bytes.start && bytes.end <= fetch.bytes.end;
        fetches.find(covers).cloned().ok_or_else(|| Error::Integrity {
            what: "plan of a file",
            expected: format!("bytes [{}, {}) of xorb {xorb}", bytes.start, bytes.end),
            actual: "no such range".to_owned(),
        })
    }

    async fn ask_again(&self) -> Result<()> {
        let plan = self.cas.reconstruct(&self.file, self.range.clone()).await?;
        let mut plan = plan.unwrap_or_default();
        plan.terms = Vec::new();
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = plan;
        Ok(())
    }
}

impl UrlSource for PlanUrls {
    fn url(&self, xorb: &Hash, bytes: &Range<u64>) -> BoxFuture<'_, Result<Fetch>> {
        let found = self.find(xorb, bytes);
        Box::pin(std::future::ready(found))
    }

    fn renew(&self, stale: &Secret, xorb: &Hash, bytes: &Range<u64>) -> BoxFuture<'_, Result<Fetch>> {
        let (stale, xorb, bytes) = (stale.clone(), *xorb, bytes.clone());
        Box::pin(async move {
            let seen = self.renewals.load(Ordering::Acquire);
            let mut outcome = self.renewal.lock().await;
            let is_newer = |fetch: Fetch| (fetch.url != stale).then_some(fetch);
            if let Some(fetch) = self.find(&xorb, &bytes).ok().and_then(is_newer) {
                return Ok(fetch);
            }
            if self.renewals.load(Ordering::Acquire) == seen {
                *outcome = self.ask_again().await;
                self.renewals.fetch_add(1, Ordering::Release);
            }
            outcome.clone()?;
            self.find(&xorb, &bytes)
        })
    }
}

//! Where the ranges of a file come from: addresses learnt from the upstream's plans, renewed when they expire.

use std::ops::Range;
use std::sync::Arc;

use xetway_cache::FilePlan;
use xetway_client::{BoxFuture, Error as ClientError, Fetch, Reconstruction, Secret, UrlSource};
use xetway_core::Hash;

use crate::error::{Error, Result};
use crate::files::FileState;
use crate::mirror::Shared;
use crate::stats::add;

/// The addresses of one file's ranges.
pub(crate) struct FileSource {
    shared: Arc<Shared>,
    file: Arc<FileState>,
}

impl FileSource {
    pub(crate) fn new(shared: Arc<Shared>, file: Arc<FileState>) -> Self {
        Self { shared, file }
    }

    fn find(&self, xorb: &Hash, bytes: &Range<u64>) -> Option<Fetch> {
        self.file
            .fetch_at(xorb, bytes.start, bytes.end)
            .filter(|fetch| fetch.bytes.end >= bytes.end)
    }

    /// Ask for the plan of the whole file.
    pub(crate) async fn refresh(&self) -> Result<()> {
        let seen = self.file.plans();
        self.ask_again(seen).await.map_err(Error::Client)
    }

    /// Ask for the plan of the whole file, unless someone else did since `seen` plans were known.
    async fn ask_again(&self, seen: u64) -> Result<(), ClientError> {
        let _asking = self.file.planning.lock().await;
        if self.file.plans() != seen {
            return Ok(());
        }
        add(&self.shared.counters.replans, 1);
        let asked = self.shared.ask_upstream(&self.file, None).await;
        asked.map(drop).map_err(into_client)
    }
}

impl UrlSource for FileSource {
    fn url(&self, xorb: &Hash, bytes: &Range<u64>) -> BoxFuture<'_, Result<Fetch, ClientError>> {
        let (xorb, bytes) = (*xorb, bytes.clone());
        Box::pin(async move {
            let seen = self.file.plans();
            if let Some(fetch) = self.find(&xorb, &bytes) {
                return Ok(fetch);
            }
            self.ask_again(seen).await?;
            self.find(&xorb, &bytes).ok_or_else(|| no_such_range(&xorb, &bytes))
        })
    }

    fn renew(&self, stale: &Secret, xorb: &Hash, bytes: &Range<u64>) -> BoxFuture<'_, Result<Fetch, ClientError>> {
        let (stale, xorb, bytes) = (stale.clone(), *xorb, bytes.clone());
        Box::pin(async move {
            let seen = self.file.plans();
            if let Some(fetch) = self.find(&xorb, &bytes).filter(|fetch| fetch.url != stale) {
                return Ok(fetch);
            }
            self.ask_again(seen).await?;
            self.find(&xorb, &bytes).ok_or_else(|| no_such_range(&xorb, &bytes))
        })
    }
}

fn no_such_range(xorb: &Hash, bytes: &Range<u64>) -> ClientError {
    ClientError::Integrity {
        what: "plan of a file",
        expected: format!("bytes [{}, {}) of xorb {xorb}", bytes.start, bytes.end),
        actual: "no such range".to_owned(),
    }
}

fn into_client(error: Error) -> ClientError {
    match error {
        Error::Client(error) => error,
        other => ClientError::Integrity {
            what: "plan of a file",
            expected: "an answer of the upstream".to_owned(),
            actual: other.to_string(),
        },
    }
}

impl Shared {
    /// Ask the upstream how to put a file, or a range of it, together, and learn from the answer.
    ///
    /// `None` if the range starts past the end. The plan of the whole file is kept.
    pub(crate) async fn ask_upstream(
        &self,
        file: &Arc<FileState>,
        range: Option<Range<u64>>,
    ) -> Result<Option<Reconstruction>> {
        let Some(cas) = file.cas() else {
            return Err(Error::PlanLost { file: file.hash });
        };
        add(&self.counters.plans, 1);
        let whole = range.is_none();
        let Some(answer) = cas.reconstruct(&file.hash, range).await? else {
            return Ok(None);
        };
        file.learn(&answer.fetches);
        if whole && file.plan().is_none_or(|plan| plan.terms != answer.terms) {
            let plan = FilePlan {
                size: answer.raw_bytes(),
                terms: answer.terms.clone(),
                proven: false,
            };
            self.keep_plan(file, plan).await?;
        }
        Ok(Some(answer))
    }
}

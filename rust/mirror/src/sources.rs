//! Where the ranges of a file come from: addresses learnt from the upstream's plans, renewed when they expire.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use xetway_cache::FilePlan;
use xetway_client::{
    BoxFuture, Cas, Credentials, Error as ClientError, Fetch, Http, Reconstruction, Secret, UrlSource,
};
use xetway_core::Hash;

use crate::error::{Error, Result};
use crate::files::FileState;
use crate::mirror::{Shared, blocking};
use crate::stats::add;

/// Credentials whose stores are remembered, with the tokens they have got.
const MAX_STORES: usize = 256;

/// Stores in use, by credentials. The same credentials share tokens, and what the store was found to know.
#[derive(Debug, Default)]
pub(crate) struct Stores(Mutex<VecDeque<(Credentials, Cas)>>);

impl Stores {
    /// Return the store that `credentials` open.
    pub(crate) fn get(&self, http: &Http, credentials: Credentials) -> Cas {
        let mut stores = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, cas)) = stores.iter().find(|(known, _)| is_same(known, &credentials)) {
            return cas.clone();
        }
        let cas = Cas::new(http.clone(), credentials.clone());
        if stores.len() >= MAX_STORES {
            stores.pop_front();
        }
        stores.push_back((credentials, cas.clone()));
        cas
    }
}

fn is_same(one: &Credentials, other: &Credentials) -> bool {
    match (one, other) {
        (
            Credentials::Fixed { cas_url, token },
            Credentials::Fixed {
                cas_url: other_url,
                token: other_token,
            },
        ) => cas_url == other_url && token == other_token,
        (
            Credentials::Refresh { url, headers },
            Credentials::Refresh {
                url: other_url,
                headers: other_headers,
            },
        ) => url == other_url && headers == other_headers,
        _ => false,
    }
}

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
            .addresses
            .fetch_at(xorb, bytes.start, bytes.end)
            .filter(|fetch| fetch.bytes.end >= bytes.end)
    }

    /// Return the address of `bytes`, other than `stale`, asking for the plan again if need be.
    async fn address(&self, stale: Option<&Secret>, xorb: &Hash, bytes: &Range<u64>) -> Result<Fetch, ClientError> {
        let seen = self.file.addresses.whole_plans();
        let found = self.find(xorb, bytes);
        if let Some(fetch) = found.filter(|fetch| Some(&fetch.url) != stale) {
            return Ok(fetch);
        }
        self.shared.ask_again(&self.file, seen).await.map_err(into_client)?;
        self.find(xorb, bytes).ok_or_else(|| no_such_range(xorb, bytes))
    }
}

impl UrlSource for FileSource {
    fn url(&self, xorb: &Hash, bytes: &Range<u64>) -> BoxFuture<'_, Result<Fetch, ClientError>> {
        let (xorb, bytes) = (*xorb, bytes.clone());
        Box::pin(async move { self.address(None, &xorb, &bytes).await })
    }

    fn renew(&self, stale: &Secret, xorb: &Hash, bytes: &Range<u64>) -> BoxFuture<'_, Result<Fetch, ClientError>> {
        let (stale, xorb, bytes) = (stale.clone(), *xorb, bytes.clone());
        Box::pin(async move { self.address(Some(&stale), &xorb, &bytes).await })
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
    /// Return where byte `at` of a xorb comes from; asks for the plan again if that is not known.
    pub(crate) async fn fetch_for(&self, file: &Arc<FileState>, xorb: &Hash, at: u64, end: u64) -> Result<Fetch> {
        let seen = file.addresses.whole_plans();
        if let Some(fetch) = file.addresses.fetch_at(xorb, at, end) {
            return Ok(fetch);
        }
        self.ask_again(file, seen).await?;
        file.addresses
            .fetch_at(xorb, at, end)
            .ok_or(Error::PlanLost { file: file.hash })
    }

    /// Ask for the plan of the whole file, unless someone else did since `seen` plans were known.
    pub(crate) async fn ask_again(&self, file: &Arc<FileState>, seen: u64) -> Result<()> {
        let _asking = file.planning.lock().await;
        if file.addresses.whole_plans() != seen {
            return Ok(());
        }
        add(&self.counters.replans, 1);
        self.ask_upstream(file, None).await.map(drop)
    }

    /// Ask the upstream how to put a file, or a range of it, together, and learn from the answer.
    ///
    /// `None` if the range starts past the end. The plan of the whole file is kept.
    pub(crate) async fn ask_upstream(
        &self,
        file: &Arc<FileState>,
        range: Option<Range<u64>>,
    ) -> Result<Option<Reconstruction>> {
        let Some(cas) = file.addresses.cas() else {
            return Err(Error::PlanLost { file: file.hash });
        };
        add(&self.counters.plans, 1);
        let is_whole = range.is_none();
        let Some(answer) = cas.reconstruct(&file.hash, range).await? else {
            return Ok(None);
        };
        if is_whole && file.plan().is_none_or(|plan| plan.terms != answer.terms) {
            let plan = FilePlan {
                size: answer.raw_bytes(),
                terms: answer.terms.clone(),
                proven: false,
            };
            let (cache, adopting) = (self.cache.clone(), Arc::clone(file));
            blocking(move || {
                match cache.put_plan(&adopting.hash, &plan) {
                    Ok(()) | Err(xetway_cache::Error::Full { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
                adopting.adopt(plan)
            })
            .await??;
        }
        file.addresses.learn(&answer.fetches, is_whole);
        Ok(Some(answer))
    }
}

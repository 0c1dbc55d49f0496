//! The mirror itself: what others call.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, RwLock};

use xetway_cache::{Cache, Limits, Lock, PlainKey};
use xetway_client::{Credentials, Error as ClientError, Http, Secret};
use xetway_core::Hash;
use xetway_core::plan::{PlannedTerm, XorbFetch};

use crate::content::ContentReader;
use crate::error::{Error, Result};
use crate::files::FileState;
use crate::flights::Xorbs;
use crate::ledger::{Ledger, PLAIN, viewer_of};
use crate::plain::Plains;
use crate::prefetch::{held_bytes, hold_file, prove_file, settle_small};
use crate::reader::{Reading, XorbReader};
use crate::registry::Files;
use crate::sources::Stores;
use crate::stats::{Counters, MirrorStats};
use crate::stream::Stream;

/// A range, or a file, up to this long is proven before any of it is shown, if it can be.
const SMALL_BYTES: u64 = 8 << 20;

/// How to put a byte range of a file together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planned {
    /// Size of the whole file.
    pub size: u64,
    /// Names this state of the file: it changes when bytes that were shown turn out wrong.
    pub generation: u64,
    /// Raw bytes of the first term that come before the range.
    pub offset_into_first: u64,
    /// Terms in file order.
    pub terms: Vec<PlannedTerm>,
    /// What to fetch, xorbs in the order they are first used; each term lies in one range.
    pub fetches: Vec<XorbFetch>,
}

/// Where a plain file can be fetched.
#[derive(Clone, Debug)]
pub struct PlainSource {
    /// Absolute URL.
    pub url: Secret,
    /// Headers; sent to the origin of the URL only.
    pub headers: Vec<(String, Secret)>,
}

/// What is known about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Size in bytes.
    pub size: u64,
    /// Content bytes that are on disk.
    pub held_bytes: u64,
    /// Whether the file is proven.
    pub proven: bool,
}

/// What is held of a plain file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownPlain {
    /// Bytes on disk, from the start.
    pub held_bytes: u64,
    /// Whether it is whole and proven.
    pub proven: bool,
}

/// A mirror. Clones are the same mirror.
#[derive(Clone, Debug)]
pub struct Mirror(Arc<Shared>);

/// What all transfers of a mirror share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) http: Http,
    pub(crate) cache: Cache,
    pub(crate) ledger: Ledger,
    pub(crate) files: Files,
    pub(crate) xorbs: Xorbs,
    pub(crate) plains: Plains,
    pub(crate) counters: Counters,
    pub(crate) stores: Stores,
    /// Read while hashes are looked at and proven, written while chunks are forgotten.
    pub(crate) judging: RwLock<()>,
    _lock: Lock,
}

impl Shared {
    fn file(&self, file: &Hash, credentials: Option<Credentials>) -> Arc<FileState> {
        let state = self.files.get(file);
        if let Some(credentials) = credentials {
            state.addresses.set_cas(self.stores.get(&self.http, credentials));
        }
        state
    }
}

/// Run something that waits for the disk on a thread that may.
pub(crate) async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Client(ClientError::Cancelled))
}

fn check_inside(range: &Range<u64>, size: u64) -> Result<()> {
    if range.start <= range.end && range.end <= size {
        return Ok(());
    }
    Err(Error::RangeOutside {
        start: range.start,
        end: range.end,
        size,
    })
}

impl Mirror {
    /// Open a mirror on the folder `root`, which no other may serve from meanwhile. Blocking.
    pub fn open(http: Http, root: &Path, limits: Limits) -> Result<Self> {
        let cache = Cache::open(root, limits)?;
        let lock = cache.lock()?;
        cache.clean_leftovers()?;
        let ledger = Ledger::open(root)?;
        Ok(Self(Arc::new(Shared {
            http,
            cache,
            files: Files::new(ledger.clone()),
            ledger,
            xorbs: Xorbs::default(),
            plains: Plains::default(),
            counters: Counters::default(),
            stores: Stores::default(),
            judging: RwLock::new(()),
            _lock: lock,
        })))
    }

    /// Plan the reconstruction of `range` of `file`, or of all of it; `None` if it starts past the end.
    ///
    /// Without credentials only what is held is used: [`Error::NotCached`]. A file that is said to have another
    /// `size` is not planned: [`Error::UpstreamIntegrity`].
    pub async fn plan(
        &self,
        file: Hash,
        size: Option<u64>,
        range: Option<Range<u64>>,
        credentials: Option<Credentials>,
    ) -> Result<Option<Planned>> {
        let may_ask = credentials.is_some();
        let state = self.0.file(&file, credentials);
        if let Some(size) = size {
            self.0.check_size(&state, size, may_ask).await?;
        }
        if file == Hash::ZERO {
            return Ok(Some(Planned::default()));
        }
        let planned = self.0.plan_range(&state, range, may_ask).await?;
        Ok(planned.map(|(planned, _)| planned))
    }

    /// Read stored bytes of a xorb, as a plan of `file` named them.
    ///
    /// `session` tells the transfers of one client from others.
    pub async fn open_xorb(
        &self,
        file: Hash,
        generation: u64,
        xorb: Hash,
        bytes: Range<u64>,
        session: Option<String>,
    ) -> Result<Stream> {
        let shared = &self.0;
        let state = shared.files.get(&file);
        let viewer = viewer_of(session.as_deref());
        state.admit(viewer, generation)?;
        // After a restart the plan is on disk.
        let plan = shared
            .file_plan(&state, state.addresses.cas().is_some())
            .await
            .map_err(|error| match error {
                Error::NotCached { .. } => Error::PlanLost { file },
                other => other,
            })?;
        if !plan.terms.iter().any(|term| term.xorb == xorb) {
            return Err(Error::PlanLost { file });
        }
        let entry = shared.xorbs.get(shared, &xorb).await?;
        let may_fetch = state.addresses.cas().is_some();
        if !may_fetch && !entry.is_held(&bytes) {
            return Err(Error::PlanLost { file });
        }
        let reading = Reading {
            shared: Arc::clone(shared),
            file: state,
            viewer,
            generation,
            may_fetch,
        };
        let is_proven = || reading.file.is_proven() && entry.is_range_proven(&bytes);
        if !is_proven() {
            if reading.file.is_suspect() {
                prove_file(shared, &reading.file, may_fetch).await?;
            } else if bytes.end - bytes.start <= SMALL_BYTES {
                settle_small(&reading, &entry, bytes.clone()).await?;
            }
        }
        let proven = is_proven();
        Ok(Stream::xorb(XorbReader::new(reading, entry, bytes), proven))
    }

    /// Read content bytes of a file of `size` bytes. Without credentials only what is held is read.
    pub async fn open_file(
        &self,
        file: Hash,
        size: u64,
        range: Range<u64>,
        credentials: Option<Credentials>,
    ) -> Result<Stream> {
        check_inside(&range, size)?;
        let shared = &self.0;
        let may_fetch = credentials.is_some();
        let state = shared.file(&file, credentials);
        shared.check_size(&state, size, may_fetch).await?;
        if range.start > 0 {
            state.admit_to_rest()?;
        }
        if !state.is_proven() && range.start < range.end {
            let is_small = range == (0..size) && size <= SMALL_BYTES;
            if is_small || state.is_suspect() {
                prove_file(shared, &state, may_fetch).await?;
            }
        }
        let planned = if range.start < range.end {
            shared.plan_range(&state, Some(range.clone()), may_fetch).await?
        } else {
            None
        };
        let (planned, are_proven) = planned.unwrap_or_default();
        let proven = are_proven && state.is_proven();
        let reading = Reading {
            shared: Arc::clone(shared),
            file: state,
            viewer: PLAIN,
            generation: planned.generation,
            may_fetch,
        };
        Ok(Stream::content(ContentReader::new(reading, planned, &range), proven))
    }

    /// Read bytes of a plain file; fetched from `source` if not held.
    pub async fn open_plain(
        &self,
        key: PlainKey,
        size: u64,
        range: Range<u64>,
        source: Option<PlainSource>,
    ) -> Result<Stream> {
        check_inside(&range, size)?;
        self.0.read_plain(key, size, range, source).await.map(Stream::plain)
    }

    /// Hold all of a file of `size` bytes, proven. `progress` is given content bytes held and bytes in all.
    pub async fn prefetch(
        &self,
        file: Hash,
        size: u64,
        credentials: Option<Credentials>,
        progress: impl Fn(u64, u64) + Send + Sync,
    ) -> Result<()> {
        let may_fetch = credentials.is_some();
        let state = self.0.file(&file, credentials);
        self.0.check_size(&state, size, may_fetch).await?;
        if file == Hash::ZERO {
            return Ok(());
        }
        hold_file(&self.0, &state, may_fetch, &progress).await
    }

    /// Hold all of a plain file, proven. `progress` is given bytes held and bytes in all.
    pub async fn prefetch_plain(
        &self,
        key: PlainKey,
        size: u64,
        source: Option<PlainSource>,
        progress: impl Fn(u64, u64) + Send + Sync,
    ) -> Result<()> {
        self.0.hold_plain(key, size, source, &progress).await
    }

    /// Return what is known about a file. Blocking.
    pub fn known(&self, file: &Hash) -> Result<Option<Known>> {
        let known = self.0.files.find(file).and_then(|state| state.plan());
        let plan = match known {
            Some(plan) => Some(plan),
            None => self.0.cache.plan(file)?.map(Arc::new),
        };
        let Some(plan) = plan else { return Ok(None) };
        Ok(Some(Known {
            size: plan.size,
            held_bytes: held_bytes(&self.0, &plan.terms)?,
            proven: plan.proven,
        }))
    }

    /// Return what is held of a plain file. Blocking.
    pub fn known_plain(&self, key: &PlainKey, size: u64) -> Result<KnownPlain> {
        let file = self.0.cache.plain(key, size)?;
        Ok(KnownPlain {
            held_bytes: file.len(),
            proven: file.is_proven(),
        })
    }

    /// Return the counters.
    pub fn stats(&self) -> MirrorStats {
        self.0.counters.snapshot()
    }

    /// Return the cache.
    pub fn cache(&self) -> &Cache {
        &self.0.cache
    }
}

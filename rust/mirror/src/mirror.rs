//! The mirror itself: what others call.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use xetway_cache::{Cache, Limits, Lock, PlainKey};
use xetway_client::{Cas, Credentials, Error as ClientError, Fetch, Http, Secret};
use xetway_core::Hash;
use xetway_core::plan::{PlannedTerm, XorbFetch};

use crate::content::ContentReader;
use crate::error::{Error, Result};
use crate::files::{FileState, Files};
use crate::flights::Xorbs;
use crate::plain::Plains;
use crate::prefetch::{held_bytes, hold_file};
use crate::reader::XorbReader;
use crate::sources::FileSource;
use crate::stats::{Counters, MirrorStats};
use crate::stream::Stream;

/// Longest piece that a reader is given.
pub(crate) const PIECE_BYTES: usize = 256 << 10;
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
    pub(crate) files: Files,
    pub(crate) xorbs: Xorbs,
    pub(crate) plains: Plains,
    pub(crate) counters: Counters,
    _lock: Lock,
}

impl Shared {
    /// Return where byte `at` of a xorb comes from; asks for the plan again if that is not known.
    pub(crate) async fn fetch_for(
        self: &Arc<Self>,
        file: &Arc<FileState>,
        xorb: &Hash,
        at: u64,
        end: u64,
    ) -> Result<Fetch> {
        if let Some(fetch) = file.fetch_at(xorb, at, end) {
            return Ok(fetch);
        }
        if file.cas().is_none() {
            return Err(Error::NotCached {
                what: format!("a range of file {}", file.hash),
            });
        }
        let source = FileSource::new(Arc::clone(self), Arc::clone(file));
        source.refresh().await?;
        file.fetch_at(xorb, at, end).ok_or(Error::PlanLost { file: file.hash })
    }

    fn file(&self, file: &Hash, credentials: Option<Credentials>) -> Arc<FileState> {
        let state = self.files.get(file);
        if let Some(credentials) = credentials {
            state.set_cas(Cas::new(self.http.clone(), credentials));
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

impl Mirror {
    /// Open a mirror on the folder `root`, which no other may serve from meanwhile. Blocking.
    pub fn open(http: Http, root: &Path, limits: Limits) -> Result<Self> {
        let cache = Cache::open(root, limits)?;
        let lock = cache.lock()?;
        cache.clean_leftovers()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Microseconds: more than any run before can have counted up to.
        let first_generation = u64::try_from(now.as_micros()).unwrap_or_default();
        Ok(Self(Arc::new(Shared {
            http,
            cache,
            files: Files::new(first_generation),
            xorbs: Xorbs::default(),
            plains: Plains::default(),
            counters: Counters::default(),
            _lock: lock,
        })))
    }

    /// Plan the reconstruction of `range` of `file`, or of all of it; `None` if it starts past the end.
    ///
    /// Without credentials only what is held is used: [`Error::NotCached`].
    pub async fn plan(
        &self,
        file: Hash,
        range: Option<Range<u64>>,
        credentials: Option<Credentials>,
    ) -> Result<Option<Planned>> {
        let state = self.0.file(&file, credentials);
        self.0.plan_range(&state, range).await
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
        let state = self.0.files.find(&file).ok_or(Error::PlanLost { file })?;
        state.admit(&session, generation)?;
        let entry = self.0.xorbs.get(&self.0, &xorb).await?;
        let proven = state.is_proven() || Shared::is_range_proven(&entry, &bytes);
        if !proven {
            if state.is_suspect() {
                hold_file(&self.0, &state, &|_, _| ()).await?;
            } else if bytes.end - bytes.start <= SMALL_BYTES {
                self.0.settle_small(&entry, &state, bytes.clone()).await?;
            }
        }
        let reader = XorbReader::new(Arc::clone(&self.0), entry, state, session, generation, bytes);
        Ok(Stream::xorb(reader, proven))
    }

    /// Read content bytes of a file. Without credentials only what is held is read.
    pub async fn open_file(&self, file: Hash, range: Range<u64>, credentials: Option<Credentials>) -> Result<Stream> {
        let state = self.0.file(&file, credentials);
        let plan = self.0.file_plan(&state).await?;
        if range.start > range.end || range.end > plan.size {
            return Err(Error::RangeOutside {
                start: range.start,
                end: range.end,
                size: plan.size,
            });
        }
        if range.start > 0 {
            state.admit_to_rest(&None)?;
        }
        if !plan.proven && range.start < range.end {
            let is_small = range == (0..plan.size) && plan.size <= SMALL_BYTES;
            if is_small || state.is_suspect() {
                hold_file(&self.0, &state, &|_, _| ()).await?;
            }
        }
        let proven = state.is_proven();
        let planned = self
            .0
            .plan_range(&state, Some(range.clone()))
            .await?
            .unwrap_or_default();
        let reader = ContentReader::new(Arc::clone(&self.0), state, planned, &range);
        Ok(Stream::content(reader, proven))
    }

    /// Read bytes of a plain file; fetched from `source` if not held.
    pub async fn open_plain(
        &self,
        key: PlainKey,
        size: u64,
        range: Range<u64>,
        source: Option<PlainSource>,
    ) -> Result<Stream> {
        if range.start > range.end || range.end > size {
            return Err(Error::RangeOutside {
                start: range.start,
                end: range.end,
                size,
            });
        }
        self.0.read_plain(key, size, range, source).await.map(Stream::plain)
    }

    /// Hold all of a file, proven. `progress` is given content bytes held and bytes in all.
    pub async fn prefetch(
        &self,
        file: Hash,
        credentials: Option<Credentials>,
        progress: impl Fn(u64, u64) + Send + Sync,
    ) -> Result<()> {
        let state = self.0.file(&file, credentials);
        hold_file(&self.0, &state, &progress).await
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

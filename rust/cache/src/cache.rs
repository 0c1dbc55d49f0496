//! The cache as a whole: opening, its lock, and one object for each xorb and plain file in use.

use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use xetway_core::Hash;

use crate::damage::Damage;
use crate::disk::{self, Disk};
use crate::error::{Error, Result};
use crate::evict::Evictor;
use crate::kinds::{Entry, FilePlan, Holding, Limits, PlainKey, Pruned, Usage, Verdict, VerifyReport};
use crate::layout::{Layout, Name};
use crate::plain::{self, PlainFile};
use crate::plan;
use crate::registry::Registry;
use crate::usage::Counters;
use crate::xorb::CachedXorb;

/// A folder of cached content. Clones are the same cache.
#[derive(Clone, Debug)]
pub struct Cache {
    inner: Arc<Inner>,
}

/// What all users of a cache share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) layout: Layout,
    pub(crate) limits: Limits,
    pub(crate) disk: Disk,
    pub(crate) xorbs: Registry<Hash, CachedXorb>,
    pub(crate) plain_files: Registry<PlainKey, PlainFile>,
    pub(crate) usage: Counters,
    pub(crate) damage: Damage,
    pub(crate) evictor: Mutex<Evictor>,
    /// Whether this process holds the lock of the folder.
    pub(crate) locked: AtomicBool,
}

/// The right to write to a cache folder; gone when dropped, or with the process.
#[derive(Debug)]
pub struct Lock {
    inner: Arc<Inner>,
    _file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.inner.locked.store(false, Ordering::Release);
    }
}

impl Cache {
    /// Open a cache folder, making what is missing.
    ///
    /// Ready at once: what is there is counted by a thread in the background.
    pub fn open(root: &Path, limits: Limits) -> Result<Self> {
        let inner = Arc::new(Inner {
            layout: Layout::make(root)?,
            limits,
            disk: Disk::default(),
            xorbs: Registry::new(),
            plain_files: Registry::new(),
            usage: Counters::default(),
            damage: Damage::default(),
            evictor: Mutex::default(),
            locked: AtomicBool::new(false),
        });
        let counting = Arc::clone(&inner);
        // Whoever needs the count and finds none makes it: the thread, and its errors, may be missed.
        let _ = thread::Builder::new()
            .name("xetway-cache-count".to_owned())
            .spawn(move || counting.count_if_needed());
        Ok(Self { inner })
    }

    /// Take the lock of the folder: whoever stores content must hold it. [`Error::InUse`] if another does.
    pub fn lock(&self) -> Result<Lock> {
        self.inner.lock()
    }

    /// Return the limits the cache was opened with.
    pub fn limits(&self) -> Limits {
        self.inner.limits
    }

    /// Return a xorb, known or not: the same object for all users while anyone has it.
    ///
    /// While it lives it is not evicted. Reads its sidecar files if it was not in use.
    pub fn xorb(&self, xorb: &Hash) -> Result<Arc<CachedXorb>> {
        self.inner.xorb(xorb)
    }

    /// Return a plain file, there or not: the same object for all users while anyone has it.
    ///
    /// While it lives it is not evicted. A proven file of another size is an [`Error::Integrity`], one
    /// in use with another size an [`Error::Conflict`].
    pub fn plain(&self, key: &PlainKey, size: u64) -> Result<Arc<PlainFile>> {
        self.inner.plain(key, size)
    }

    /// Return the plan of a file, if there is one.
    pub fn plan(&self, file: &Hash) -> Result<Option<FilePlan>> {
        let path = self.inner.layout.plan(file);
        let found = plan::read(&path, file)?;
        if found.is_some() {
            plan::touch(&path);
        }
        Ok(found)
    }

    /// Keep the plan of a file, replacing the one before at once.
    pub fn put_plan(&self, file: &Hash, plan: &FilePlan) -> Result<()> {
        self.inner.with_room(0, || plan::write(&self.inner, file, plan))
    }

    /// Evict what was not used for longest, and is not in use, until `bytes` fit under the limits.
    ///
    /// If that can't be reached, evicts nothing: [`Error::Full`]. Reserves nothing. Waits for the first
    /// count of what is there if the limits need it.
    pub fn make_room(&self, bytes: u64) -> Result<()> {
        self.inner.make_room(bytes)
    }

    /// Return how much is there, without waiting for the first count.
    pub fn usage(&self) -> Usage {
        let counted = self.inner.usage.get();
        Usage {
            bytes: counted.bytes,
            max_bytes: self.inner.limits.max_bytes,
            free_disk_bytes: disk::free_bytes(&self.inner.layout.root),
            xorbs: counted.xorbs,
            plain_files: counted.plain_files,
            complete: self.inner.usage.is_complete(),
        }
    }

    /// Return how often reading found content damaged, and dropped it, since the cache was opened.
    pub fn damage_count(&self) -> u64 {
        self.inner.damage.count()
    }

    /// Return what was found damaged since this was last asked: its name and place, up to a bound.
    pub fn take_damage(&self) -> Vec<String> {
        self.inner.damage.take()
    }

    /// Return how much is there, counting first if that has not been done.
    pub fn counted_usage(&self) -> Result<Usage> {
        self.inner.count_if_needed()?;
        Ok(self.usage())
    }

    /// List what takes room, least recently used first. Reads every chunk table.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        crate::verify::entries(&self.inner)
    }

    /// Say how much of a file is held, and in which xorbs, if its plan is known. Counts as no use of it.
    pub fn holding(&self, file: &Hash) -> Result<Option<Holding>> {
        crate::verify::holding(&self.inner, file)
    }

    /// Check everything that is held against its hashes; what is damaged is removed.
    ///
    /// Calls `on` with the verdict on each entry. Safe beside a server in another process: then the
    /// whole entry is removed, else the damaged chunks alone.
    pub fn verify(&self, on: impl FnMut(&Verdict)) -> Result<VerifyReport> {
        crate::verify::verify(&self.inner, on)
    }

    /// Delete what was not used for longest until no more than `max_bytes` are left.
    ///
    /// Then chunk tables and plans. What this process uses stays. Safe beside a server in another
    /// process, which fetches again what it misses.
    pub fn prune(&self, max_bytes: u64) -> Result<Pruned> {
        self.inner.prune(max_bytes)
    }

    /// Delete the entries of these names. What this process uses stays; safe as [`Self::prune`].
    pub fn remove(&self, names: &HashSet<String>) -> Result<Pruned> {
        self.inner.remove(names)
    }

    /// Delete what a killed process left behind; returns how many files. Nothing if another process serves.
    pub fn clean_leftovers(&self) -> Result<u64> {
        let _lock = if self.inner.is_locked() {
            None
        } else {
            match self.lock() {
                Ok(lock) => Some(lock),
                Err(Error::InUse) => return Ok(0),
                Err(error) => return Err(error),
            }
        };
        Ok(self.inner.layout.clean_temporary()? + self.inner.remove_orphans()?)
    }

    #[cfg(test)]
    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }
}

impl Inner {
    pub(crate) fn lock(self: &Arc<Self>) -> Result<Lock> {
        let file =
            disk::open_or_make(&self.layout.root.join("lock")).map_err(Error::io("open the lock of the cache"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock the cache")(error)),
        }
        self.locked.store(true, Ordering::Release);
        Ok(Lock {
            inner: Arc::clone(self),
            _file: file,
        })
    }

    /// Say whether this process holds the lock.
    pub(crate) fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Acquire)
    }

    pub(crate) fn xorb(self: &Arc<Self>, xorb: &Hash) -> Result<Arc<CachedXorb>> {
        let make = || CachedXorb::new(Arc::clone(self), *xorb);
        let cached = self.xorbs.get_or_make(*xorb, make);
        cached.load()?;
        Ok(cached)
    }

    pub(crate) fn plain(self: &Arc<Self>, key: &PlainKey, size: u64) -> Result<Arc<PlainFile>> {
        let make = || PlainFile::new(Arc::clone(self), *key, size);
        let file = self.plain_files.get_or_make(*key, make);
        file.load()?;
        if file.size() == size {
            return Ok(file);
        }
        if file.is_proven() {
            return Err(plain::wrong_size(key, file.size(), size));
        }
        Err(Error::Conflict {
            what: format!("the size of plain file {key}"),
            known: format!("{} bytes", file.size()),
            actual: format!("{size} bytes"),
        })
    }

    /// Say whether anyone in this process uses it.
    pub(crate) fn is_used(&self, name: &Name) -> bool {
        match name {
            Name::Xorb(xorb) => self.xorbs.is_used(xorb),
            Name::Plain(key) => self.plain_files.is_used(key),
        }
    }

    /// Do `action` unless anyone in this process uses it; nobody can begin to meanwhile.
    pub(crate) fn if_unused<R>(&self, name: &Name, action: impl FnOnce() -> R) -> Option<R> {
        match name {
            Name::Xorb(xorb) => self.xorbs.if_unused(xorb, action),
            Name::Plain(key) => self.plain_files.if_unused(key, action),
        }
    }
}

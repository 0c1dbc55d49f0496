//! Making room: what was not used for longest goes first, what is in use stays.
//!
//! The order is found by a look through the folders, which serves for a minute. Content goes before
//! what is known about it: a chunk table is small and spares a client's question to the other host.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::cache::Inner;
use crate::disk::{self, if_there};
use crate::error::{Error, Result};
use crate::kinds::Pruned;
use crate::layout::{DATA, HELD, Name};
use crate::scan::{Found, Known, KnownOf, Scan, path_of, scan};
use crate::verify::kind_and_name;

/// A look through the folders serves for this long.
const STALE: Duration = Duration::from_secs(60);
/// A look this quick may be had at any time; a slower one when something changed, or a tenth of the time.
const QUICK: Duration = Duration::from_millis(20);
/// Tables and plans that were not used for this long are dropped.
const KNOWN_UNUSED: Duration = Duration::from_secs(60 * 24 * 60 * 60);
/// Tables and plans together take no more than this part of the room,
const KNOWN_SHARE: u64 = 100;
/// but for those used so lately: a file on its way is proven at its end, by the tables of all that was sent of it.
const KNOWN_NEEDED: Duration = Duration::from_secs(6 * 60 * 60);
/// What is evicted at least when the disk is full in spite of what it says.
const FORCED_BYTES: u64 = 1 << 20;

/// What may be evicted, least recently used first.
#[derive(Debug, Default)]
pub(crate) struct Evictor {
    queue: Vec<Found>,
    scanned: Option<Instant>,
    took: Duration,
    /// What was there then.
    bytes: u64,
}

impl Evictor {
    fn is_stale(&self) -> bool {
        self.scanned.is_none_or(|scanned| scanned.elapsed() >= STALE)
    }

    /// Whether a new look may find something else, and does not take too much of the time.
    fn may_scan(&self, bytes: u64) -> bool {
        let is_due = self.scanned.is_none_or(|scanned| scanned.elapsed() >= self.took * 10);
        is_due || self.took < QUICK || self.bytes != bytes
    }
}

impl Inner {
    fn evictor(&self) -> MutexGuard<'_, Evictor> {
        self.evictor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Count what is there, unless that has been done.
    pub(crate) fn count_if_needed(&self) -> Result<()> {
        let mut evictor = self.evictor();
        if self.usage.is_complete() {
            return Ok(());
        }
        self.look(&mut evictor)
    }

    fn look(&self, evictor: &mut Evictor) -> Result<()> {
        let begun = Instant::now();
        let scan = self.counted_scan()?;
        if self.is_locked() {
            self.drop_stale(&scan)?;
        }
        evictor.queue = scan.found;
        evictor.scanned = Some(Instant::now());
        evictor.took = begun.elapsed();
        evictor.bytes = self.usage.get().bytes;
        Ok(())
    }

    fn counted_scan(&self) -> Result<Scan> {
        let scan = scan(&self.layout)?;
        self.usage.set(scan.counted);
        Ok(scan)
    }

    /// Bytes that must go before `bytes` fit.
    fn missing(&self, bytes: u64) -> u64 {
        let over = self.limits.max_bytes.map_or(0, |max_bytes| {
            self.usage.get().bytes.saturating_add(bytes).saturating_sub(max_bytes)
        });
        let short = bytes
            .saturating_add(self.limits.min_free_bytes)
            .saturating_sub(disk::free_bytes(&self.layout.root));
        over.max(short)
    }

    /// Evict until `bytes` fit, or nothing if they can't.
    pub(crate) fn make_room(&self, bytes: u64) -> Result<()> {
        if self.limits.max_bytes.is_some() {
            self.count_if_needed()?;
        }
        if self.missing(bytes) == 0 {
            return Ok(());
        }
        self.evict(bytes, 0)
    }

    /// Evict until `bytes` fit, and `at_least` bytes in any case.
    fn evict(&self, bytes: u64, at_least: u64) -> Result<()> {
        let mut evictor = self.evictor();
        let mut fresh = evictor.is_stale();
        if fresh {
            self.look(&mut evictor)?;
        }
        // Twice at most: with what an earlier look found, and with a new one.
        loop {
            let wanted = self.missing(bytes).max(at_least);
            if wanted == 0 {
                return Ok(());
            }
            let evictable_bytes = self.evict_from(&mut evictor, wanted);
            if evictable_bytes >= wanted {
                return Ok(());
            }
            if fresh || !evictor.may_scan(self.usage.get().bytes) {
                return Err(Error::Full {
                    wanted_bytes: bytes,
                    evictable_bytes,
                });
            }
            self.look(&mut evictor)?;
            fresh = true;
        }
    }

    /// Evict `wanted` bytes, or nothing if there are less; returns how many were, or could be, evicted.
    fn evict_from(&self, evictor: &mut Evictor, wanted: u64) -> u64 {
        let mut evictable_bytes = 0_u64;
        let mut end = 0;
        let mut spared = Vec::new();
        for found in &evictor.queue {
            if evictable_bytes >= wanted {
                break;
            }
            end += 1;
            if self.is_used(&found.name) {
                spared.push(found.clone());
            } else {
                evictable_bytes = evictable_bytes.saturating_add(found.bytes);
            }
        }
        if evictable_bytes < wanted {
            return evictable_bytes;
        }
        let taken: Vec<Found> = evictor.queue.splice(..end, spared).collect();
        taken
            .iter()
            .map(|found| self.evict_one(found).unwrap_or_default())
            .fold(0, u64::saturating_add)
    }

    /// Evict one xorb or plain file, unless it is in use or was used since it was found.
    ///
    /// Returns the bytes made free. What makes it known as held goes first; the content is moved away,
    /// so that nobody waits for its deletion.
    fn evict_one(&self, found: &Found) -> Result<u64> {
        let held = self.layout.named(&found.name, HELD);
        let data = self.layout.named(&found.name, DATA);
        let moved = self.if_unused(&found.name, || -> std::io::Result<Option<PathBuf>> {
            let modified = if_there(fs::metadata(&held).and_then(|metadata| metadata.modified()))?;
            if modified.is_some_and(|modified| modified > found.used) {
                return Ok(None);
            }
            disk::remove_if_there(&held)?;
            let trash = self.layout.temporary();
            if_there(fs::rename(&data, &trash))?;
            Ok(Some(trash))
        });
        let moved = moved.transpose().map_err(Error::io("evict a cached file"))?.flatten();
        let Some(trash) = moved else {
            return Ok(0);
        };
        self.usage.resized(found.bytes, 0);
        match found.name {
            _ if !found.has_held => {}
            Name::Xorb(_) => self.usage.xorbs(1, 0),
            Name::Plain(_) => self.usage.plain_files(1, 0),
        }
        disk::remove_if_there(&trash).map_err(Error::io("remove an evicted file"))?;
        Ok(found.bytes)
    }

    /// Run `store`, after making room for `bytes`; once more, with more room, if the disk is full.
    pub(crate) fn with_room<R>(&self, bytes: u64, mut store: impl FnMut() -> Result<R>) -> Result<R> {
        if bytes > 0 {
            self.make_room(bytes)?;
        }
        let outcome = store();
        if !matches!(&outcome, Err(error) if error.is_disk_full()) {
            return outcome;
        }
        self.evict(bytes, bytes.max(FORCED_BYTES))?;
        store().map_err(|error| {
            if error.is_disk_full() {
                Error::Full {
                    wanted_bytes: bytes,
                    evictable_bytes: 0,
                }
            } else {
                error
            }
        })
    }

    /// Drop tables and plans that nobody used for long or that take too much room.
    fn drop_stale(&self, scan: &Scan) -> Result<()> {
        let mut bytes: u64 = scan.known.iter().map(|known| known.bytes).sum();
        let max_bytes = self
            .limits
            .max_bytes
            .map_or(u64::MAX, |max_bytes| max_bytes / KNOWN_SHARE);
        let now = SystemTime::now();
        for known in &scan.known {
            let unused = now.duration_since(known.used).unwrap_or_default();
            if (bytes <= max_bytes || unused <= KNOWN_NEEDED) && unused <= KNOWN_UNUSED {
                break;
            }
            bytes = bytes.saturating_sub(self.drop_known(known)?);
        }
        Ok(())
    }

    /// Delete a plan, or a chunk table if nothing of its xorb is held or in use; returns the bytes made free.
    fn drop_known(&self, known: &Known) -> Result<u64> {
        let path = path_of(&self.layout, &known.of);
        let remove = || disk::remove_if_there(&path);
        let removed = match &known.of {
            KnownOf::File(_) => Some(remove()),
            KnownOf::Xorb(xorb) => self.if_unused(&Name::Xorb(*xorb), || {
                let held = self.layout.xorb(xorb, HELD).try_exists()?;
                if held { Ok(false) } else { remove() }
            }),
        };
        if !removed
            .unwrap_or(Ok(false))
            .map_err(Error::io("remove a table or plan"))?
        {
            return Ok(0);
        }
        self.usage.resized(known.bytes, 0);
        Ok(known.bytes)
    }

    /// Evict, then drop what is known, until no more than `max_bytes` are there.
    pub(crate) fn prune(&self, max_bytes: u64) -> Result<Pruned> {
        let mut evictor = self.evictor();
        *evictor = Evictor::default();
        let scan = self.counted_scan()?;
        let mut left = scan.counted.bytes;
        let mut pruned = Pruned::default();
        let mut went = |bytes: u64, left: &mut u64| {
            *left = left.saturating_sub(bytes);
            pruned.bytes += bytes;
            pruned.entries += u64::from(bytes > 0);
        };
        for found in &scan.found {
            if left <= max_bytes {
                break;
            }
            went(self.evict_one(found)?, &mut left);
        }
        for known in &scan.known {
            if left <= max_bytes {
                break;
            }
            went(self.drop_known(known)?, &mut left);
        }
        Ok(pruned)
    }

    /// Evict the entries of these names.
    pub(crate) fn remove(&self, names: &HashSet<String>) -> Result<Pruned> {
        let mut evictor = self.evictor();
        *evictor = Evictor::default();
        let mut pruned = Pruned::default();
        for found in self.counted_scan()?.found {
            if names.contains(&kind_and_name(&found.name).1) {
                let bytes = self.evict_one(&found)?;
                pruned.bytes += bytes;
                pruned.entries += u64::from(bytes > 0);
            }
        }
        Ok(pruned)
    }

    /// Delete content that nothing speaks of: an eviction was cut short. Returns how many files.
    pub(crate) fn remove_orphans(&self) -> Result<u64> {
        let scan = scan(&self.layout)?;
        let mut removed = 0;
        for found in scan.found.iter().filter(|found| !found.has_held) {
            self.evict_one(found)?;
            removed += 1;
        }
        Ok(removed)
    }
}

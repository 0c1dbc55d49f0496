//! The footers read last, so that serving a file's ranges does not read its xorbs' footers each time.
//!
//! With each goes a checksum of the stored bytes of every chunk that was decoded and hashed: the same
//! bytes need not be decoded again to know that they are right.
//!
//! An entry counts only for the very file it was read from: a xorb may be replaced by one with the
//! same chunks in another encoding, by this process or another.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use twox_hash::XxHash3_64;
use xetway_core::Hash;
use xetway_core::xorb::XorbMeta;

use crate::positioned::Stamp;

const MAX_ENTRIES: usize = 256;
/// Bounds the memory to about 28 MiB, whatever the sizes of the chunks.
const MAX_CHUNKS: usize = 512 * 1024;

/// A footer, and what was proven of its chunks in one file.
#[derive(Debug)]
pub(crate) struct Footer {
    pub(crate) meta: Arc<XorbMeta>,
    /// Of each chunk's stored bytes; 0 if they were not proven.
    checks: Box<[AtomicU64]>,
}

impl Footer {
    /// Begin with a footer that was verified, and chunks that were not.
    pub(crate) fn new(meta: XorbMeta) -> Self {
        Self {
            checks: (0..meta.len()).map(|_| AtomicU64::new(0)).collect(),
            meta: Arc::new(meta),
        }
    }

    /// Say whether these stored bytes were proven to be the chunk.
    pub(crate) fn was_proven(&self, index: u32, stored: &[u8]) -> bool {
        let check = self
            .checks
            .get(index as usize)
            .map(|check| check.load(Ordering::Relaxed));
        check.is_some_and(|check| check != 0 && check == XxHash3_64::oneshot(stored))
    }

    /// Note that these stored bytes are the chunk.
    pub(crate) fn note_proven(&self, index: u32, stored: &[u8]) {
        if let Some(check) = self.checks.get(index as usize) {
            check.store(XxHash3_64::oneshot(stored), Ordering::Relaxed);
        }
    }
}

#[derive(Debug)]
struct Entry {
    stamp: Stamp,
    footer: Arc<Footer>,
    used: u64,
}

#[derive(Debug, Default)]
struct Entries {
    by_xorb: HashMap<Hash, Entry>,
    chunks: usize,
    clock: u64,
}

impl Entries {
    fn remove(&mut self, xorb: &Hash) {
        if let Some(entry) = self.by_xorb.remove(xorb) {
            self.chunks -= entry.footer.meta.len();
        }
    }

    fn oldest(&self) -> Option<Hash> {
        self.by_xorb
            .iter()
            .min_by_key(|(_, entry)| entry.used)
            .map(|(xorb, _)| *xorb)
    }
}

/// A bounded cache of footers, shared by all readers of a store.
#[derive(Debug, Default)]
pub(crate) struct Footers(Mutex<Entries>);

impl Footers {
    /// Return the footer of `xorb` if it was read from the file that `stamp` is of.
    pub(crate) fn get(&self, xorb: &Hash, stamp: Stamp) -> Option<Arc<Footer>> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.clock += 1;
        let now = entries.clock;
        let entry = entries.by_xorb.get_mut(xorb).filter(|entry| entry.stamp == stamp)?;
        entry.used = now;
        Some(Arc::clone(&entry.footer))
    }

    /// Keep a footer that was verified, dropping those used longest ago.
    pub(crate) fn put(&self, xorb: Hash, stamp: Stamp, footer: Arc<Footer>) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.remove(&xorb);
        while entries.by_xorb.len() >= MAX_ENTRIES || entries.chunks + footer.meta.len() > MAX_CHUNKS {
            let Some(oldest) = entries.oldest() else { break };
            entries.remove(&oldest);
        }
        entries.clock += 1;
        entries.chunks += footer.meta.len();
        let used = entries.clock;
        entries.by_xorb.insert(xorb, Entry { stamp, footer, used });
    }

    /// Forget the footer of `xorb`.
    pub(crate) fn remove(&self, xorb: &Hash) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(xorb);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64, chunks: usize) -> (Hash, Arc<Footer>) {
        let mut raw = [0; 32];
        raw[..8].copy_from_slice(&number.to_le_bytes());
        let xorb = Hash::from_bytes(raw);
        let meta = XorbMeta::new(xorb, std::iter::repeat_n((Hash::ZERO, 1, 9), chunks)).unwrap();
        (xorb, Arc::new(Footer::new(meta)))
    }

    fn stamp() -> Stamp {
        Stamp::of(&std::fs::metadata(".").unwrap())
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let (footers, stamp) = (Footers::default(), stamp());
        for number in 0..MAX_ENTRIES as u64 {
            let (xorb, footer) = entry(number, 1);
            footers.put(xorb, stamp, footer);
        }
        let kept = entry(0, 1).0;
        assert!(footers.get(&kept, stamp).is_some());
        let (xorb, footer) = entry(9999, 1);
        footers.put(xorb, stamp, footer);
        assert!(footers.get(&kept, stamp).is_some());
        assert!(footers.get(&entry(1, 1).0, stamp).is_none());
        footers.remove(&kept);
        assert!(footers.get(&kept, stamp).is_none());
    }

    #[test]
    fn chunks_are_bounded_too() {
        let (footers, stamp) = (Footers::default(), stamp());
        for number in 0..200 {
            let (xorb, footer) = entry(number, 8192);
            footers.put(xorb, stamp, footer);
        }
        let entries = footers.0.lock().unwrap();
        assert_eq!(entries.by_xorb.len(), MAX_CHUNKS / 8192);
        assert_eq!(entries.chunks, MAX_CHUNKS);
    }

    #[test]
    fn the_footer_of_another_file_does_not_count() {
        let (footers, first) = (Footers::default(), stamp());
        let (xorb, footer) = entry(1, 1);
        footers.put(xorb, first, footer);
        assert!(
            footers
                .get(
                    &xorb,
                    Stamp {
                        bytes: first.bytes + 1,
                        ..first
                    }
                )
                .is_none()
        );
    }
}

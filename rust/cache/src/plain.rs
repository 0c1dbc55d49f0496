//! A file that is not made of chunks: it grows from its start and is proven by a digest at its end.
//!
//! Content is written and recorded in blocks; what does not fill one yet is kept in memory, so a kill
//! loses less than a block. A block that is found damaged is dropped with all that follows it.

mod blocks;
mod digest;
mod read;
mod write;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::cache::Inner;
use crate::disk;
use crate::error::{Error, Result};
use crate::kinds::PlainKey;
use crate::layout::{DATA, HELD};
use crate::log::{self, Log};
use blocks::{Blocks, HEADER_BYTES};
pub(crate) use digest::Digest;

/// The last use is written to disk no more often than this.
const TOUCH_S: u64 = 60;

/// A plain file, as far as it is there; shared by all who use it.
pub struct PlainFile {
    cache: Arc<Inner>,
    key: PlainKey,
    size: u64,
    loaded: AtomicBool,
    content: RwLock<Content>,
    files: Mutex<Files>,
    touched_s: AtomicU64,
}

/// What is there.
#[derive(Debug, Default)]
struct Content {
    blocks: Blocks,
    /// What follows the blocks; shorter than one.
    tail: Vec<u8>,
}

/// The files, for the one who writes.
struct Files {
    held: Log,
    data_bytes: u64,
    counted: bool,
    /// The digest of the first so many bytes, if they were written by us in order.
    digest: Option<(Digest, u64)>,
}

impl fmt::Debug for PlainFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainFile")
            .field("key", &self.key)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl PlainFile {
    /// Name a plain file; nothing is read yet.
    pub(crate) fn new(cache: Arc<Inner>, key: PlainKey, size: u64) -> Self {
        let held = Log::new(cache.layout.plain(&key, HELD), blocks::plain_header(&key, size));
        Self {
            cache,
            key,
            size,
            loaded: AtomicBool::new(false),
            content: RwLock::default(),
            files: Mutex::new(Files {
                held,
                data_bytes: 0,
                counted: false,
                digest: None,
            }),
            touched_s: AtomicU64::new(0),
        }
    }

    /// Read the sidecar file, if that has not been done.
    ///
    /// A proven file of another size is an error; content that is not proven and was to have another
    /// size counts as not there.
    pub(crate) fn load(&self) -> Result<()> {
        if self.loaded.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut files = self.files();
        if self.loaded.load(Ordering::Acquire) {
            return Ok(());
        }
        let path = self.cache.layout.plain(&self.key, HELD);
        if let Some(size) = recorded_size(&self.key, &path)?.filter(|size| *size != self.size) {
            let other = replayed(&mut Log::new(path, blocks::plain_header(&self.key, size)), size)?;
            if other.proven {
                return Err(wrong_size(&self.key, size, self.size));
            }
        }
        let blocks = replayed(&mut files.held, self.size)?;
        files.data_bytes = disk::allocated_at(&self.data_path());
        files.counted = !files.held.is_empty();
        self.content_mut().blocks = blocks;
        self.loaded.store(true, Ordering::Release);
        Ok(())
    }

    /// Return what names and proves the file.
    pub const fn key(&self) -> PlainKey {
        self.key
    }

    /// Return the length of the whole file.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Return how many bytes from the start are there. Shrinks when damage is found.
    pub fn len(&self) -> u64 {
        let content = self.content();
        content.blocks.bytes(self.size) + content.tail.len() as u64
    }

    /// Say whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Say whether the whole file is there and has its digest.
    pub fn is_proven(&self) -> bool {
        self.content().blocks.proven
    }

    /// Remember that the file was used; on disk at most once a minute. Reading does it too.
    pub fn touch(&self) {
        if disk::is_due(&self.touched_s, disk::now_s(), TOUCH_S) {
            disk::touch(&self.cache.layout.plain(&self.key, HELD));
        }
    }

    fn data_path(&self) -> PathBuf {
        self.cache.layout.plain(&self.key, DATA)
    }

    fn content(&self) -> RwLockReadGuard<'_, Content> {
        self.content.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn content_mut(&self) -> RwLockWriteGuard<'_, Content> {
        self.content.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Make the error for someone who believes that a file has another size than it is known to have.
pub(crate) fn wrong_size(key: &PlainKey, known: u64, claimed: u64) -> Error {
    Error::Integrity {
        what: format!("the size of plain file {key}"),
        expected: format!("{known} bytes"),
        actual: format!("{claimed} bytes"),
    }
}

/// The size that the sidecar file at `path` was begun with.
pub(crate) fn recorded_size(key: &PlainKey, path: &std::path::Path) -> Result<Option<u64>> {
    let head = log::read_head::<HEADER_BYTES>(path).map_err(Error::io("read the list of held blocks"))?;
    Ok(head.and_then(|head| blocks::size_in_header(key, &head)))
}

fn replayed(held: &mut Log, size: u64) -> Result<Blocks> {
    let mut blocks = Blocks::default();
    held.load(|kind, body| blocks.replay(size, kind, body))
        .map_err(Error::io("read the list of held blocks"))?;
    Ok(blocks)
}

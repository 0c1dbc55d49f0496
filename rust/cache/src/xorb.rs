//! One xorb in the cache: what is known of its chunks, and the stored bytes of some of them.
//!
//! Bytes go to `.data`, what they are to `.chunks`, that they are there to `.held`, in this order. The
//! table in memory is changed last, so readers see nothing that is not on disk. Reading takes the
//! table's lock for a moment and no other; writers of one xorb wait for each other.
//! What is right is not decided here, but for the merkle root of a whole xorb.

mod check;
mod files;
mod place;
mod read;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use xetway_core::Hash;

use crate::cache::Inner;
use crate::disk;
use crate::error::Result;
use crate::kinds::{ChunkInfo, NewChunk};
use crate::layout::{CHUNKS, DATA, HELD};
use crate::log::{Continuity, Record};
use crate::records::{ChunksRecord, HeldRecord, OnDisk, Placed};
use crate::table::{Slot, Table};
use files::{XorbFiles, held_records, runs_on_disk};
use place::place;

const ALL: Range<u32> = 0..u32::MAX;
/// The last use is written to disk no more often than this.
const TOUCH_HELD_S: u64 = 60;
/// The last use of the table is written no more often than this.
const TOUCH_CHUNKS_S: u64 = 24 * 60 * 60;

/// What is held and known of one xorb; shared by all who use it.
pub struct CachedXorb {
    cache: Arc<Inner>,
    hash: Hash,
    loaded: AtomicBool,
    table: RwLock<Table>,
    files: Mutex<XorbFiles>,
    touched_held_s: AtomicU64,
    touched_chunks_s: AtomicU64,
}

impl fmt::Debug for CachedXorb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedXorb")
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

impl CachedXorb {
    /// Name a xorb; nothing is read yet.
    pub(crate) fn new(cache: Arc<Inner>, hash: Hash) -> Self {
        let files = Mutex::new(XorbFiles::new(&cache, &hash));
        Self {
            cache,
            hash,
            loaded: AtomicBool::new(false),
            table: RwLock::default(),
            files,
            touched_held_s: AtomicU64::new(0),
            touched_chunks_s: AtomicU64::new(0),
        }
    }

    /// Read the sidecar files, if that has not been done.
    pub(crate) fn load(&self) -> Result<()> {
        if self.loaded.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut files = self.files();
        if !self.loaded.load(Ordering::Acquire) {
            *self.table_mut() = files.load(&self.hash)?;
            self.loaded.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Return the hash that names the xorb.
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// Return the end of the run of held bytes, without a gap, that `at` lies in; `None` if it is not held.
    pub fn held_end(&self, at: u64) -> Option<u64> {
        self.table()
            .held_from(at)
            .last()
            .map(|(placed, _, _)| u64::from(placed.end))
    }

    /// Return what is known of one chunk. Survives the eviction of its bytes.
    pub fn chunk(&self, index: u32) -> Option<ChunkInfo> {
        self.table().get(index).map(Slot::info)
    }

    /// Return what is known of these chunks, in order; unknown ones are left out.
    pub fn chunks(&self, chunks: Range<u32>) -> Vec<ChunkInfo> {
        self.table().range(&chunks).iter().map(Slot::info).collect()
    }

    /// Return the known chunk that a byte of the chunk data lies in.
    pub fn chunk_at(&self, byte: u64) -> Option<u32> {
        self.table().at_byte(byte).first().map(|slot| slot.placed.index)
    }

    /// Return the number of chunks of the xorb, once all are known and hash to its name.
    pub fn chunk_count(&self) -> Option<u32> {
        self.table().count()
    }

    /// Store chunks that follow one another, the first at `start` of the chunk data.
    ///
    /// The caller has decoded each and computed its hash. Chunks that are held already are left as
    /// they are. If one differs from what is known ([`Error::Integrity`](crate::Error::Integrity) if that was proven,
    /// [`Error::Conflict`](crate::Error::Conflict) if not), or there is no room ([`Error::Full`](crate::Error::Full), after evicting what is not in
    /// use), none of them counts as stored. Blocks for the disk.
    pub fn append(&self, first_chunk: u32, start: u64, chunks: &[NewChunk<'_>]) -> Result<()> {
        let (placed, on_disk) = place(first_chunk, start, chunks)?;
        let range = first_chunk..first_chunk.saturating_add(u32::try_from(placed.len()).unwrap_or(u32::MAX));
        let missing_bytes = self.missing_bytes(&placed);
        self.cache.with_room(missing_bytes, || {
            let mut files = self.files();
            self.table().check_run(&self.hash, &placed)?;
            if self.missing_bytes(&placed) == 0 {
                return Ok(());
            }
            let (held_file, continuity) = files.open_held()?;
            let mut records = self.after(continuity, &mut files);
            let (known, new) = {
                let table = self.table();
                let is_held = |index: u32| table.get(index).is_some_and(|slot| slot.held.is_some());
                let new: Vec<OnDisk> = on_disk.iter().copied().filter(|chunk| !is_held(chunk.index)).collect();
                (table.range(&range).len(), new)
            };
            let bytes_of = |chunk: &OnDisk| chunks.get((chunk.index - first_chunk) as usize).map(|new| new.stored);
            let writes = new
                .iter()
                .filter_map(|chunk| Some((u64::from(chunk.start), bytes_of(chunk)?)));
            files.write_data(&self.cache, writes)?;
            if known < placed.len() {
                let record = ChunksRecord::Table(placed.clone());
                files.record_chunks(&self.cache, &self.table(), &record)?;
                self.table_mut().insert_run(&placed);
            }
            records.extend(runs_on_disk(&new));
            files.record_held(&self.cache, &held_file, &records)?;
            self.table_mut().hold(&new);
            Ok(())
        })
    }

    /// Bytes of a run that are not held.
    fn missing_bytes(&self, run: &[Placed]) -> u64 {
        let table = self.table();
        run.iter()
            .filter(|chunk| table.get(chunk.index).is_none_or(|slot| slot.held.is_none()))
            .map(|chunk| u64::from(chunk.end - chunk.start))
            .sum()
    }

    /// Say that these chunks belong where they are; unknown ones are left out.
    ///
    /// Counts from now on even if the disk is too full to remember it.
    pub fn prove(&self, chunks: Range<u32>) -> Result<()> {
        let mut files = self.files();
        if !self.table_mut().prove(&chunks) {
            return Ok(());
        }
        let record = ChunksRecord::Proven(chunks);
        unless_full(files.record_chunks(&self.cache, &self.table(), &record))
    }

    /// Prove all chunks if they are known without a gap and their merkle root is the xorb's hash.
    ///
    /// Returns whether they are. Counts from now on even if the disk is too full to remember it.
    pub fn prove_if_whole(&self) -> Result<bool> {
        let mut files = self.files();
        let count = {
            let table = self.table();
            if table.count().is_some() {
                return Ok(true);
            }
            table.whole_count(&self.hash)
        };
        let Some(count) = count else {
            return Ok(false);
        };
        self.table_mut().set_whole(count);
        unless_full(files.record_chunks(&self.cache, &self.table(), &ChunksRecord::Whole(count)))?;
        Ok(true)
    }

    /// Forget those of these chunks that are not proven, with their bytes.
    pub fn forget(&self, chunks: Range<u32>) -> Result<()> {
        let mut files = self.files();
        let (had_bytes, changed) = {
            let mut table = self.table_mut();
            let slots = table.range(&chunks).iter();
            let had_bytes = slots.filter(|slot| !slot.proven).any(|slot| slot.held.is_some());
            (had_bytes, table.forget(&chunks))
        };
        if had_bytes {
            self.record_drop(&mut files, &chunks)?;
        }
        if !changed {
            return Ok(());
        }
        let record = ChunksRecord::Forgotten(chunks);
        let recorded = files.record_chunks(&self.cache, &self.table(), &record);
        // What can't be recorded as forgotten must not be found again. Deleting needs no room.
        recorded.or_else(|_| files.remove_chunks(&self.cache))
    }

    /// Drop the bytes of every chunk that these bytes of the chunk data touch; what is known stays.
    pub fn drop_data(&self, bytes: Range<u64>) -> Result<()> {
        let mut files = self.files();
        let chunks = self.table().touched_by(&bytes);
        self.drop_held(&mut files, &chunks, u64::MAX)
    }

    /// Drop the bytes of a chunk that was found damaged, unless they were replaced since.
    pub(crate) fn drop_damaged(&self, chunk: u32, epoch: u64) -> Result<()> {
        let mut files = self.files();
        if self
            .table()
            .get(chunk)
            .and_then(|slot| slot.held)
            .is_some_and(|held| held.epoch == epoch)
        {
            self.cache
                .damage
                .note(format_args!("chunk {chunk} of xorb {}", self.hash));
        }
        self.drop_held(&mut files, &(chunk..chunk.saturating_add(1)), epoch)
    }

    /// Note that `.data` is not there: another process deleted it.
    fn data_is_gone(&self) -> Result<()> {
        let mut files = self.files();
        if files.has_data()? {
            return Ok(());
        }
        self.drop_held(&mut files, &ALL, u64::MAX)
    }

    fn drop_held(&self, files: &mut XorbFiles, chunks: &Range<u32>, epoch: u64) -> Result<()> {
        if self.table_mut().drop_held(chunks, epoch) {
            self.record_drop(files, chunks)?;
        }
        Ok(())
    }

    /// Remember on disk that `chunks` were dropped, but for those that the table still holds.
    fn record_drop(&self, files: &mut XorbFiles, chunks: &Range<u32>) -> Result<()> {
        if !self.table().any_held() {
            return files.remove_bytes(&self.cache);
        }
        let recorded = files.open_held().and_then(|(file, continuity)| {
            let mut records = self.after(continuity, files);
            records.push(HeldRecord::Dropped(chunks.clone()).to_record());
            records.extend(held_records(self.table().range(chunks)));
            files.record_held(&self.cache, &file, &records)
        });
        if recorded.is_err() {
            // No room to say which bytes are gone: then all are. Deleting needs no room.
            self.table_mut().drop_held(&ALL, u64::MAX);
            return files.remove_bytes(&self.cache);
        }
        Ok(())
    }

    /// Act on what was found when `.held` was opened; returns what has to be written first.
    fn after(&self, continuity: Continuity, files: &mut XorbFiles) -> Vec<Record> {
        match continuity {
            Continuity::Kept => Vec::new(),
            Continuity::Lost => {
                self.table_mut().drop_held(&ALL, u64::MAX);
                files.count_data(&self.cache);
                Vec::new()
            }
            Continuity::StartedOver => held_records(self.table().slots()),
        }
    }

    /// Remember that the xorb was used; on disk at most once a minute. Reading does it too.
    pub fn touch(&self) {
        let now_s = disk::now_s();
        if disk::is_due(&self.touched_held_s, now_s, TOUCH_HELD_S) {
            disk::touch(&self.cache.layout.xorb(&self.hash, HELD));
        }
        if disk::is_due(&self.touched_chunks_s, now_s, TOUCH_CHUNKS_S) {
            disk::touch(&self.cache.layout.xorb(&self.hash, CHUNKS));
        }
    }

    fn data_path(&self) -> PathBuf {
        self.cache.layout.xorb(&self.hash, DATA)
    }

    pub(crate) fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn table_mut(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> MutexGuard<'_, XorbFiles> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Take a full disk for no error.
fn unless_full(outcome: Result<()>) -> Result<()> {
    outcome.or_else(|error| if error.is_disk_full() { Ok(()) } else { Err(error) })
}

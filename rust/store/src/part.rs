//! Files on their way into the store, and how to tell the dead ones from the living.
//!
//! A session holds the lock of one `<id>.lock` file for as long as any of its parts, named
//! `<id>-<n>.part`, may be in use. The lock goes with the process, however it ends, so a part whose
//! session's lock can be taken has no owner. One lock serves any number of parts: an ingest of a
//! large file keeps hundreds of finished xorbs that wait to be published, and must not hold a file
//! descriptor for each.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, IoSlice, Write};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use crate::error::{Error, Result};
use crate::positioned::sync_folder;

const LOCK_SUFFIX: &str = ".lock";
const PART_SUFFIX: &str = ".part";
const WRITE_BUFFER_BYTES: usize = 128 * 1024;

/// A claim on a family of part names, alive until dropped.
#[derive(Debug)]
pub(crate) struct Session {
    folder: PathBuf,
    id: String,
    next: AtomicU64,
    lock_path: PathBuf,
    _lock: File,
}

impl Session {
    /// Claim a new family of names in `folder`.
    pub(crate) fn begin(folder: &Path) -> Result<Arc<Self>> {
        loop {
            let id = format!("{}-{:016x}", std::process::id(), RandomState::new().hash_one(0_u8));
            let lock_path = folder.join(format!("{id}{LOCK_SUFFIX}"));
            let lock = match OpenOptions::new().write(true).create_new(true).open(&lock_path) {
                Ok(lock) => lock,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(Error::io("make a temporary file")(error)),
            };
            lock.lock().map_err(Error::io("lock a temporary file"))?;
            // A cleaner may have taken the lock first and removed the file: it can't have after this.
            if lock_path.try_exists().map_err(Error::io("look at a temporary file"))? {
                let folder = folder.to_path_buf();
                return Ok(Arc::new(Self {
                    folder,
                    id,
                    next: AtomicU64::new(0),
                    lock_path,
                    _lock: lock,
                }));
            }
        }
    }

    /// Make a new empty part.
    pub(crate) fn part(self: &Arc<Self>) -> Result<Part> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let path = self.folder.join(format!("{}-{number}{PART_SUFFIX}", self.id));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    let file = BufWriter::with_capacity(WRITE_BUFFER_BYTES, file);
                    return Ok(Part {
                        path: PartPath {
                            path,
                            _session: Arc::clone(self),
                        },
                        file,
                        bytes: 0,
                    });
                }
                // A forked process counts on from the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("make a temporary file")(error)),
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Nothing is lost if this fails: the cleaner finds the file without an owner.
        let _ = fs::remove_file(&self.lock_path);
    }
}

/// The name of a part; the file goes when this is dropped, unless it was moved away.
#[derive(Debug)]
struct PartPath {
    path: PathBuf,
    _session: Arc<Session>,
}

impl Drop for PartPath {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A part that is being written.
#[derive(Debug)]
pub(crate) struct Part {
    path: PartPath,
    file: BufWriter<File>,
    bytes: u64,
}

impl Part {
    /// Append bytes.
    pub(crate) fn write(&mut self, data: &[u8]) -> Result<()> {
        self.file.write_all(data).map_err(Error::io("write a temporary file"))?;
        self.bytes = self.bytes.saturating_add(data.len() as u64);
        Ok(())
    }

    /// Append slices, one after the other; from a buffer's length on they are not copied.
    pub(crate) fn write_slices(&mut self, mut slices: &mut [IoSlice<'_>]) -> Result<()> {
        while !slices.is_empty() {
            match self.file.write_vectored(slices) {
                Ok(0) => return Err(Error::io("write a temporary file")(io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    self.bytes = self.bytes.saturating_add(count as u64);
                    IoSlice::advance_slices(&mut slices, count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("write a temporary file")(error)),
            }
        }
        Ok(())
    }

    /// Close the file; its bytes survive a crash of the machine from here on.
    pub(crate) fn finish(self) -> Result<FinishedPart> {
        let (file, part) = self.close()?;
        file.sync_all().map_err(Error::io("flush a temporary file"))?;
        Ok(part)
    }

    /// As [`Self::finish`], without waiting for the disk.
    pub(crate) fn finish_aside(self) -> Result<FlushingPart> {
        let (file, part) = self.close()?;
        let file = Arc::new(file);
        let theirs = Arc::clone(&file);
        let flush = thread::Builder::new().name("xetway-flush".to_owned());
        let flush = flush.spawn(move || theirs.sync_all()).ok();
        if flush.is_none() {
            // There can be no more threads.
            file.sync_all().map_err(Error::io("flush a temporary file"))?;
        }
        Ok(FlushingPart { part, flush })
    }

    fn close(self) -> Result<(File, FinishedPart)> {
        let Self { path, file, bytes } = self;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error);
        let file = file.map_err(Error::io("write a temporary file"))?;
        Ok((file, FinishedPart { path, bytes }))
    }
}

/// A part that is complete and on its way to the disk.
#[derive(Debug)]
pub(crate) struct FlushingPart {
    part: FinishedPart,
    flush: Option<JoinHandle<io::Result<()>>>,
}

impl FlushingPart {
    /// Wait until its bytes survive a crash of the machine.
    pub(crate) fn wait(self) -> Result<FinishedPart> {
        if let Some(flush) = self.flush {
            let outcome = flush.join().unwrap_or_else(|panic| resume_unwind(panic));
            outcome.map_err(Error::io("flush a temporary file"))?;
        }
        Ok(self.part)
    }
}

/// A part that is complete and waits to be moved to its place.
#[derive(Debug)]
pub(crate) struct FinishedPart {
    path: PartPath,
    bytes: u64,
}

impl FinishedPart {
    /// Length of the file.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Move the file to `target` in `folder`, replacing what is there, at once and durably.
    pub(crate) fn move_to(mut self, target: &Path, folder: &Path) -> Result<()> {
        fs::rename(&self.path.path, target).map_err(Error::io("move a xorb to its place"))?;
        self.path.path = PathBuf::new();
        sync_folder(folder).map_err(Error::io("flush a folder of xorbs"))
    }
}

/// Remove the files in `folder` that belong to no living session; returns how many.
pub(crate) fn clean(folder: &Path) -> Result<u64> {
    let mut locks = HashSet::new();
    let mut parts = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("list the temporary files"))? {
        let path = entry.map_err(Error::io("list the temporary files"))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if let Some(id) = name.strip_suffix(LOCK_SUFFIX) {
            locks.insert(id.to_owned());
        } else if let Some((id, _)) = name.strip_suffix(PART_SUFFIX).and_then(|stem| stem.rsplit_once('-')) {
            let id = id.to_owned();
            parts.push((id, path));
        }
    }
    // A part is listed with its session's lock or after it was made, never before.
    locks.extend(parts.iter().map(|(id, _)| id.clone()));
    let mut removed = 0;
    for id in locks {
        removed += clean_session(folder, &id, &parts)?;
    }
    Ok(removed)
}

fn clean_session(folder: &Path, id: &str, parts: &[(String, PathBuf)]) -> Result<u64> {
    let lock_path = folder.join(format!("{id}{LOCK_SUFFIX}"));
    let lock = match OpenOptions::new().write(true).open(&lock_path) {
        Ok(lock) => Some(lock),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io("look at a temporary file")(error)),
    };
    if let Some(lock) = &lock {
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(0),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock a temporary file")(error)),
        }
    }
    let mut removed = 0;
    for (_, path) in parts.iter().filter(|(owner, _)| owner == id) {
        removed += remove_if_there(path)?;
    }
    // The lock goes last: while it is there, a cleaner that is killed half way leaves a clear state.
    if lock.is_some() {
        remove_if_there(&lock_path)?;
    }
    Ok(removed)
}

fn remove_if_there(path: &Path) -> Result<u64> {
    match fs::remove_file(path) {
        Ok(()) => Ok(1),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::io("remove a temporary file")(error)),
    }
}

//! The file that content is written to until it is whole and proven.
//!
//! `PATH.xetway-part` is locked for as long as someone writes to it, so that two processes never
//! write to the same one, and takes the place of `PATH` in one step. Blocking; see [`blocking`].

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::positioned::{is_same, read_exact_at, write_all_at};
use crate::error::{Error, Result};

/// How long a lock is waited for: work that a cancelled transfer has begun ends in this time.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_POLL: Duration = Duration::from_millis(20);

/// Names of the files beside a target.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) target: PathBuf,
    pub(crate) part: PathBuf,
    pub(crate) journal: PathBuf,
}

impl Paths {
    pub(crate) fn new(target: &Path) -> Self {
        let beside = |suffix: &str| {
            let mut name = OsString::from(target);
            name.push(suffix);
            PathBuf::from(name)
        };
        Self {
            target: target.to_owned(),
            part: beside(".xetway-part"),
            journal: beside(".xetway-journal"),
        }
    }
}

/// An open, locked part file.
#[derive(Debug)]
pub(crate) struct Part {
    file: File,
    paths: Paths,
}

impl Part {
    /// Open or make the part file of `paths` and lock it. What is in it is kept.
    pub(crate) fn open(paths: Paths) -> Result<Self> {
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&paths.part)
                .map_err(|error| Error::io("open the part file", error))?;
            match file.try_lock() {
                Ok(()) => {}
                // No locks here: two processes are then told apart by nobody.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(Error::io("lock the part file", error)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(LOCK_POLL);
                    continue;
                }
                Err(TryLockError::WouldBlock) => {
                    let message = "another transfer to the same path is under way";
                    let error = io::Error::new(io::ErrorKind::ResourceBusy, message);
                    return Err(Error::io("lock the part file", error));
                }
            }
            // Whoever held the lock may have moved or removed the file.
            let own = file.metadata().ok();
            let named = fs::metadata(&paths.part).ok();
            if own.zip(named).is_some_and(|(own, named)| is_same(&own, &named)) {
                return Ok(Self { file, paths });
            }
        }
    }

    pub(crate) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Set the length; new bytes are zeros that take no room yet.
    pub(crate) fn set_len(&self, bytes: u64) -> Result<()> {
        self.file
            .set_len(bytes)
            .map_err(|error| Error::io("set the length of the part file", error))
    }

    pub(crate) fn write_at(&self, bytes: &[u8], position: u64) -> Result<()> {
        write_all_at(&self.file, bytes, position).map_err(|error| Error::io("write to the part file", error))
    }

    pub(crate) fn read_at(&self, bytes: &mut [u8], position: u64) -> Result<()> {
        read_exact_at(&self.file, bytes, position).map_err(|error| Error::io("read the part file", error))
    }

    /// Make the content durable and move it to its place; the journal goes.
    pub(crate) fn publish(&self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(|error| Error::io("flush the part file", error))?;
        fs::rename(&self.paths.part, &self.paths.target)
            .map_err(|error| Error::io("move the part file into place", error))?;
        remove(&self.paths.journal, "remove the journal")
    }

    /// Remove the part file and its journal.
    pub(crate) fn discard(&self) -> Result<()> {
        remove(&self.paths.journal, "remove the journal")?;
        remove(&self.paths.part, "remove the part file")
    }
}

/// Remove a file that may not be there.
pub(crate) fn remove(path: &Path, action: &'static str) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(action, error)),
        _ => Ok(()),
    }
}

/// Do what may wait for a disk, away from the threads that do I/O.
pub(crate) async fn blocking<R: Send + 'static>(work: impl FnOnce() -> Result<R> + Send + 'static) -> Result<R> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Cancelled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_written_by_one_only() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::new(&folder.path().join("model.bin"));
        let part = Part::open(paths.clone()).unwrap();
        let error = Part::open(paths.clone()).unwrap_err();
        assert_eq!(error.code(), "local_io");
        assert!(error.to_string().contains("another transfer"), "{error}");
        drop(part);
        Part::open(paths).unwrap();
    }

    #[test]
    fn a_lock_on_a_file_that_was_moved_away_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::new(&folder.path().join("model.bin"));
        let first = Part::open(paths.clone()).unwrap();
        first.write_at(b"whole", 0).unwrap();
        let second = std::thread::scope(|scope| {
            let second = scope.spawn(|| Part::open(paths.clone()).unwrap());
            first.publish().unwrap();
            drop(first);
            second.join().unwrap()
        });
        assert_eq!(fs::metadata(&paths.part).unwrap().len(), 0);
        assert_eq!(fs::read(&paths.target).unwrap(), b"whole");
        second.discard().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

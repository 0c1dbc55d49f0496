//! Positioned reads and writes, allocated bytes and free space, on every platform.
//!
//! Files are opened for each operation: a server has many xorbs in use and few file descriptors, and
//! a file that another process deleted is noticed at once.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Says which writes fail.
#[cfg(test)]
pub(crate) type Fault = Box<dyn FnMut(&[u8]) -> Option<io::Error> + Send>;

/// Writes to files; tests make them fail.
#[derive(Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    pub(crate) fault: std::sync::Mutex<Option<Fault>>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk")
    }
}

impl Disk {
    /// Write all of `bytes` at `offset`, leaving the file's cursor alone where the system allows it.
    #[cfg_attr(not(test), allow(clippy::unused_self, reason = "tests keep state in it"))]
    pub(crate) fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        #[cfg(test)]
        if let Some(error) = self.fault.lock().unwrap().as_mut().and_then(|fault| fault(bytes)) {
            // A disk that fills up takes part of a write first.
            write_all_at(file, bytes.get(..bytes.len() / 2).unwrap_or_default(), offset)?;
            return Err(error);
        }
        write_all_at(file, bytes, offset)
    }
}

#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = bytes.get(count..).unwrap_or_default();
                offset = offset.saturating_add(count as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fill `buffer` from byte `offset` on as far as the file and the disk give bytes.
///
/// Returns how many there were. What cannot be read is as good as damaged: the caller checks what it
/// got and fetches the rest anew, so the reason is not told.
pub(crate) fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> usize {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match read_at(file, rest, offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    filled
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

/// Bytes of the disk that a file takes.
#[cfg(unix)]
pub(crate) fn allocated_bytes(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(metadata).saturating_mul(512)
}

/// Bytes of the disk that a file takes: its length, where the system does not tell.
#[cfg(not(unix))]
pub(crate) fn allocated_bytes(metadata: &Metadata) -> u64 {
    metadata.len()
}

/// Bytes of the disk that a file takes; 0 if it is not there.
pub(crate) fn allocated_at(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| allocated_bytes(&metadata))
}

/// Bytes that an ordinary user may still store on the disk of `path`.
///
/// Without an answer, `u64::MAX`: a full disk then shows when a write fails.
pub(crate) fn free_bytes(path: &Path) -> u64 {
    fs4::available_space(path).unwrap_or(u64::MAX)
}

/// Open a file to read and write, making it and its folder if need be.
pub(crate) fn open_or_make(path: &Path) -> io::Result<File> {
    let open = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
    };
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            open()
        }
        outcome => outcome,
    }
}

/// Turn "not found" into `None`.
pub(crate) fn if_there<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Delete a file; returns whether it was there.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<bool> {
    if_there(fs::remove_file(path)).map(|there| there.is_some())
}

/// Mark a file as used now. A cache can do without: errors are dropped.
pub(crate) fn touch(path: &Path) {
    if let Ok(file) = OpenOptions::new().write(true).open(path) {
        let _ = file.set_modified(SystemTime::now());
    }
}

/// Seconds since 1970.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// Seconds since 1970, now.
pub(crate) fn now_s() -> u64 {
    seconds(SystemTime::now())
}

/// Say whether `every_s` have passed since `last_s`, and if so set it to `now_s`. True for one caller only.
pub(crate) fn is_due(last_s: &AtomicU64, now_s: u64, every_s: u64) -> bool {
    let last = last_s.load(Ordering::Relaxed);
    now_s.abs_diff(last) >= every_s
        && last_s
            .compare_exchange(last, now_s, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
}

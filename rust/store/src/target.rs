//! A file that gets its name when all of it is there.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::positioned::sync_folder;

/// A new file beside the one it will replace; removed when dropped, unless it was published.
#[derive(Debug)]
pub(crate) struct Target {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl Target {
    /// Make a file of `bytes` that will be `path`.
    pub(crate) fn make(path: &Path, bytes: u64) -> Result<Self> {
        let failed = || Error::io("make a file beside the one to write");
        let (file, temporary) = loop {
            let random = RandomState::new().hash_one(0_u8);
            let name = format!(".{}-{random:016x}.xetway-part", std::process::id());
            let temporary = path.with_file_name(name);
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                Ok(file) => break (file, temporary),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed()(error)),
            }
        };
        let target = Self {
            file,
            temporary,
            path: path.to_path_buf(),
        };
        target.file.set_len(bytes).map_err(failed())?;
        Ok(target)
    }

    /// Open the file once more, for a thread that writes to it.
    pub(crate) fn pen(&self) -> Result<Pen> {
        let file = OpenOptions::new().write(true).open(&self.temporary);
        file.map(Pen).map_err(Error::io("open the file to write"))
    }

    /// Give the file its name, durably.
    pub(crate) fn publish(mut self) -> Result<()> {
        self.file.sync_all().map_err(Error::io("flush the file"))?;
        fs::rename(&self.temporary, &self.path).map_err(Error::io("move the file to its place"))?;
        self.temporary = PathBuf::new();
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        sync_folder(folder.unwrap_or(Path::new("."))).map_err(Error::io("flush the folder of the file"))
    }
}

/// Writes to a [`Target`], at a place of its own.
#[derive(Debug)]
pub(crate) struct Pen(File);

impl Pen {
    /// Write bytes to their place.
    pub(crate) fn write_at(&mut self, bytes: &[u8], offset: u64) -> Result<()> {
        self.0
            .seek(SeekFrom::Start(offset))
            .and_then(|_| self.0.write_all(bytes))
            .map_err(Error::io("write the file"))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.temporary.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

//! Where things are under the root folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use xetway_core::Hash;

use crate::error::{Error, Result};
use crate::positioned::sync_folder;

/// The folders of one store.
#[derive(Debug)]
pub(crate) struct Layout {
    xorbs: PathBuf,
    parts: PathBuf,
}

impl Layout {
    /// Name the folders under `root` and make those that are missing.
    pub(crate) fn make(root: &Path) -> Result<Self> {
        let layout = Self {
            xorbs: root.join("xorbs"),
            parts: root.join("tmp"),
        };
        for folder in [&layout.xorbs, &layout.parts] {
            fs::create_dir_all(folder).map_err(Error::io("make a folder of the store"))?;
        }
        sync_folder(root).map_err(Error::io("flush the folder of the store"))?;
        Ok(layout)
    }

    /// The folder of what is being written.
    pub(crate) fn parts(&self) -> &Path {
        &self.parts
    }

    /// The file of a xorb, there or not.
    pub(crate) fn xorb(&self, xorb: &Hash) -> PathBuf {
        let name = xorb.to_hex();
        self.xorbs
            .join(name.get(..2).unwrap_or_default())
            .join(format!("{name}.xorb"))
    }

    /// Make the folder that will hold `file`, durably.
    pub(crate) fn make_folder_of(&self, file: &Path) -> Result<PathBuf> {
        let folder = file.parent().unwrap_or(&self.xorbs).to_path_buf();
        match fs::create_dir(&folder) {
            Ok(()) => sync_folder(&self.xorbs).map_err(Error::io("flush the folder of the xorbs"))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io("make a folder for xorbs")(error)),
        }
        Ok(folder)
    }

    /// List the xorbs that have a file, in no order; names that are no xorb's are left out.
    pub(crate) fn list(&self) -> Result<Vec<Hash>> {
        let mut found = Vec::new();
        for folder in fs::read_dir(&self.xorbs).map_err(Error::io("list the xorbs"))? {
            let folder = folder.map_err(Error::io("list the xorbs"))?;
            let entries = match fs::read_dir(folder.path()) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => continue,
                Err(error) => return Err(Error::io("list the xorbs")(error)),
            };
            for entry in entries {
                let path = entry.map_err(Error::io("list the xorbs"))?.path();
                found.extend(xorb_named_by(&path).filter(|xorb| self.xorb(xorb) == path));
            }
        }
        Ok(found)
    }
}

fn xorb_named_by(path: &Path) -> Option<Hash> {
    let name = path.file_name()?.to_str()?;
    Hash::parse(name.strip_suffix(".xorb")?).ok()
}

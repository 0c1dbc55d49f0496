//! Looking through the folders: what is there, how large, last used when.

use std::collections::HashMap;
use std::fs::{self, DirEntry, Metadata};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use xetway_core::Hash;

use crate::disk::{self, if_there};
use crate::error::{Error, Result};
use crate::layout::{CHUNKS, DATA, HELD, Layout, Name, PLAN, parse_plain_key};
use crate::usage::Counted;

/// A xorb or plain file of which anything takes room.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) name: Name,
    /// Change of `.held`; the beginning of time without one, so that what a kill left goes first.
    pub(crate) used: SystemTime,
    /// `.held` and `.data`.
    pub(crate) bytes: u64,
    /// `.chunks`, which stays when the rest is evicted.
    pub(crate) table_bytes: u64,
    pub(crate) has_held: bool,
}

/// A chunk table or plan: what is known without the content.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) of: KnownOf,
    pub(crate) used: SystemTime,
    pub(crate) bytes: u64,
}

/// What something is known of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KnownOf {
    Xorb(Hash),
    File(Hash),
}

/// All of a cache at about one moment.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Least recently used first.
    pub(crate) found: Vec<Found>,
    /// Least recently used first.
    pub(crate) known: Vec<Known>,
    pub(crate) counted: Counted,
}

#[derive(Default)]
struct Parts {
    held: Option<Metadata>,
    data: Option<Metadata>,
    table: Option<Metadata>,
}

/// Look through the folders of a cache. Files that come and go meanwhile may be missed.
pub(crate) fn scan(layout: &Layout) -> Result<Scan> {
    let mut scan = Scan::default();
    each_folder(&layout.xorbs, |parts| {
        for (stem, parts) in parts {
            if let Ok(xorb) = Hash::parse(&stem) {
                scan.add(Name::Xorb(xorb), &parts);
            }
        }
    })?;
    each_folder(&layout.plain, |parts| {
        for (stem, parts) in parts {
            if let Some(key) = parse_plain_key(&stem) {
                scan.add(Name::Plain(key), &parts);
            }
        }
    })?;
    each_folder(&layout.plans, |parts| {
        for (stem, parts) in parts {
            if let (Ok(file), Some(plan)) = (Hash::parse(&stem), &parts.table) {
                scan.add_known(KnownOf::File(file), plan);
            }
        }
    })?;
    scan.found.sort_by_key(|found| found.used);
    scan.known.sort_by_key(|known| known.used);
    Ok(scan)
}

impl Scan {
    fn add(&mut self, name: Name, parts: &Parts) {
        if let (Name::Xorb(xorb), Some(table)) = (name, &parts.table) {
            self.add_known(KnownOf::Xorb(xorb), table);
        }
        if parts.held.is_none() && parts.data.is_none() {
            return;
        }
        let bytes = room(parts.held.as_ref()) + room(parts.data.as_ref());
        self.counted.bytes += bytes;
        if parts.held.is_some() {
            match name {
                Name::Xorb(_) => self.counted.xorbs += 1,
                Name::Plain(_) => self.counted.plain_files += 1,
            }
        }
        self.found.push(Found {
            name,
            used: parts.held.as_ref().map_or(SystemTime::UNIX_EPOCH, modified),
            bytes,
            table_bytes: room(parts.table.as_ref()),
            has_held: parts.held.is_some(),
        });
    }

    fn add_known(&mut self, of: KnownOf, metadata: &Metadata) {
        let bytes = disk::allocated_bytes(metadata);
        self.counted.bytes += bytes;
        self.known.push(Known {
            of,
            used: modified(metadata),
            bytes,
        });
    }
}

fn room(metadata: Option<&Metadata>) -> u64 {
    metadata.map_or(0, disk::allocated_bytes)
}

fn modified(metadata: &Metadata) -> SystemTime {
    metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Call `on` with the files of each folder in `parent`, by the part of the name before the suffix.
fn each_folder(parent: &Path, mut on: impl FnMut(HashMap<String, Parts>)) -> Result<()> {
    for folder in list(parent)? {
        let mut files: HashMap<String, Parts> = HashMap::new();
        for entry in list(&folder.path())? {
            let name = entry.file_name();
            let Some((stem, suffix)) = name.to_str().and_then(|name| name.rsplit_once('.')) else {
                continue;
            };
            let Some(metadata) = if_there(entry.metadata()).map_err(Error::io("look at a cached file"))? else {
                continue;
            };
            let parts = files.entry(stem.to_owned()).or_default();
            match suffix {
                HELD => parts.held = Some(metadata),
                DATA => parts.data = Some(metadata),
                CHUNKS | PLAN => parts.table = Some(metadata),
                _ => {}
            }
        }
        on(files);
    }
    Ok(())
}

fn list(folder: &Path) -> Result<Vec<DirEntry>> {
    let list = || -> std::io::Result<Vec<DirEntry>> { fs::read_dir(folder)?.collect() };
    match list() {
        Ok(entries) => Ok(entries),
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(Error::io("list the cache")(error)),
    }
}

/// The file that holds what is known.
pub(crate) fn path_of(layout: &Layout, of: &KnownOf) -> PathBuf {
    match of {
        KnownOf::Xorb(xorb) => layout.xorb(xorb, CHUNKS),
        KnownOf::File(file) => layout.plan(file),
    }
}

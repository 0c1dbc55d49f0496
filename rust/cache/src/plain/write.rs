//! Growing a plain file, and proving it.

use std::fs::File;

use super::blocks::{self, BLOCK_BYTES, BLOCK_BYTES_U64, check_of};
use super::digest::Digest;
use super::{Content, Files, PlainFile};
use crate::disk;
use crate::error::{Error, Result};
use crate::kinds::PlainKey;
use crate::log::{Continuity, Record};

impl PlainFile {
    /// Add bytes at `at`, which must not lie after what is there; what is there already is skipped.
    ///
    /// Bytes past the size are an [`Error::Integrity`]; a gap, or a file that another process deleted
    /// under us, an [`Error::State`]: [`Self::len`] tells where to go on. Blocks for the disk.
    pub fn append(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.cache.with_room(bytes.len() as u64, || {
            let mut files = self.files();
            let here = self.len();
            let end = at.saturating_add(bytes.len() as u64);
            if end > self.size {
                return Err(Error::Integrity {
                    what: format!("the length of plain file {}", self.key),
                    expected: format!("{} bytes", self.size),
                    actual: format!("{end} bytes or more"),
                });
            }
            let Some(skipped) = here.checked_sub(at) else {
                return Err(Error::State {
                    object: "plain file",
                    problem: "does not reach to where bytes were to be added",
                });
            };
            let new = bytes
                .get(usize::try_from(skipped).unwrap_or(usize::MAX)..)
                .unwrap_or_default();
            if new.is_empty() {
                return Ok(());
            }
            let mut joined = self.content().tail.clone();
            joined.extend_from_slice(new);
            let (whole, tail) = joined.split_at(joined.len() / BLOCK_BYTES * BLOCK_BYTES);
            let checks = self.write_blocks(&mut files, whole, &[])?;
            if here == 0 {
                files.digest = Some((Digest::begin(&self.key, self.size), 0));
            }
            if let Some((digest, done)) = files.digest.as_mut().filter(|(_, done)| *done == here) {
                digest.update(new);
                *done += new.len() as u64;
            }
            let mut content = self.content_mut();
            content.blocks.checks.extend(checks);
            content.tail = tail.to_vec();
            Ok(())
        })
    }

    /// Write blocks after those that are there, and records after theirs; returns their checks.
    fn write_blocks(&self, files: &mut Files, bytes: &[u8], then: &[Record]) -> Result<Vec<u64>> {
        if bytes.is_empty() && then.is_empty() {
            return Ok(Vec::new());
        }
        let (held_file, continuity) = files.held.open().map_err(Error::io("open the list of held blocks"))?;
        let mut records = self.after(files, continuity)?;
        let first = self.content().blocks.checks.len() as u64;
        let checks: Vec<u64> = (first..)
            .zip(bytes.chunks(BLOCK_BYTES))
            .map(|(block, bytes)| check_of(block, bytes))
            .collect();
        if !bytes.is_empty() {
            let file = disk::open_or_make(&self.data_path()).map_err(Error::io("open a cached file"))?;
            let written = self.cache.disk.write_all_at(&file, bytes, first * BLOCK_BYTES_U64);
            self.count_data(files);
            written.map_err(Error::io("write a cached file"))?;
            records.push(blocks::held_record(first, &checks));
        }
        records.extend(then.iter().map(Record::clone));
        self.record(files, &held_file, &records)?;
        Ok(checks)
    }

    /// Act on what was found when `.held` was opened; returns what has to be written first.
    pub(super) fn after(&self, files: &mut Files, continuity: Continuity) -> Result<Vec<Record>> {
        match continuity {
            Continuity::Kept => Ok(Vec::new()),
            Continuity::StartedOver => Ok(self.content().blocks.records()),
            Continuity::Lost => {
                self.clear(files)?;
                Err(Error::State {
                    object: "plain file",
                    problem: "was deleted by another process while it was written",
                })
            }
        }
    }

    pub(super) fn record(&self, files: &mut Files, file: &File, records: &[Record]) -> Result<()> {
        let before = files.held.allocated_bytes();
        let outcome = files.held.append(&self.cache.disk, file, records);
        self.cache.usage.resized(before, files.held.allocated_bytes());
        if !files.counted {
            self.cache.usage.plain_files(0, 1);
            files.counted = true;
        }
        outcome.map_err(Error::io("write the list of held blocks"))
    }

    /// Check the digest of the whole file and remember that it is right.
    ///
    /// A wrong digest is an [`Error::Integrity`] and drops everything. An [`Error::State`] means that
    /// bytes are missing: [`Self::len`] tells where to go on. Reads the file again if it was not
    /// written in one go. Blocks for the disk.
    pub fn finish(&self) -> Result<()> {
        self.cache.with_room(0, || {
            let mut files = self.files();
            if self.is_proven() {
                return Ok(());
            }
            let actual = self.digest(&mut files)?;
            if actual != self.key {
                self.clear(&mut files)?;
                return Err(Error::Integrity {
                    what: format!("plain file of {} bytes", self.size),
                    expected: self.key.to_string(),
                    actual: actual.to_string(),
                });
            }
            let tail = self.content().tail.clone();
            let checks = self.write_blocks(&mut files, &tail, &[blocks::proven_record()])?;
            files.digest = None;
            let mut content = self.content_mut();
            content.blocks.checks.extend(checks);
            content.blocks.proven = true;
            content.tail = Vec::new();
            Ok(())
        })
    }

    /// Compute the digest of all bytes, which must be there.
    fn digest(&self, files: &mut Files) -> Result<PlainKey> {
        let incomplete = Error::State {
            object: "plain file",
            problem: "is not complete",
        };
        if self.len() < self.size {
            return Err(incomplete);
        }
        if let Some((digest, _)) = files.digest.as_ref().filter(|(_, done)| *done == self.size) {
            return Ok(digest.clone().finish());
        }
        let mut digest = Digest::begin(&self.key, self.size);
        let mut at = 0;
        while at < self.size {
            let bytes = self.read_while_writing(files, at, 8 * BLOCK_BYTES)?;
            if bytes.is_empty() {
                return Err(incomplete);
            }
            digest.update(&bytes);
            at += bytes.len() as u64;
        }
        Ok(digest.finish())
    }

    /// Drop everything and begin anew.
    pub fn restart(&self) -> Result<()> {
        self.clear(&mut self.files())
    }

    /// Delete everything: first what says that it is there.
    pub(super) fn clear(&self, files: &mut Files) -> Result<()> {
        files.digest = None;
        *self.content_mut() = Content::default();
        let before = files.held.allocated_bytes();
        files
            .held
            .remove()
            .map_err(Error::io("remove the list of held blocks"))?;
        self.cache.usage.resized(before, 0);
        if std::mem::take(&mut files.counted) {
            self.cache.usage.plain_files(1, 0);
        }
        let outcome = disk::remove_if_there(&self.data_path()).map_err(Error::io("remove a cached file"));
        self.count_data(files);
        outcome.map(|_| ())
    }

    fn count_data(&self, files: &mut Files) {
        let before = std::mem::replace(&mut files.data_bytes, disk::allocated_at(&self.data_path()));
        self.cache.usage.resized(before, files.data_bytes);
    }
}

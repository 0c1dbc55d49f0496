//! Reading a plain file, each block checked.

use std::fs::File;

use super::blocks::{BLOCK_BYTES, BLOCK_BYTES_U64, check_of, cut_record};
use super::digest::Digest;
use super::{Files, PlainFile};
use crate::disk;
use crate::error::{Error, Result};
use crate::verify::Checked;

/// What a read gave.
struct Found {
    /// Where the bytes start: not after what was asked for.
    start: u64,
    /// Up to the first damaged block, or past what was asked for.
    bytes: Vec<u8>,
    /// The first block that is damaged, with the check it should have.
    damaged: Option<(usize, u64)>,
}

impl Found {
    /// Cut down to what was asked for.
    fn within(mut self, at: u64, max_bytes: usize) -> Vec<u8> {
        let skipped = usize::try_from(at.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.bytes.drain(..skipped.min(self.bytes.len()));
        self.bytes.truncate(max_bytes);
        self.bytes
    }
}

/// Blocks to read, as they were at one moment.
struct Wanted {
    first: usize,
    checks: Vec<u64>,
    bytes: usize,
}

impl PlainFile {
    /// Read from `at`, at most `max_bytes` and not past what is there.
    ///
    /// Returns nothing if `at` is not before [`Self::len`]. A block that is damaged is dropped with all
    /// that follows it, and what comes before it is returned: then `len` is less than before.
    /// Waits for no writer. Blocks for the disk.
    pub fn read(&self, at: u64, max_bytes: usize) -> Result<Vec<u8>> {
        let found = self.find(at, max_bytes)?;
        if let Some((block, check)) = found.damaged {
            self.cut(&mut self.files(), block, check)?;
        }
        self.touch();
        Ok(found.within(at, max_bytes))
    }

    /// As [`Self::read`], for one who has the files.
    pub(super) fn read_while_writing(&self, files: &mut Files, at: u64, max_bytes: usize) -> Result<Vec<u8>> {
        let found = self.find(at, max_bytes)?;
        if let Some((block, check)) = found.damaged {
            self.cut(files, block, check)?;
        }
        Ok(found.within(at, max_bytes))
    }

    fn find(&self, at: u64, max_bytes: usize) -> Result<Found> {
        let wanted = match self.look(at, max_bytes) {
            Ok(wanted) => wanted,
            Err(in_memory) => return Ok(in_memory),
        };
        let start = wanted.first as u64 * BLOCK_BYTES_U64;
        let file = disk::if_there(File::open(self.data_path())).map_err(Error::io("open a cached file"))?;
        let mut bytes = vec![0; wanted.bytes];
        let filled = file.map_or(0, |file| disk::read_up_to(&file, &mut bytes, start));
        bytes.truncate(filled);
        let mut good = 0_usize;
        let mut damaged = None;
        for (block, check) in (wanted.first..).zip(&wanted.checks) {
            let end = good.saturating_add(BLOCK_BYTES).min(wanted.bytes);
            let right = bytes
                .get(good..end)
                .is_some_and(|bytes| check_of(block as u64, bytes) == *check);
            if !right {
                damaged = Some((block, *check));
                break;
            }
            good = end;
        }
        bytes.truncate(good);
        Ok(Found { start, bytes, damaged })
    }

    /// Say which blocks to read; what is not in blocks is returned as an error.
    fn look(&self, at: u64, max_bytes: usize) -> Result<Wanted, Found> {
        let content = self.content();
        let end = content.blocks.bytes(self.size());
        let wanted_end = at.saturating_add(max_bytes as u64).min(end);
        if at >= wanted_end {
            let bytes = if at >= end { content.tail.clone() } else { Vec::new() };
            return Err(Found {
                start: end,
                bytes,
                damaged: None,
            });
        }
        let block_of = |byte: u64| usize::try_from(byte / BLOCK_BYTES_U64).unwrap_or(usize::MAX);
        let (first, last) = (block_of(at), block_of(wanted_end - 1));
        let checks = content.blocks.checks.get(first..=last).unwrap_or_default().to_vec();
        let left = usize::try_from(end - first as u64 * BLOCK_BYTES_U64).unwrap_or(usize::MAX);
        let bytes = left.min(checks.len().saturating_mul(BLOCK_BYTES));
        Ok(Wanted { first, checks, bytes })
    }

    /// Check every block and, of a proven file, the digest; with `repair`, drop what is damaged.
    pub(crate) fn check(&self, repair: bool) -> Result<Checked> {
        let proven = self.is_proven();
        let mut digest = Digest::begin(&self.key(), self.size());
        let mut at = 0;
        while at < self.len() {
            let found = self.find(at, 8 * BLOCK_BYTES)?;
            if let Some((block, check)) = found.damaged {
                if repair {
                    self.cut(&mut self.files(), block, check)?;
                }
                return Ok(Checked {
                    bytes: at,
                    problem: Some(format!("block {block} does not match its checksum")),
                });
            }
            let bytes = found.within(at, 8 * BLOCK_BYTES);
            if bytes.is_empty() {
                break;
            }
            digest.update(&bytes);
            at += bytes.len() as u64;
        }
        let actual = digest.finish();
        let wrong = proven && at == self.size() && actual != self.key();
        if wrong && repair {
            self.clear(&mut self.files())?;
        }
        let problem = wrong.then(|| format!("it hashes to {actual}"));
        Ok(Checked { bytes: at, problem })
    }

    /// Drop block `block` and all that follows, unless it was replaced by another since.
    fn cut(&self, files: &mut Files, block: usize, check: u64) -> Result<()> {
        {
            let mut content = self.content_mut();
            if content.blocks.checks.get(block) != Some(&check) {
                return Ok(());
            }
            content.blocks.cut(block);
            content.tail = Vec::new();
        }
        // Without a data file another process deleted it.
        if self.data_path().exists() {
            let at = block as u64 * BLOCK_BYTES_U64;
            self.cache
                .damage
                .note(format_args!("plain file {} from byte {at}", self.key));
        }
        files.digest = None;
        if block == 0 {
            return self.clear(files);
        }
        let recorded = files
            .held
            .open()
            .map_err(Error::io("open the list of held blocks"))
            .and_then(|(file, continuity)| {
                let mut records = self.after(files, continuity)?;
                records.push(cut_record(block as u64));
                self.record(files, &file, &records)
            });
        // No room to say which blocks are gone: then all are. Deleting needs no room.
        recorded.or_else(|_| self.clear(files))
    }
}

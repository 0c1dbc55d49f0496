//! Plans of files on disk: written whole, replaced at once, checked when read.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | name and version |
//! | 8 | 32 | file hash |
//! | 40 | 8 | size of the file |
//! | 48 | 4 | flags: bit 0, proven |
//! | 52 | 4 | number of terms n |
//! | 56 | 44 n | terms: xorb hash (32), raw length (4), first chunk (4), one past the last (4) |
//! | 56 + 44 n | 8 | XXH3-64 of all before |
//!
//! All integers are little-endian.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use twox_hash::XxHash3_64;
use xetway_core::Hash;
use xetway_core::plan::PlannedTerm;

use crate::cache::Inner;
use crate::disk;
use crate::error::{Error, Result};
use crate::kinds::FilePlan;

const MAGIC: [u8; 8] = *b"XWFPLAN\x01";
const PROVEN: u32 = 1;
const TERM_BYTES: usize = 44;
/// The last use is written to disk no more often than this.
const TOUCH_S: u64 = 24 * 60 * 60;

/// Read the plan of a file; a damaged one is as good as none.
pub(crate) fn read(path: &Path, file: &Hash) -> Result<Option<FilePlan>> {
    let bytes = disk::if_there(fs::read(path)).map_err(Error::io("read a plan"))?;
    Ok(bytes.and_then(|bytes| parse(&bytes, file)))
}

/// Write the plan of a file, replacing the one before at once.
pub(crate) fn write(cache: &Inner, file: &Hash, plan: &FilePlan) -> Result<()> {
    let bytes = encode(file, plan);
    let path = cache.layout.plan(file);
    let part = cache.layout.temporary();
    let before = disk::allocated_at(&path);
    let outcome = write_part(cache, &part, &bytes)
        .and_then(|()| match fs::rename(&part, &path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                fs::rename(&part, &path)
            }
            outcome => outcome,
        })
        .map_err(Error::io("write a plan"));
    if outcome.is_err() {
        let _ = fs::remove_file(&part);
    }
    cache.usage.resized(before, disk::allocated_at(&path));
    outcome
}

fn write_part(cache: &Inner, part: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let file = disk::open_or_make(part)?;
    cache.disk.write_all_at(&file, bytes, 0)
}

/// Remember that a plan was used, at most once a day.
pub(crate) fn touch(path: &Path) {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    let age_s = modified.map(|time| disk::seconds(SystemTime::now()).saturating_sub(disk::seconds(time)));
    if age_s.is_ok_and(|age_s| age_s >= TOUCH_S) {
        disk::touch(path);
    }
}

fn encode(file: &Hash, plan: &FilePlan) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(file.as_bytes());
    bytes.extend_from_slice(&plan.size.to_le_bytes());
    bytes.extend_from_slice(&(if plan.proven { PROVEN } else { 0 }).to_le_bytes());
    // A file of more terms would be larger than any disk; its plan would not be read back.
    let count = u32::try_from(plan.terms.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&count.to_le_bytes());
    for term in &plan.terms {
        bytes.extend_from_slice(term.xorb.as_bytes());
        for field in [term.unpacked_bytes, term.start, term.end] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
    }
    let check = XxHash3_64::oneshot(&bytes);
    bytes.extend_from_slice(&check.to_le_bytes());
    bytes
}

fn parse(bytes: &[u8], file: &Hash) -> Option<FilePlan> {
    let (checked, check) = bytes.split_last_chunk::<8>()?;
    if XxHash3_64::oneshot(checked) != u64::from_le_bytes(*check) {
        return None;
    }
    let (head, terms) = checked.split_first_chunk::<56>()?;
    let rest = head.strip_prefix(&MAGIC)?.strip_prefix(file.as_bytes())?;
    let (size, rest) = rest.split_first_chunk::<8>()?;
    let (flags, count) = rest.split_first_chunk::<4>()?;
    let count = u32::from_le_bytes(*count.first_chunk::<4>()?);
    let (terms, left) = terms.as_chunks::<TERM_BYTES>();
    if !left.is_empty() || u32::try_from(terms.len()).ok()? != count {
        return None;
    }
    Some(FilePlan {
        terms: terms.iter().filter_map(parse_term).collect(),
        size: u64::from_le_bytes(*size),
        proven: u32::from_le_bytes(*flags) & PROVEN != 0,
    })
}

fn parse_term(bytes: &[u8; TERM_BYTES]) -> Option<PlannedTerm> {
    let (xorb, fields) = bytes.split_first_chunk::<32>()?;
    let (fields, _) = fields.as_chunks::<4>();
    let [unpacked_bytes, start, end] = fields else {
        return None;
    };
    Some(PlannedTerm {
        xorb: Hash::from_bytes(*xorb),
        unpacked_bytes: u32::from_le_bytes(*unpacked_bytes),
        start: u32::from_le_bytes(*start),
        end: u32::from_le_bytes(*end),
    })
}

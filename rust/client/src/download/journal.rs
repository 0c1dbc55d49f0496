//! Which chunks are in a part file, so that a transfer that was killed can go on.
//!
//! Append only, every record with a checksum: what a crash leaves half written is cut off. Nothing in
//! it is believed: it says where to look, and what is found there is hashed again.
//!
//! Header:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | `XWJRNL01` |
//! | 8 | 32 | what is transferred |
//! | 40 | 8 | size of the content, little-endian as all integers |
//! | 48 | 2 | length n of the label |
//! | 50 | n | label: the validator of a plain file, nothing for a Xet file |
//! | 50 + n | 8 | first 8 bytes of the chunk hash of all before |
//!
//! Record: consecutive chunks of a xorb that are on disk wherever they belong.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | number n of chunks |
//! | 4 | 4 | first chunk |
//! | 8 | 8 | where it starts in the xorb |
//! | 16 | 32 | xorb hash |
//! | 48 | 40 n | for each chunk: hash, raw length as `u32`, stored length as `u32` |
//! | 48 + 40 n | 8 | first 8 bytes of the chunk hash of all before |

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use xetway_core::Hash;
use xetway_core::hash::chunk_hash;
use xetway_core::xorb::MAX_CHUNKS;

use super::positioned::{read_exact_at, write_all_at};
use crate::error::{Error, Result};

const MAGIC: [u8; 8] = *b"XWJRNL01";
const HEAD_BYTES: usize = 50;
const RECORD_HEAD_BYTES: usize = 48;
const CHUNK_BYTES: usize = 40;
const CHECKSUM_BYTES: usize = 8;

/// What a journal is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) identity: [u8; 32],
    pub(crate) size_bytes: u64,
    pub(crate) label: Vec<u8>,
}

/// A chunk that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) hash: Hash,
    pub(crate) raw_bytes: u32,
    pub(crate) stored_bytes: u32,
}

/// Consecutive chunks that were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) xorb: Hash,
    pub(crate) first: u32,
    /// Where the first chunk starts in the xorb.
    pub(crate) start: u64,
    pub(crate) chunks: Vec<Written>,
}

/// Where a record is and what it is about.
#[derive(Clone, Copy, Debug)]
struct Entry {
    first: u32,
    count: u32,
    offset: u64,
}

/// An open journal. Memory: 16 bytes for each record that was found in it.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    end: Mutex<u64>,
    entries: HashMap<Hash, Vec<Entry>>,
}

impl Journal {
    /// Start a new journal in place of any at `path`.
    pub(crate) fn create(path: &Path, subject: &Subject) -> Result<Self> {
        let file = open(path, true).map_err(|error| Error::io("make the journal", error))?;
        let header = subject.to_bytes();
        write_all_at(&file, &header, 0).map_err(|error| Error::io("write the journal", error))?;
        Ok(Self {
            file,
            end: Mutex::new(header.len() as u64),
            entries: HashMap::new(),
        })
    }

    /// Return what the journal at `path` is about, if there is one that can be read.
    pub(crate) fn subject(path: &Path) -> Option<Subject> {
        read_subject(&mut File::open(path).ok()?)
    }

    /// Open the journal at `path` if it is about `subject`; whatever follows its last good record is cut off.
    pub(crate) fn open(path: &Path, subject: &Subject) -> Result<Option<Self>> {
        let failed = |error| Error::io("read the journal", error);
        let file = match open(path, false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut reader = BufReader::with_capacity(256 << 10, &file);
        if read_subject(&mut reader).as_ref() != Some(subject) {
            return Ok(None);
        }
        let mut end = reader.stream_position().map_err(failed)?;
        let mut entries: HashMap<Hash, Vec<Entry>> = HashMap::new();
        while let Some(run) = read_run(&mut reader) {
            let count = u32::try_from(run.chunks.len()).unwrap_or_default();
            entries.entry(run.xorb).or_default().push(Entry {
                first: run.first,
                count,
                offset: end,
            });
            end = end.saturating_add(record_bytes(run.chunks.len()) as u64);
        }
        drop(reader);
        file.set_len(end).map_err(failed)?;
        Ok(Some(Self {
            file,
            end: Mutex::new(end),
            entries,
        }))
    }

    /// Add a record. It need not survive a crash of the machine: its absence costs time only.
    pub(crate) fn append(&self, run: &Run) -> Result<()> {
        let record = run.to_bytes();
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        write_all_at(&self.file, &record, *end).map_err(|error| Error::io("write the journal", error))?;
        *end = end.saturating_add(record.len() as u64);
        Ok(())
    }

    /// Return what was known at opening of the chunks from `first` on, the first of which starts at
    /// byte `start` of `xorb`: up to `limit` of them, without a gap.
    pub(crate) fn known(&self, xorb: &Hash, first: u32, start: u64, limit: u32) -> Vec<Written> {
        let mut chunks = Vec::new();
        let (mut next, mut byte) = (first, start);
        let last = first.saturating_add(limit);
        'search: while next < last {
            // The last record about a chunk is the one that holds.
            let entries = self.entries.get(xorb).into_iter().flatten().rev();
            for entry in entries.filter(|entry| entry.first <= next && next - entry.first < entry.count) {
                let Some(run) = self.load(entry) else { continue };
                let skipped = (next - entry.first) as usize;
                let before: u64 = run
                    .chunks
                    .iter()
                    .take(skipped)
                    .map(|chunk| u64::from(chunk.stored_bytes))
                    .sum();
                if run.start.saturating_add(before) != byte {
                    continue;
                }
                for chunk in run.chunks.into_iter().skip(skipped).take((last - next) as usize) {
                    byte = byte.saturating_add(u64::from(chunk.stored_bytes));
                    next += 1;
                    chunks.push(chunk);
                }
                continue 'search;
            }
            break;
        }
        chunks
    }

    fn load(&self, entry: &Entry) -> Option<Run> {
        let mut record = vec![0; record_bytes(entry.count as usize)];
        read_exact_at(&self.file, &mut record, entry.offset).ok()?;
        read_run(&mut record.as_slice())
    }
}

fn open(path: &Path, is_new: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(is_new)
        .truncate(is_new)
        .open(path)
}

impl Subject {
    fn to_bytes(&self) -> Vec<u8> {
        let label = self.label.get(..usize::from(u16::MAX)).unwrap_or(&self.label);
        let mut bytes = Vec::with_capacity(HEAD_BYTES + label.len() + CHECKSUM_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.identity);
        bytes.extend_from_slice(&self.size_bytes.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(label.len()).unwrap_or(u16::MAX).to_le_bytes());
        bytes.extend_from_slice(label);
        seal(bytes)
    }
}

impl Run {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(record_bytes(self.chunks.len()));
        bytes.extend_from_slice(&u32::try_from(self.chunks.len()).unwrap_or_default().to_le_bytes());
        bytes.extend_from_slice(&self.first.to_le_bytes());
        bytes.extend_from_slice(&self.start.to_le_bytes());
        bytes.extend_from_slice(self.xorb.as_bytes());
        for chunk in &self.chunks {
            bytes.extend_from_slice(chunk.hash.as_bytes());
            bytes.extend_from_slice(&chunk.raw_bytes.to_le_bytes());
            bytes.extend_from_slice(&chunk.stored_bytes.to_le_bytes());
        }
        seal(bytes)
    }
}

const fn record_bytes(chunks: usize) -> usize {
    RECORD_HEAD_BYTES + chunks * CHUNK_BYTES + CHECKSUM_BYTES
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    chunk_hash(bytes).first_u64().to_le_bytes()
}

fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = checksum(&bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

fn array<const N: usize>(reader: &mut impl Read) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes).ok().map(|()| bytes)
}

fn read_subject(reader: &mut impl Read) -> Option<Subject> {
    let mut bytes = array::<HEAD_BYTES>(reader)?.to_vec();
    let label_bytes = u16::from_le_bytes(*bytes.last_chunk()?);
    let mut label = vec![0; usize::from(label_bytes)];
    reader.read_exact(&mut label).ok()?;
    bytes.extend_from_slice(&label);
    if array(reader)? != checksum(&bytes) {
        return None;
    }
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (identity, rest) = rest.split_first_chunk::<32>()?;
    let size_bytes = u64::from_le_bytes(*rest.first_chunk()?);
    (*magic == MAGIC).then_some(Subject {
        identity: *identity,
        size_bytes,
        label,
    })
}

fn read_run(reader: &mut impl Read) -> Option<Run> {
    let mut bytes = array::<RECORD_HEAD_BYTES>(reader)?.to_vec();
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    let (first, rest) = rest.split_first_chunk::<4>()?;
    let (start, xorb) = rest.split_first_chunk::<8>()?;
    let (count, first, start) = (
        u32::from_le_bytes(*count) as usize,
        u32::from_le_bytes(*first),
        u64::from_le_bytes(*start),
    );
    let xorb = Hash::from_bytes(*xorb.first_chunk()?);
    if count == 0 || count > MAX_CHUNKS {
        return None;
    }
    let head = bytes.len();
    bytes.resize(head + count * CHUNK_BYTES, 0);
    reader.read_exact(bytes.get_mut(head..)?).ok()?;
    if array(reader)? != checksum(&bytes) {
        return None;
    }
    let (records, _) = bytes.get(head..)?.as_chunks::<CHUNK_BYTES>();
    let chunks = records.iter().map(read_chunk).collect::<Option<_>>()?;
    Some(Run {
        xorb,
        first,
        start,
        chunks,
    })
}

fn read_chunk(record: &[u8; CHUNK_BYTES]) -> Option<Written> {
    let (hash, rest) = record.split_first_chunk::<32>()?;
    let (raw_bytes, stored_bytes) = rest.split_first_chunk::<4>()?;
    Some(Written {
        hash: Hash::from_bytes(*hash),
        raw_bytes: u32::from_le_bytes(*raw_bytes),
        stored_bytes: u32::from_le_bytes(*stored_bytes.first_chunk()?),
    })
}

#[cfg(test)]
mod tests;

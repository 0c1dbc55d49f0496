//! The sidecar files: a header, then records, each with a checksum, appended and never changed.
//!
//! A file is read up to the first record that is torn or damaged. The next append cuts off what
//! follows, so a kill at any point of an append loses that record alone. Reading never writes:
//! another process may read a log that is being appended to.
//!
//! | record | size | field |
//! |---|---|---|
//! | 0 | 4 | body length n, little-endian |
//! | 4 | 4 | kind, little-endian |
//! | 8 | n | body |
//! | 8 + n | 8 | XXH3-64 of the 8 + n bytes before, seeded with the record's offset, little-endian |
//!
//! The header is of fixed length for each kind of file and must be exactly the one expected.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use twox_hash::XxHash3_64;

use crate::disk::{self, Disk};

/// A log longer than this is written anew, with what still holds.
const MAX_BYTES: u64 = 4 << 20;
/// What is read of a log: more than is ever written between two looks at [`MAX_BYTES`].
const MAX_READ_BYTES: u64 = 64 << 20;
const HEAD_BYTES: usize = 8;
const CHECK_BYTES: usize = 8;

/// One record before it is framed.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) kind: u32,
    pub(crate) body: Vec<u8>,
}

/// What was found when a log was opened to append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Continuity {
    /// All records written so far are there.
    Kept,
    /// They are gone: another process deleted the file.
    Lost,
    /// They were cut off because there were too many: what still holds must be written again.
    StartedOver,
}

/// One sidecar file as its only writer sees it.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    header: Vec<u8>,
    /// End of the last good record; 0 before there is a header.
    end: u64,
    allocated_bytes: u64,
}

impl Log {
    /// Name a log; nothing is read yet.
    pub(crate) const fn new(path: PathBuf, header: Vec<u8>) -> Self {
        Self {
            path,
            header,
            end: 0,
            allocated_bytes: 0,
        }
    }

    /// Read the file, if there is one, calling `apply` with kind and body of each good record.
    ///
    /// A record that `apply` refuses counts as damaged.
    pub(crate) fn load(&mut self, mut apply: impl FnMut(u32, &[u8]) -> bool) -> io::Result<()> {
        self.end = 0;
        self.allocated_bytes = 0;
        let Some(file) = disk::if_there(File::open(&self.path))? else {
            return Ok(());
        };
        self.allocated_bytes = disk::allocated_bytes(&file.metadata()?);
        let mut bytes = Vec::new();
        file.take(MAX_READ_BYTES).read_to_end(&mut bytes)?;
        let Some(mut rest) = bytes.strip_prefix(self.header.as_slice()) else {
            return Ok(());
        };
        self.end = self.header.len() as u64;
        while let Some((kind, body, after)) = split_record(rest, self.end) {
            if !apply(kind, body) {
                break;
            }
            self.end += (rest.len() - after.len()) as u64;
            rest = after;
        }
        Ok(())
    }

    /// Say whether there is no record, not even a header.
    pub(crate) const fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Bytes of the disk the file took when it was last looked at.
    pub(crate) const fn allocated_bytes(&self) -> u64 {
        self.allocated_bytes
    }

    /// Open the file to append, cutting off what follows the last good record.
    pub(crate) fn open(&mut self) -> io::Result<(File, Continuity)> {
        let file = disk::open_or_make(&self.path)?;
        let bytes = file.metadata()?.len();
        let continuity = if bytes < self.end {
            Continuity::Lost
        } else if self.end > MAX_BYTES {
            Continuity::StartedOver
        } else {
            Continuity::Kept
        };
        if continuity != Continuity::Kept {
            self.end = 0;
        }
        if bytes > self.end {
            file.set_len(self.end)?;
        }
        Ok((file, continuity))
    }

    /// Append records with one write. After an error none of them counts.
    pub(crate) fn append(&mut self, disk: &Disk, file: &File, records: &[Record]) -> io::Result<()> {
        let mut bytes = Vec::new();
        if self.end == 0 {
            bytes.extend_from_slice(&self.header);
        }
        for record in records {
            push_record(&mut bytes, self.end, record);
        }
        let outcome = disk.write_all_at(file, &bytes, self.end);
        self.allocated_bytes = file
            .metadata()
            .map_or(self.allocated_bytes, |metadata| disk::allocated_bytes(&metadata));
        outcome?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Delete the file.
    pub(crate) fn remove(&mut self) -> io::Result<()> {
        disk::remove_if_there(&self.path)?;
        self.end = 0;
        self.allocated_bytes = 0;
        Ok(())
    }
}

/// Split the first record off: kind, body and what follows it.
fn split_record(bytes: &[u8], offset: u64) -> Option<(u32, &[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let [n0, n1, n2, n3, k0, k1, k2, k3] = *head;
    let body_bytes = usize::try_from(u32::from_le_bytes([n0, n1, n2, n3])).ok()?;
    let (body, rest) = rest.split_at_checked(body_bytes)?;
    let (check, rest) = rest.split_first_chunk::<CHECK_BYTES>()?;
    let checked = bytes.get(..HEAD_BYTES + body_bytes)?;
    let right = XxHash3_64::oneshot_with_seed(offset, checked) == u64::from_le_bytes(*check);
    right.then_some((u32::from_le_bytes([k0, k1, k2, k3]), body, rest))
}

fn push_record(bytes: &mut Vec<u8>, base: u64, record: &Record) {
    let start = bytes.len();
    // Bodies are bounded by the chunks of a xorb and the blocks of one append.
    let body_bytes = u32::try_from(record.body.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&body_bytes.to_le_bytes());
    bytes.extend_from_slice(&record.kind.to_le_bytes());
    bytes.extend_from_slice(&record.body);
    let checked = bytes.get(start..).unwrap_or_default();
    let check = XxHash3_64::oneshot_with_seed(base + start as u64, checked);
    bytes.extend_from_slice(&check.to_le_bytes());
}

/// Make a header: 8 bytes of name and version, the identity of the content, XXH3-64 of both.
pub(crate) fn header(magic: [u8; 8], identity: &[&[u8]]) -> Vec<u8> {
    let mut header = magic.to_vec();
    for part in identity {
        header.extend_from_slice(part);
    }
    let check = XxHash3_64::oneshot(&header);
    header.extend_from_slice(&check.to_le_bytes());
    header
}

/// Read the first `N` bytes of a file; `None` if there are fewer.
pub(crate) fn read_head<const N: usize>(path: &Path) -> io::Result<Option<[u8; N]>> {
    let Some(mut file) = disk::if_there(fs::File::open(path))? else {
        return Ok(None);
    };
    let mut head = [0; N];
    match file.read_exact(&mut head) {
        Ok(()) => Ok(Some(head)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(path: &Path) -> (Log, Vec<(u32, Vec<u8>)>) {
        let mut log = Log::new(path.to_path_buf(), header(*b"TESTLOG1", &[b"identity"]));
        let mut records = Vec::new();
        log.load(|kind, body| {
            records.push((kind, body.to_vec()));
            true
        })
        .unwrap();
        (log, records)
    }

    fn append(log: &mut Log, kind: u32, body: &[u8]) -> Continuity {
        let (file, continuity) = log.open().unwrap();
        let record = Record {
            kind,
            body: body.to_vec(),
        };
        log.append(&Disk::default(), &file, &[record]).unwrap();
        continuity
    }

    #[test]
    fn a_log_cut_anywhere_keeps_the_records_before_and_takes_new_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/log");
        let (mut log, records) = loaded(&path);
        assert!(records.is_empty() && log.is_empty());
        for kind in 0..4 {
            assert_eq!(append(&mut log, kind, &vec![7; kind as usize * 10]), Continuity::Kept);
        }
        let (_, whole) = loaded(&path);
        assert_eq!(whole.len(), 4);
        let bytes = fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            let (mut log, records) = loaded(&path);
            assert!(records.len() < 4 && whole.starts_with(&records));
            append(&mut log, 9, b"new");
            let (_, after) = loaded(&path);
            assert_eq!(after[..records.len()], records);
            assert_eq!(after[records.len()..], [(9, b"new".to_vec())]);
        }
    }

    #[test]
    fn records_count_only_where_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (mut log, _) = loaded(&path);
        append(&mut log, 1, b"one");
        let first = fs::metadata(&path).unwrap().len() as usize;
        append(&mut log, 2, b"two");
        let mut bytes = fs::read(&path).unwrap();
        // The second record once more, after itself.
        bytes.extend_from_within(first..);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(loaded(&path).1.len(), 2);
    }

    #[test]
    fn what_followed_a_damaged_record_does_not_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (mut log, _) = loaded(&path);
        append(&mut log, 1, b"one");
        let first = fs::metadata(&path).unwrap().len() as usize;
        append(&mut log, 2, b"two");
        append(&mut log, 3, b"six");
        let mut bytes = fs::read(&path).unwrap();
        bytes[first] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let (mut log, records) = loaded(&path);
        assert_eq!(records, [(1, b"one".to_vec())]);
        // As long as the damaged one: the third would follow it.
        append(&mut log, 4, b"new");
        assert_eq!(loaded(&path).1, [(1, b"one".to_vec()), (4, b"new".to_vec())]);
    }

    #[test]
    fn a_deleted_log_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (mut log, _) = loaded(&path);
        append(&mut log, 1, b"one");
        fs::remove_file(&path).unwrap();
        assert_eq!(append(&mut log, 2, b"two"), Continuity::Lost);
        assert_eq!(loaded(&path).1, [(2, b"two".to_vec())]);
    }
}

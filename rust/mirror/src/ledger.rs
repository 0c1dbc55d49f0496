//! Who was shown bytes that nobody had proven yet: remembered over restarts of the server.
//!
//! A client that was shown a wrong byte must not end well, even if the server was restarted in the
//! middle of its transfer. So before the first unproven byte of a file goes to a client, that is written
//! down; so is that bytes turned out wrong, which turns those clients into poisoned ones. Records are
//! appended and never changed; the file is rewritten without those that no longer matter.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | kind: 1 shown, 2 changed, 3 settled, 4 poisoned |
//! | 1 | 7 | 0 |
//! | 8 | 32 | file hash |
//! | 40 | 16 | viewer; of kind 2 the generation |
//! | 56 | 8 | seconds since 1970 |
//! | 64 | 8 | first bytes of the keyed BLAKE3 of all before |
//!
//! All integers are little-endian. A torn or damaged record is passed over.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use xetway_core::Hash;
use xetway_core::hash::data_hash;

use crate::error::Result;

const RECORD_BYTES: usize = 72;
const CHECKED_BYTES: usize = 64;
/// How long a client is remembered.
const REMEMBERED_S: u64 = 24 * 60 * 60;
/// The file is rewritten when it holds this many records more than were needed last time.
const SLACK: usize = 16 * 1024;

/// The generation of a file of which nothing ever turned out wrong.
pub(crate) const FIRST_GENERATION: u64 = 1;

/// Whoever bytes are shown to: a session, or one of the two below.
pub(crate) type Viewer = u128;

/// All who read decoded content: they have no sessions.
pub(crate) const PLAIN: Viewer = 0;
/// All who read xorbs without naming a session.
pub(crate) const NAMELESS: Viewer = 1;

/// Name a session.
pub(crate) fn viewer_of(session: Option<&str>) -> Viewer {
    let Some(session) = session else { return NAMELESS };
    let hash = data_hash(session.as_bytes());
    // Never one of the two above.
    hash.as_bytes()
        .first_chunk()
        .map_or(NAMELESS, |bytes| u128::from_le_bytes(*bytes) | 2)
}

/// What is remembered about a file; times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) generation: u64,
    /// Who was shown unproven bytes of this generation.
    pub(crate) shown: HashMap<Viewer, u64>,
    /// Who was shown bytes that turned out wrong.
    pub(crate) poisoned: HashMap<Viewer, u64>,
}

impl Default for Remembered {
    fn default() -> Self {
        Self {
            generation: FIRST_GENERATION,
            shown: HashMap::new(),
            poisoned: HashMap::new(),
        }
    }
}

impl Remembered {
    fn forget_before(&mut self, oldest_s: u64) {
        self.shown.retain(|_, time_s| *time_s >= oldest_s);
        self.poisoned.retain(|_, time_s| *time_s >= oldest_s);
    }

    fn is_needed(&self) -> bool {
        *self != Self::default()
    }
}

#[derive(Clone, Copy)]
enum Event {
    Shown(Viewer),
    Changed(u64),
    Settled,
    Poisoned(Viewer),
}

/// What is remembered about all files. Cheap to clone. Blocking, as all that writes.
#[derive(Clone, Debug)]
pub(crate) struct Ledger(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    records: usize,
    rewrite_at: usize,
    files: HashMap<Hash, Remembered>,
}

impl Ledger {
    /// Read what is remembered in `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("shown.log");
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            outcome => outcome.map_err(failed("read what was shown"))?,
        };
        let mut files = HashMap::new();
        let (records, _) = bytes.as_chunks::<RECORD_BYTES>();
        for (file, event, time_s) in records.iter().filter_map(parse) {
            apply(&mut files, file, event, time_s);
        }
        let (file, records) = rewrite(&path, &mut files).map_err(failed("write what was shown"))?;
        Ok(Self(Arc::new(Mutex::new(Inner {
            path,
            file,
            records,
            rewrite_at: records * 2 + SLACK,
            files,
        }))))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Let nobody write or look anything up until the return value is dropped.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Sized + '_ {
        self.lock()
    }

    /// Return what is remembered about a file.
    pub(crate) fn file(&self, file: &Hash) -> Remembered {
        let mut remembered = self.lock().files.get(file).cloned().unwrap_or_default();
        remembered.forget_before(now_s().saturating_sub(REMEMBERED_S));
        remembered
    }

    /// Remember that `viewer` is about to be shown unproven bytes of `file`.
    pub(crate) fn shown(&self, file: Hash, viewer: Viewer) -> Result<()> {
        self.write(file, Event::Shown(viewer))
    }

    /// Remember that what was shown of `file` so far turned out wrong.
    pub(crate) fn changed(&self, file: Hash, generation: u64) -> Result<()> {
        self.write(file, Event::Changed(generation))
    }

    /// Remember that all that was shown of `file` in this generation was right.
    pub(crate) fn settled(&self, file: Hash) -> Result<()> {
        if self.lock().files.get(&file).is_none_or(|known| known.shown.is_empty()) {
            return Ok(());
        }
        self.write(file, Event::Settled)
    }

    fn write(&self, file: Hash, event: Event) -> Result<()> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let time_s = now_s();
        apply(&mut inner.files, file, event, time_s);
        inner.records += 1;
        if inner.records < inner.rewrite_at {
            let record = encode(file, event, time_s);
            return inner.file.write_all(&record).map_err(failed("write what was shown"));
        }
        let (file, records) = rewrite(&inner.path, &mut inner.files).map_err(failed("write what was shown"))?;
        (inner.file, inner.records, inner.rewrite_at) = (file, records, records * 2 + SLACK);
        Ok(())
    }
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> crate::error::Error {
    move |error| xetway_client::Error::io(action, error).into()
}

pub(crate) fn now_s() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.map_or(0, |elapsed| elapsed.as_secs())
}

fn apply(files: &mut HashMap<Hash, Remembered>, file: Hash, event: Event, time_s: u64) {
    let known = files.entry(file).or_default();
    match event {
        Event::Shown(viewer) => {
            known.shown.insert(viewer, time_s);
        }
        Event::Changed(generation) => {
            let shown = std::mem::take(&mut known.shown);
            known.poisoned.extend(shown.into_keys().map(|viewer| (viewer, time_s)));
            known.generation = known.generation.max(generation);
        }
        Event::Settled => known.shown.clear(),
        Event::Poisoned(viewer) => {
            known.poisoned.insert(viewer, time_s);
        }
    }
    if !known.is_needed() {
        files.remove(&file);
    }
}

/// Write all that is still needed to a new file and put it in place of the old one.
fn rewrite(path: &Path, files: &mut HashMap<Hash, Remembered>) -> io::Result<(File, usize)> {
    let oldest_s = now_s().saturating_sub(REMEMBERED_S);
    files.retain(|_, known| {
        known.forget_before(oldest_s);
        known.is_needed()
    });
    let mut bytes = Vec::new();
    for (file, known) in &*files {
        bytes.extend_from_slice(&encode(*file, Event::Changed(known.generation), oldest_s));
        for (viewer, time_s) in &known.poisoned {
            bytes.extend_from_slice(&encode(*file, Event::Poisoned(*viewer), *time_s));
        }
        for (viewer, time_s) in &known.shown {
            bytes.extend_from_slice(&encode(*file, Event::Shown(*viewer), *time_s));
        }
    }
    let part = path.with_extension("log.part");
    fs::write(&part, &bytes)?;
    fs::rename(&part, path)?;
    Ok((OpenOptions::new().append(true).open(path)?, bytes.len() / RECORD_BYTES))
}

fn encode(file: Hash, event: Event, time_s: u64) -> Vec<u8> {
    let (kind, value) = match event {
        Event::Shown(viewer) => (1, viewer),
        Event::Changed(generation) => (2, u128::from(generation)),
        Event::Settled => (3, 0),
        Event::Poisoned(viewer) => (4, viewer),
    };
    let mut bytes = Vec::with_capacity(RECORD_BYTES);
    bytes.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(file.as_bytes());
    bytes.extend_from_slice(&value.to_le_bytes());
    bytes.extend_from_slice(&time_s.to_le_bytes());
    let check = check_of(&bytes);
    bytes.extend_from_slice(&check);
    bytes
}

fn check_of(bytes: &[u8]) -> [u8; 8] {
    data_hash(bytes).as_bytes().first_chunk().copied().unwrap_or_default()
}

fn parse(record: &[u8; RECORD_BYTES]) -> Option<(Hash, Event, u64)> {
    let (checked, check) = record.split_first_chunk::<CHECKED_BYTES>()?;
    if check_of(checked) != *check {
        return None;
    }
    let (head, rest) = checked.split_first_chunk::<8>()?;
    let (file, rest) = rest.split_first_chunk::<32>()?;
    let (value, time_s) = rest.split_first_chunk::<16>()?;
    let value = u128::from_le_bytes(*value);
    let event = match head.first()? {
        1 => Event::Shown(value),
        2 => Event::Changed(u64::try_from(value).ok()?),
        3 => Event::Settled,
        4 => Event::Poisoned(value),
        _ => return None,
    };
    let time_s = u64::from_le_bytes(*time_s.first_chunk()?);
    Some((Hash::from_bytes(*file), event, time_s))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{FIRST_GENERATION, Hash, Ledger, RECORD_BYTES, Remembered, viewer_of};

    #[test]
    fn survives_a_restart_and_a_torn_record() {
        let [a, b, c] = [1, 2, 3].map(|byte| Hash::from_bytes([byte; 32]));
        let (ann, bob) = (viewer_of(Some("ann")), viewer_of(Some("bob")));
        for torn in 0..RECORD_BYTES {
            let folder = tempfile::tempdir().unwrap();
            let ledger = Ledger::open(folder.path()).unwrap();
            ledger.shown(a, ann).unwrap();
            ledger.changed(a, FIRST_GENERATION + 1).unwrap();
            ledger.shown(a, bob).unwrap();
            ledger.shown(b, ann).unwrap();
            ledger.settled(b).unwrap();
            ledger.shown(c, bob).unwrap();
            drop(ledger);
            let path = folder.path().join("shown.log");
            let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
            file.write_all(&vec![1; torn]).unwrap();
            // Twice: what is rewritten is read as well.
            drop(Ledger::open(folder.path()).unwrap());
            let ledger = Ledger::open(folder.path()).unwrap();
            let known = ledger.file(&a);
            assert_eq!(known.generation, FIRST_GENERATION + 1);
            assert!(known.poisoned.contains_key(&ann) && !known.poisoned.contains_key(&bob));
            assert!(known.shown.contains_key(&bob) && !known.shown.contains_key(&ann));
            assert_eq!(ledger.file(&b), Remembered::default());
            assert!(ledger.file(&c).shown.contains_key(&bob));
        }
    }
}

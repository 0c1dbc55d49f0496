//! The store: one folder of xorbs, and what can be asked of it.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use xetway_core::plan::{self, Plan};
use xetway_core::shard::Term;
use xetway_core::xorb::XorbMeta;
use xetway_core::{Error as FormatError, Hash};

use crate::error::{Error, Result};
use crate::footers::Footers;
use crate::ingest::{FileIngest, Ingested, ingest_file};
use crate::layout::Layout;
use crate::part::{self, Part, Session};
use crate::reader::ContentReader;
use crate::scratch::{Run, Scratch};
use crate::serialized::SerializedReader;
use crate::sha256::Sha256Reader;
use crate::writer::XorbWriter;
use crate::xorb_file::XorbFile;

/// What [`XorbStore::verify`] reads at once.
const VERIFY_BYTES: usize = 256 * 1024;

/// What readers and writers need of their store; they may outlive the [`XorbStore`] they came from.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) layout: Layout,
    pub(crate) footers: Footers,
    session: Mutex<Weak<Session>>,
}

impl Shared {
    /// Open a xorb for reading.
    pub(crate) fn open(&self, xorb: Hash) -> Result<XorbFile> {
        XorbFile::open(&self.layout, &self.footers, xorb)
    }

    /// Make a temporary file, in the session of those that are in use already.
    pub(crate) fn part(&self) -> Result<Part> {
        let mut current = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let session = match current.upgrade() {
            Some(session) => session,
            None => Session::begin(self.layout.parts())?,
        };
        *current = Arc::downgrade(&session);
        session.part()
    }
}

/// A folder of xorbs. Cheap to clone; usable from any number of threads and processes at once.
#[derive(Clone, Debug)]
pub struct XorbStore(pub(crate) Arc<Shared>);

impl XorbStore {
    /// Use the store under `root`, making its folders if they are not there.
    pub fn open(root: &Path) -> Result<Self> {
        let layout = Layout::make(root)?;
        let session = Mutex::new(Weak::new());
        Ok(Self(Arc::new(Shared {
            layout,
            footers: Footers::default(),
            session,
        })))
    }

    /// Start storing the xorb `expected` from its serialized form.
    pub fn create(&self, expected: Hash) -> Result<XorbWriter> {
        XorbWriter::receive(Arc::clone(&self.0), expected)
    }

    /// Start storing content that is chunked and packed here.
    pub fn ingest(&self) -> FileIngest {
        FileIngest::new(Arc::clone(&self.0))
    }

    /// Take in the file at `path`, using all cores.
    pub fn ingest_file(&self, path: &Path) -> Result<Ingested> {
        ingest_file(Arc::clone(&self.0), path)
    }

    /// Say whether a xorb has a file; its bytes are not looked at.
    pub fn exists(&self, xorb: &Hash) -> Result<bool> {
        self.0
            .layout
            .xorb(xorb)
            .try_exists()
            .map_err(Error::io("look for a xorb"))
    }

    /// Describe a xorb, from its proven footer. [`Error::Missing`] if it has no file.
    pub fn meta(&self, xorb: &Hash) -> Result<Arc<XorbMeta>> {
        self.0.open(*xorb).map(|file| Arc::clone(file.meta()))
    }

    /// Describe a xorb that someone claims exists: it is the claim that is wrong if it doesn't.
    pub fn claimed_meta(&self, xorb: &Hash) -> Result<Arc<XorbMeta>> {
        self.meta(xorb).map_err(|error| match error {
            Error::Missing { xorb } => Error::Format(FormatError::UnknownXorb { xorb }),
            other => other,
        })
    }

    /// Read bytes [start, end) of a xorb's chunk data.
    pub fn open_xorb(&self, xorb: &Hash, start: u64, end: u64) -> Result<SerializedReader> {
        SerializedReader::open(self.0.open(*xorb)?, start, end)
    }

    /// Read content bytes [start, end) of the file that `terms` describe.
    pub fn open_file(&self, terms: Vec<Term>, start: u64, end: u64) -> Result<ContentReader> {
        ContentReader::open(Arc::clone(&self.0), terms, start, end)
    }

    /// Compute the SHA-256 of the file that `terms` describe, about `step_bytes` at a time.
    pub fn sha256_file(&self, terms: Vec<Term>, step_bytes: u64) -> Result<Sha256Reader> {
        let size = terms
            .iter()
            .map(|term| u64::from(term.unpacked_bytes))
            .fold(0, u64::saturating_add);
        self.open_file(terms, 0, size)
            .map(|reader| Sha256Reader::new(reader, step_bytes))
    }

    /// Plan the reconstruction of content bytes [start, end).
    pub fn plan(&self, terms: &[Term], start: u64, end: u64) -> Result<Plan> {
        plan::plan(terms, start, end, |xorb| self.meta(xorb))
    }

    /// Read a whole xorb past any cache and prove its footer and every chunk; returns the file's length.
    ///
    /// The bytes read are in the operating system's cache or on the disk: only the latter shows decay.
    pub fn verify(&self, xorb: &Hash) -> Result<u64> {
        let file = XorbFile::open_afresh(&self.0.layout, *xorb)?;
        let count = u32::try_from(file.meta().len()).unwrap_or(u32::MAX);
        let Scratch {
            mut stored,
            mut raw,
            mut decoder,
        } = Scratch::default();
        let mut first = 0;
        while first < count {
            let length = |start: u64, end: u64, _| end.saturating_sub(start);
            let run = Run::choose(&file, first, count, VERIFY_BYTES, length)?;
            let stored = run.read(&file, &mut stored)?;
            for chunk in run.chunks(&file, stored) {
                let (index, bytes) = chunk?;
                file.prove(&mut decoder, index, bytes, &mut raw)?;
            }
            first = run.end;
        }
        Ok(file.file_bytes())
    }

    /// Remove a xorb; false if it has no file. Readers that have it open go on on systems that allow it.
    pub fn remove(&self, xorb: &Hash) -> Result<bool> {
        self.0.footers.remove(xorb);
        match fs::remove_file(self.0.layout.xorb(xorb)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("remove a xorb")(error)),
        }
    }

    /// List the xorbs that have a file, in the order of their hashes.
    pub fn list(&self) -> Result<Vec<Hash>> {
        let mut xorbs = self.0.layout.list()?;
        xorbs.sort_unstable();
        Ok(xorbs)
    }

    /// Remove temporary files whose writers are gone, of any process; returns how many.
    pub fn clean_temporary(&self) -> Result<u64> {
        part::clean(self.0.layout.parts())
    }

    /// Forget what is cached about a xorb.
    pub fn invalidate(&self, xorb: &Hash) {
        self.0.footers.remove(xorb);
    }
}

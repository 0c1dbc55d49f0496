//! A plain file on its way to disk: blocks written, hashed and noted in order.

use std::sync::Arc;

use bytes::Bytes;
use ring::digest::Context;
use tokio::task::JoinHandle;
use xetway_core::Hash;
use xetway_core::hash::chunk_hash;

use super::Digest;
use crate::compute;
use crate::download::journal::{Journal, Run, Subject, Written};
use crate::download::part::{Part, Paths};
use crate::download::progress::Meter;
use crate::error::{Error, Result};

/// The hash so far, and the bytes written.
pub(super) type Ended = (Option<Context>, Result<u64>);

/// A block on its way to disk.
pub(super) struct Writing {
    work: JoinHandle<Ended>,
}

impl Writing {
    /// Wait until it is there. Safe to drop while waiting.
    pub(super) async fn ended(&mut self) -> Ended {
        match (&mut self.work).await {
            Ok(ended) => ended,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => (None, Err(Error::Cancelled)),
        }
    }
}

/// A plain file on its way to disk: everything before `position` is written, hashed and noted.
pub(super) struct Plain {
    pub(super) part: Arc<Part>,
    journal: Option<Arc<Journal>>,
    pub(super) digest: Option<Digest>,
    context: Option<Context>,
    pub(super) validator: Vec<u8>,
    pub(super) size_bytes: Option<u64>,
    pub(super) position: u64,
    block: u32,
}

impl Plain {
    pub(super) fn open(paths: Paths, digest: Option<Digest>, size: Option<u64>, resume: bool) -> Result<Self> {
        let part = Arc::new(Part::open(paths)?);
        let path = &part.paths().journal;
        let usable = |subject: &Subject| {
            let is_sure = digest.is_some() || !subject.label.is_empty();
            let same_size = size.is_none_or(|size| size == subject.size_bytes);
            is_sure && same_size && subject.identity == identity(digest)
        };
        let subject = Journal::subject(path).filter(|subject| resume && usable(subject));
        let journal = match &subject {
            Some(subject) => Journal::open(path, subject)?,
            None => None,
        };
        let mut plain = Self {
            part,
            journal: journal.map(Arc::new),
            digest,
            context: None,
            validator: Vec::new(),
            size_bytes: size,
            position: 0,
            block: 0,
        };
        if let (Some(subject), true) = (subject, plain.journal.is_some()) {
            plain.size_bytes = Some(subject.size_bytes);
            plain.context = digest.map(|digest| digest.context(subject.size_bytes));
            plain.validator = subject.label;
            plain.adopt();
        }
        plain.part.set_len(plain.position)?;
        Ok(plain)
    }

    /// Go through the blocks that the journal names, as far as they are really on disk.
    fn adopt(&mut self) {
        let Some(journal) = self.journal.clone() else { return };
        let mut buffer = Vec::new();
        loop {
            let known = journal.known(&Hash::ZERO, self.block, self.position, 1);
            let Some(block) = known.first() else { return };
            buffer.resize(block.raw_bytes as usize, 0);
            let end = self.position.saturating_add(u64::from(block.raw_bytes));
            let is_inside = self.size_bytes.is_some_and(|size| end <= size);
            if !is_inside || self.part.read_at(&mut buffer, self.position).is_err() || chunk_hash(&buffer) != block.hash
            {
                return;
            }
            if let Some(context) = &mut self.context {
                context.update(&buffer);
            }
            self.position = end;
            self.block += 1;
        }
    }

    /// Forget what was received.
    pub(super) fn restart(&mut self) -> Result<()> {
        (self.position, self.block, self.context, self.journal) = (0, 0, None, None);
        self.validator.clear();
        self.part.set_len(0)
    }

    /// Begin with content of this size and validator.
    pub(super) fn begin(&mut self, size: Option<u64>, validator: &str) -> Result<()> {
        self.part.set_len(0)?;
        self.size_bytes = size;
        self.validator = validator.as_bytes().to_vec();
        self.context = match (self.digest, size) {
            (Some(Digest::GitSha1(_)), None) => {
                return Err(Error::Config {
                    what: "size",
                    message: "the server does not tell the size, without which a git SHA-1 cannot be checked"
                        .to_owned(),
                });
            }
            (digest, size) => digest.map(|digest| digest.context(size.unwrap_or(0))),
        };
        let subject = Subject {
            identity: identity(self.digest),
            // Not known means that no later transfer can go on.
            size_bytes: size.unwrap_or(u64::MAX),
            label: self.validator.clone(),
        };
        let journal = Journal::create(&self.part.paths().journal, &subject)?;
        self.journal = Some(Arc::new(journal));
        Ok(())
    }

    pub(super) fn write(&mut self, pieces: Vec<Bytes>, bytes: usize) -> Writing {
        let (part, journal) = (Arc::clone(&self.part), self.journal.clone());
        let (position, first) = (self.position, self.block);
        let mut context = self.context.take();
        let work = compute::run(move || {
            let mut block = Vec::with_capacity(bytes);
            for piece in pieces {
                block.extend_from_slice(&piece);
            }
            if let Some(context) = &mut context {
                context.update(&block);
            }
            let outcome = write_block(&part, journal.as_deref(), &block, position, first);
            (context, outcome.map(|()| bytes as u64))
        });
        Writing {
            work: tokio::spawn(work),
        }
    }

    /// Count a block that was written.
    pub(super) fn settle(&mut self, (context, outcome): Ended, meter: &Meter) -> Result<()> {
        self.context = context;
        let bytes = outcome?;
        self.position += bytes;
        self.block += 1;
        if let Some(size) = self.size_bytes.filter(|size| *size < self.position) {
            return Err(Error::Integrity {
                what: "size of the file",
                expected: size.to_string(),
                actual: format!("at least {}", self.position),
            });
        }
        meter.set_total(self.size_bytes.unwrap_or(self.position));
        meter.done(bytes);
        Ok(())
    }

    /// Check size and digest and put the file in its place.
    pub(super) fn finish(self) -> Result<()> {
        if let (Some(digest), context) = (self.digest, self.context) {
            let context = context.unwrap_or_else(|| digest.context(0));
            let actual = context.finish();
            if actual.as_ref() != digest.bytes() {
                self.part.discard()?;
                return Err(Error::Integrity {
                    what: "content of the file",
                    expected: hex(digest.bytes()),
                    actual: hex(actual.as_ref()),
                });
            }
        }
        self.part.publish()
    }
}

fn write_block(part: &Part, journal: Option<&Journal>, block: &[u8], position: u64, first: u32) -> Result<()> {
    part.write_at(block, position)?;
    let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
    let Some(journal) = journal else { return Ok(()) };
    journal.append(&Run {
        xorb: Hash::ZERO,
        first,
        start: position,
        chunks: vec![Written {
            hash: chunk_hash(block),
            raw_bytes: length,
            stored_bytes: length,
        }],
    })
}

/// What a journal is about: the digest, if there is one.
fn identity(digest: Option<Digest>) -> [u8; 32] {
    let bytes = digest.as_ref().map_or(&[][..], Digest::bytes);
    *chunk_hash(&[b"plain ", bytes].concat()).as_bytes()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

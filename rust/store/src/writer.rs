//! A xorb on its way into the store: parsed while it arrives, durable before it gets its name.

use std::fs;
use std::io;
use std::sync::Arc;

use xetway_core::Hash;
use xetway_core::xorb::{XorbMeta, XorbParser, write_footer};

use crate::error::{Error, Result};
use crate::part::{FinishedPart, Part};
use crate::store::Shared;

/// Size of a finished xorb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Number of chunks.
    pub chunks: u64,
    /// Bytes of content.
    pub raw_bytes: u64,
    /// Bytes of chunk data: what can be read of it, without the footer.
    pub stored_bytes: u64,
}

#[derive(Debug)]
enum State {
    Receiving { part: Part, parser: Box<XorbParser> },
    Finished { part: FinishedPart },
    Closed,
}

/// Takes one xorb. Dropped before [`Self::publish`], it leaves nothing behind.
#[derive(Debug)]
pub struct XorbWriter {
    store: Arc<Shared>,
    xorb: Hash,
    state: State,
}

const ENDED: Error = Error::State {
    object: "xorb writer",
    problem: "was finished, aborted or has failed",
};
const UNFINISHED: Error = Error::State {
    object: "xorb writer",
    problem: "is not finished",
};

impl XorbWriter {
    /// Take the serialized form of the xorb `expected`.
    pub(crate) fn receive(store: Arc<Shared>, expected: Hash) -> Result<Self> {
        let state = State::Receiving {
            part: store.part()?,
            parser: Box::new(XorbParser::new(Some(expected))),
        };
        Ok(Self {
            store,
            xorb: expected,
            state,
        })
    }

    /// Take over the finished file of the xorb; it waits to be published.
    pub(crate) const fn packed(store: Arc<Shared>, xorb: Hash, part: FinishedPart) -> Self {
        let state = State::Finished { part };
        Self { store, xorb, state }
    }

    /// Take the next bytes. After an error the writer is closed and its file gone.
    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        let State::Receiving { part, parser } = &mut self.state else {
            return Err(ENDED);
        };
        // Only chunks that were proven are written: a footer that came along is checked and made anew.
        let outcome = parser.push(data, &mut |chunk| part.write(chunk.stored));
        if outcome.is_err() {
            self.abort();
        }
        outcome
    }

    /// Check that the xorb is whole and make its bytes durable.
    pub fn finish(&mut self) -> Result<Finished> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Receiving { part, parser } => {
                let (part, finished) = complete(part, &parser.finish()?)?;
                let part = part.finish()?;
                self.state = State::Finished { part };
                Ok(finished)
            }
            state => {
                self.state = state;
                Err(ENDED)
            }
        }
    }

    /// Give the finished xorb its name, durably; false if the same xorb was there already.
    ///
    /// A file of the same length with a sound footer is kept, unless `replace` says otherwise; any other is replaced
    /// at once: there is no moment without a file.
    pub fn publish(&mut self, replace: bool) -> Result<bool> {
        let part = match std::mem::replace(&mut self.state, State::Closed) {
            State::Finished { part } => part,
            State::Closed => return Err(ENDED),
            state @ State::Receiving { .. } => {
                self.state = state;
                return Err(UNFINISHED);
            }
        };
        let target = self.store.layout.xorb(&self.xorb);
        if !replace && self.is_there(&part)? {
            return Ok(false);
        }
        let folder = self.store.layout.make_folder_of(&target)?;
        part.move_to(&target, &folder)?;
        self.store.footers.remove(&self.xorb);
        Ok(true)
    }

    fn is_there(&self, part: &FinishedPart) -> Result<bool> {
        match fs::metadata(self.store.layout.xorb(&self.xorb)) {
            Ok(metadata) => Ok(metadata.len() == part.bytes() && self.store.open(self.xorb).is_ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("look for a xorb")(error)),
        }
    }

    /// Drop what was written. Does nothing after [`Self::publish`] or a second time.
    pub fn abort(&mut self) {
        self.state = State::Closed;
    }
}

/// Append the footer to a part that holds the chunk data `meta` describes.
pub(crate) fn complete(mut part: Part, meta: &XorbMeta) -> Result<(Part, Finished)> {
    let mut footer = Vec::new();
    write_footer(meta, &mut footer);
    part.write(&footer)?;
    let finished = Finished {
        chunks: meta.len() as u64,
        raw_bytes: u64::from(meta.raw_bytes()),
        stored_bytes: u64::from(meta.chunk_data_bytes()),
    };
    Ok((part, finished))
}

//! Bytes in order, for one reader.

use bytes::Bytes;

use crate::content::ContentReader;
use crate::error::Result;
use crate::plain::PlainReader;
use crate::reader::XorbReader;

/// Bytes on their way to one reader. Dropping it ends the reading, not what others wait for.
#[derive(Debug)]
pub struct Stream {
    source: Source,
    proven: bool,
}

#[derive(Debug)]
enum Source {
    Xorb(XorbReader),
    Content(Box<ContentReader>),
    Plain(Box<PlainReader>),
}

impl Stream {
    pub(crate) fn xorb(reader: XorbReader, proven: bool) -> Self {
        let source = Source::Xorb(reader);
        Self { source, proven }
    }

    pub(crate) fn content(reader: ContentReader, proven: bool) -> Self {
        let source = Source::Content(Box::new(reader));
        Self { source, proven }
    }

    pub(crate) fn plain(reader: PlainReader) -> Self {
        let proven = reader.is_proven();
        let source = Source::Plain(Box::new(reader));
        Self { source, proven }
    }

    /// Return the next bytes, about `max_bytes`: at least a chunk, where there are chunks; `None` after the last.
    ///
    /// An error is final. Safe to drop while waiting.
    pub async fn next(&mut self, max_bytes: usize) -> Result<Option<Bytes>> {
        match &mut self.source {
            Source::Xorb(reader) => reader.next(max_bytes).await,
            Source::Content(reader) => reader.next(max_bytes).await,
            Source::Plain(reader) => reader.next(max_bytes).await,
        }
    }

    /// Return how many bytes are to come.
    pub fn remaining(&self) -> u64 {
        match &self.source {
            Source::Xorb(reader) => reader.remaining(),
            Source::Content(reader) => reader.remaining(),
            Source::Plain(reader) => reader.remaining(),
        }
    }

    /// Say whether all bytes were proven when the stream was opened.
    pub fn proven(&self) -> bool {
        self.proven
    }
}

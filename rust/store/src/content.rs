//! Content cut into chunks as it arrives.

use xetway_core::{Chunker, MAX_CHUNK_BYTES};

/// Cuts content into chunks, whatever the pieces it comes in. Memory: one chunk.
#[derive(Default)]
pub(crate) struct ChunkSplitter {
    chunker: Chunker,
    pending: Vec<u8>,
}

impl ChunkSplitter {
    /// Take the next bytes and pass on each chunk they complete.
    pub(crate) fn push<E>(&mut self, data: &[u8], mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let before = self.chunker.position();
        let mut ends = Vec::new();
        self.chunker.push(data, &mut |end| ends.push(end));
        let mut start = 0;
        for end in ends {
            let end = usize::try_from(end.saturating_sub(before)).unwrap_or(data.len());
            let chunk = data.get(start..end).unwrap_or_default();
            if self.pending.is_empty() {
                sink(chunk)?;
            } else {
                self.pending.extend_from_slice(chunk);
                sink(&self.pending)?;
                self.pending.clear();
            }
            start = end;
        }
        self.pending.reserve(MAX_CHUNK_BYTES.saturating_sub(self.pending.len()));
        self.pending.extend_from_slice(data.get(start..).unwrap_or_default());
        Ok(())
    }

    /// Pass on the last chunk, if there is one.
    pub(crate) fn finish<E>(self, mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if self.pending.is_empty() {
            Ok(())
        } else {
            sink(&self.pending)
        }
    }
}

//! Content cut into chunks, block by block.
//!
//! Chunks are looked at where they lie in their block. Only one that began in an earlier block is put
//! together in a buffer: of a block of 2 MiB, a few percent are copied.

use xetway_core::Chunker;

/// A chunk and where it starts in its block, unless it began before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) start: Option<usize>,
}

/// Cuts blocks of any size into chunks. Memory: two chunks.
#[derive(Default)]
pub(crate) struct Cutter {
    chunker: Chunker,
    /// The beginning of the chunk whose end has not come.
    begun: Vec<u8>,
    /// The chunk that began before the last block.
    joined: Vec<u8>,
}

impl Cutter {
    /// Take the next block; returns the chunks that end in it.
    pub(crate) fn cut<'a>(&'a mut self, block: &'a [u8]) -> Vec<Chunk<'a>> {
        let before = self.chunker.position();
        let mut ends = Vec::new();
        self.chunker.push(block, &mut |end| {
            ends.push(usize::try_from(end.saturating_sub(before)).unwrap_or(block.len()));
        });
        let rest = block
            .get(ends.last().copied().unwrap_or_default()..)
            .unwrap_or_default();
        let joins = !ends.is_empty() && !self.begun.is_empty();
        if joins {
            std::mem::swap(&mut self.begun, &mut self.joined);
            self.begun.clear();
            let end = ends.first().copied().unwrap_or_default();
            self.joined.extend_from_slice(block.get(..end).unwrap_or_default());
        }
        self.begun.extend_from_slice(rest);
        let mut start = 0;
        let mut chunk = |end| {
            let bytes = block.get(start..end).unwrap_or_default();
            let chunk = Chunk {
                bytes,
                start: Some(start),
            };
            start = end;
            chunk
        };
        let mut chunks: Vec<_> = ends.into_iter().map(&mut chunk).collect();
        if let Some(first) = chunks.first_mut().filter(|_| joins) {
            *first = Chunk {
                bytes: &self.joined,
                start: None,
            };
        }
        chunks
    }

    /// End the content; returns the last chunk, if there is one.
    pub(crate) fn finish(&self) -> Option<Chunk<'_>> {
        (!self.begun.is_empty()).then_some(Chunk {
            bytes: &self.begun,
            start: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_do_not_depend_on_blocks_and_lie_where_they_say() {
        let content: Vec<u8> = (0_u64..1_500_000).map(|at| (at.wrapping_mul(at) >> 7) as u8).collect();
        let expected: Vec<&[u8]> = xetway_core::chunker::chunks(&content).collect();
        assert!(expected.len() > 7);
        for block_bytes in [1000, 8191, 65_536, 700_001, 1_500_000] {
            let mut cutter = Cutter::default();
            let mut found = Vec::new();
            for block in content.chunks(block_bytes) {
                for chunk in cutter.cut(block) {
                    if let Some(start) = chunk.start {
                        assert_eq!(&block[start..start + chunk.bytes.len()], chunk.bytes);
                    }
                    found.push(chunk.bytes.to_vec());
                }
            }
            found.extend(cutter.finish().map(|chunk| chunk.bytes.to_vec()));
            assert_eq!(found, expected, "blocks of {block_bytes}");
        }
    }
}

//! Chunks hashed and encoded, side by side where that pays.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use xetway_core::Hash;
use xetway_core::codec::{Encoder, Scheme};
use xetway_core::hash::chunk_hash;
use xetway_core::xorb::ChunkHeader;

use crate::cutter::Chunk;
use crate::error::Result;

/// Chunks that one thread takes at a time: about 256 KiB.
const GROUP_CHUNKS: usize = 4;

thread_local! {
    /// Keeps its tables and buffers between chunks, whichever file they are of.
    static ENCODER: RefCell<Encoder> = RefCell::new(Encoder::new());
}

/// Who does the work on a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hands {
    /// The threads of the pool that this thread is one of.
    Pool,
    /// This thread.
    One,
}

/// A chunk that is to be stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewChunk<'a> {
    pub(crate) chunk: Chunk<'a>,
    pub(crate) hash: Hash,
    /// Whether another xorb begins with it.
    pub(crate) is_first: bool,
}

/// An encoded chunk: its header and payload are the next bytes of its group, unless the payload is `raw`.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) hash: Hash,
    pub(crate) header: ChunkHeader,
    pub(crate) is_first: bool,
    /// Where in the block the payload is that is stored as it is.
    pub(crate) raw: Option<Range<usize>>,
}

/// A few encoded chunks in a row.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) bytes: Vec<u8>,
}

/// Buffers for encoded chunks, used again and again.
#[derive(Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    fn take(&self) -> Vec<u8> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .unwrap_or_default()
    }

    /// Give back the buffers of `groups`.
    pub(crate) fn put(&self, groups: Vec<Group>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.extend(groups.into_iter().map(|group| {
            let mut bytes = group.bytes;
            bytes.clear();
            bytes
        }));
    }

    /// Let go of all buffers.
    pub(crate) fn clear(&mut self) {
        *self.0.get_mut().unwrap_or_else(PoisonError::into_inner) = Vec::new();
    }
}

/// Hash chunks.
pub(crate) fn hash(chunks: &[Chunk<'_>], hands: Hands) -> Vec<Hash> {
    let hash = |chunk: &Chunk<'_>| chunk_hash(chunk.bytes);
    match hands {
        Hands::Pool => chunks.par_iter().with_min_len(GROUP_CHUNKS).map(hash).collect(),
        Hands::One => chunks.iter().map(hash).collect(),
    }
}

/// Encode chunks, in order.
pub(crate) fn encode(chunks: &[NewChunk<'_>], hands: Hands, buffers: &Buffers) -> Result<Vec<Group>> {
    let encode =
        |group: &[NewChunk<'_>]| ENCODER.with_borrow_mut(|encoder| encode_group(encoder, group, buffers.take()));
    match hands {
        Hands::Pool => chunks.par_chunks(GROUP_CHUNKS).map(encode).collect(),
        Hands::One => chunks.chunks(GROUP_CHUNKS).map(encode).collect(),
    }
}

fn encode_group(encoder: &mut Encoder, chunks: &[NewChunk<'_>], mut bytes: Vec<u8>) -> Result<Group> {
    let mut pieces = Vec::with_capacity(chunks.len());
    for new in chunks {
        let NewChunk { chunk, hash, is_first } = *new;
        let scheme = encoder.choose(chunk.bytes);
        let (header, raw) = match chunk.start.filter(|_| scheme == Scheme::None) {
            Some(start) => {
                let raw_bytes = u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX);
                let header = ChunkHeader {
                    scheme,
                    compressed_bytes: raw_bytes,
                    raw_bytes,
                };
                bytes.extend_from_slice(&header.to_bytes());
                (header, Some(start..start + chunk.bytes.len()))
            }
            None => (encoder.encode_chunk_as(chunk.bytes, scheme, &mut bytes)?, None),
        };
        pieces.push(Piece {
            hash,
            header,
            is_first,
            raw,
        });
    }
    Ok(Group { pieces, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(contents: &[&[u8]]) -> Vec<Vec<u8>> {
        let new = |bytes| NewChunk {
            chunk: Chunk { bytes, start: None },
            hash: Hash::ZERO,
            is_first: false,
        };
        let chunks: Vec<_> = contents.iter().copied().map(new).collect();
        let groups = encode(&chunks, Hands::One, &Buffers::default()).unwrap();
        let cut = |group: &Group| {
            let mut rest = group.bytes.as_slice();
            let mut cut = |piece: &Piece| rest.split_off(..piece.header.stored_bytes() as usize).unwrap().to_vec();
            group.pieces.iter().map(&mut cut).collect::<Vec<_>>()
        };
        groups.iter().flat_map(cut).collect()
    }

    #[test]
    fn what_a_chunk_becomes_does_not_depend_on_those_before() {
        let text: Vec<u8> = (0..20_000_u32)
            .flat_map(|line| format!("line {line}\n").into_bytes())
            .collect();
        let (long, short) = (&text[..100_000], &text[100_000..130_000]);
        let alone = std::thread::scope(|scope| scope.spawn(|| encoded(&[short])).join().unwrap());
        let after = std::thread::scope(|scope| scope.spawn(|| encoded(&[long, short])).join().unwrap());
        assert!(alone[0].len() < 20_000);
        assert_eq!(alone[0], after[1]);
    }
}

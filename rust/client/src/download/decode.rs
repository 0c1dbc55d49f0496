//! Batches decoded into one buffer, whose chunks lie side by side as they will in the file.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use xetway_core::Hash;
use xetway_core::codec::Decoder;
use xetway_core::hash::chunk_hash;
use xetway_core::xorb::ChunkHeader;

use crate::error::Result;
use crate::frames::Frame;

/// Fewest chunks worth another thread: about 256 KiB of raw bytes.
const MIN_CHUNKS_PER_THREAD: usize = 4;

/// Most buffers kept for later.
const MAX_IDLE_BUFFERS: usize = 64;

thread_local! {
    /// Keeps its buffer between chunks.
    static DECODER: RefCell<Decoder> = const { RefCell::new(Decoder::new()) };
}

/// Buffers that are used again and again: fresh memory costs more than the decoding of stored chunks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// Return a buffer of `bytes`, whose content is anything.
    pub(crate) fn take(&self, bytes: usize) -> Vec<u8> {
        let mut buffer = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .unwrap_or_default();
        buffer.resize(bytes, 0);
        buffer
    }

    pub(crate) fn give_back(&self, buffer: Vec<u8>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE_BUFFERS {
            idle.push(buffer);
        }
    }
}

/// Cut `buffer` into slices of these lengths, as far as it goes.
fn slices(mut buffer: &mut [u8], lengths: impl Iterator<Item = u32>) -> Vec<&mut [u8]> {
    let mut slices = Vec::new();
    for bytes in lengths {
        let Some((slice, rest)) = buffer.split_at_mut_checked(bytes as usize) else {
            break;
        };
        slices.push(slice);
        buffer = rest;
    }
    slices
}

/// Return the raw length of `frames` together.
pub(crate) fn raw_bytes(frames: &[Frame]) -> usize {
    frames.iter().map(|frame| frame.header.raw_bytes as usize).sum()
}

/// Decode `frames` side by side into `buffer`, which is as long as they are, and hash each.
pub(crate) fn decode_into(frames: &[Frame], buffer: &mut [u8]) -> Result<Vec<Hash>> {
    let slices = slices(buffer, frames.iter().map(|frame| frame.header.raw_bytes));
    frames
        .par_iter()
        .zip(slices)
        .with_min_len(MIN_CHUNKS_PER_THREAD)
        .map(|(frame, raw)| decode_one(frame, raw))
        .collect()
}

fn decode_one(frame: &Frame, raw: &mut [u8]) -> Result<Hash> {
    let payload = frame.stored.get(ChunkHeader::BYTES..).unwrap_or_default();
    DECODER
        .with_borrow_mut(|decoder| decoder.decompress_into(frame.header.scheme, payload, raw))
        .map_err(|error| error.shifted(frame.start.saturating_add(ChunkHeader::BYTES as u64)))?;
    Ok(chunk_hash(raw))
}

/// Hash the chunks that lie side by side in `buffer`.
pub(crate) fn hash_all(buffer: &mut [u8], lengths: impl Iterator<Item = u32>) -> Vec<Hash> {
    slices(buffer, lengths)
        .into_par_iter()
        .with_min_len(MIN_CHUNKS_PER_THREAD)
        .map(|chunk| chunk_hash(chunk))
        .collect()
}

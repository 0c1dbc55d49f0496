//! Where new chunks stand in their xorb, within the limits of the format.

use xetway_core::xorb::{ChunkHeader, MAX_CHUNK_BYTES, MAX_COMPRESSED_CHUNK_BYTES};

use crate::error::{Error, Result};
use crate::kinds::NewChunk;
use crate::records::{OnDisk, Placed, check_of};

/// Give chunks that follow one another their places, and compute their checks.
pub(super) fn place(first_chunk: u32, start: u64, chunks: &[NewChunk<'_>]) -> Result<(Vec<Placed>, Vec<OnDisk>)> {
    let mut placed = Vec::with_capacity(chunks.len());
    let mut on_disk = Vec::with_capacity(chunks.len());
    let (mut index, mut start) = (first_chunk, limited("chunk offset", start, u64::from(u32::MAX), start)?);
    for chunk in chunks {
        let offset = u64::from(start);
        let stored_max = u64::from(MAX_COMPRESSED_CHUNK_BYTES) + ChunkHeader::BYTES as u64;
        let stored_bytes = limited("stored chunk length", chunk.stored.len() as u64, stored_max, offset)?;
        limited(
            "raw chunk length",
            u64::from(chunk.raw_bytes),
            u64::from(MAX_CHUNK_BYTES),
            offset,
        )?;
        if chunk.raw_bytes == 0 || chunk.stored.len() <= ChunkHeader::BYTES {
            return Err(Error::Format(xetway_core::Error::Malformed {
                format: "chunk",
                offset,
                code: "chunk_empty",
                reason: "chunk has no bytes",
            }));
        }
        let end = limited(
            "chunk offset",
            offset + u64::from(stored_bytes),
            u64::from(u32::MAX),
            offset,
        )?;
        placed.push(Placed {
            index,
            start,
            end,
            raw_bytes: chunk.raw_bytes,
            hash: chunk.hash,
        });
        on_disk.push(OnDisk {
            index,
            start,
            end,
            check: check_of(&chunk.hash, chunk.stored),
        });
        (index, start) = (index.saturating_add(1), end);
    }
    Ok((placed, on_disk))
}

fn limited(what: &'static str, actual: u64, limit: u64, offset: u64) -> Result<u32> {
    u32::try_from(actual)
        .ok()
        .filter(|_| actual <= limit)
        .ok_or(Error::Format(xetway_core::Error::LimitExceeded {
            what,
            limit,
            actual,
            offset,
            code: "chunk_limit",
        }))
}

//! Work that burns CPU, done on the pool for it while the runtime's threads go on with I/O.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rayon::prelude::*;
use tokio::sync::oneshot;
use xetway_core::codec::Decoder;
use xetway_core::hash::chunk_hash;
use xetway_core::xorb::ChunkHeader;

use crate::error::{Error, Result};
use crate::frames::{Decoded, Frame};

/// Fewest chunks worth another thread: about 256 KiB of raw bytes.
const MIN_FRAMES_PER_THREAD: usize = 4;

thread_local! {
    /// Keeps its buffer between chunks.
    static DECODER: RefCell<Decoder> = const { RefCell::new(Decoder::new()) };
}

/// Decode and hash `frames`, in order.
///
/// Fails with the first that does not decode.
pub async fn decode(frames: Vec<Frame>) -> Result<Vec<Decoded>> {
    run(move || {
        frames
            .into_par_iter()
            .with_min_len(MIN_FRAMES_PER_THREAD)
            .map(decode_frame)
            .collect::<Vec<_>>()
            // Gathered here and not by the pool, which would return any of several errors.
            .into_iter()
            .collect()
    })
    .await
}

/// Decode and hash one frame on this thread.
pub fn decode_frame(frame: Frame) -> Result<Decoded> {
    let Frame { start, header, stored } = frame;
    let mut raw = vec![0; header.raw_bytes as usize];
    let payload = stored.get(ChunkHeader::BYTES..).unwrap_or_default();
    DECODER
        .with_borrow_mut(|decoder| decoder.decompress_into(header.scheme, payload, &mut raw))
        .map_err(|error| error.shifted(start.saturating_add(ChunkHeader::BYTES as u64)))?;
    let hash = chunk_hash(&raw);
    Ok(Decoded {
        start,
        stored,
        raw,
        hash,
    })
}

/// Run `work` on the pool and wait for it without holding a thread of the runtime.
///
/// A panic of `work` goes on in the caller. Dropping the future does not stop work that has begun.
pub async fn run<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let Some(pool) = xetway_pool::pool() else {
        return work();
    };
    let (done, outcome) = oneshot::channel();
    pool.spawn(move || {
        // A panic must not reach the pool: it would abort the process.
        let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
    });
    match outcome.await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => resume_unwind(panic),
        // The sender sits in the closure above and is used in every case.
        Err(_) => resume_unwind(Box::new(Error::Cancelled)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use xetway_core::codec::encode_chunk;
    use xetway_core::hash::chunk_hash;

    use crate::frames::FrameParser;

    #[tokio::test]
    async fn decodes_in_order_and_says_where_it_fails() {
        let contents: Vec<Vec<u8>> = (1..40_usize).map(|index| vec![index as u8; index * 100]).collect();
        let mut stored = Vec::new();
        for content in &contents {
            encode_chunk(content, &mut stored).unwrap();
        }
        let frames = FrameParser::new(5).push(Bytes::from(stored)).unwrap();
        let mut bad = frames.clone();
        let decoded = super::decode(frames).await.unwrap();
        assert_eq!(
            decoded.iter().map(|chunk| &chunk.raw).collect::<Vec<_>>(),
            contents.iter().collect::<Vec<_>>()
        );
        assert!(decoded.iter().all(|chunk| chunk.hash == chunk_hash(&chunk.raw)));

        let mut damaged = bad[20].stored.to_vec();
        damaged[8] ^= 0xff;
        bad[20].stored = Bytes::from(damaged);
        let error = super::decode(bad).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
    }

    #[tokio::test]
    #[should_panic(expected = "inside")]
    async fn a_panic_goes_on_in_the_caller() {
        super::run(|| panic!("inside")).await;
    }
}

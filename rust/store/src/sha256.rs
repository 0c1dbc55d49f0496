//! The SHA-256 of a stored file, in steps that a caller can report on.

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::reader::{ContentReader, PieceReader};
use crate::scratch::Scratch;

const PIECE_BYTES: usize = 256 * 1024;

/// Hashes a file's content, each chunk proven first.
pub struct Sha256Reader {
    reader: ContentReader,
    hasher: Sha256,
    scratch: Scratch,
    step_bytes: u64,
    done: u64,
}

impl Sha256Reader {
    pub(crate) fn new(reader: ContentReader, step_bytes: u64) -> Self {
        Self {
            reader,
            hasher: Sha256::new(),
            scratch: Scratch::default(),
            step_bytes: step_bytes.max(1),
            done: 0,
        }
    }

    /// Hash the next step's bytes, to the end of a chunk; returns how many were hashed since the start.
    pub fn step(&mut self) -> Result<u64> {
        let target = self.done.saturating_add(self.step_bytes);
        while self.done < target && self.reader.remaining() > 0 {
            let piece = self.reader.next(PIECE_BYTES, &mut self.scratch)?;
            self.hasher.update(piece);
            self.done += piece.len() as u64;
        }
        Ok(self.done)
    }

    /// Return the digest once everything was hashed.
    pub fn digest(&self) -> Result<[u8; 32]> {
        if self.reader.remaining() > 0 {
            return Err(Error::State {
                object: "SHA-256 reader",
                problem: "is not at the end of the file",
            });
        }
        Ok(self.hasher.clone().finalize().into())
    }
}

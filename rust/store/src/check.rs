//! Is a file that someone claims what the stored xorbs say it is?

use xetway_core::hash::verification_hash;
use xetway_core::merkle::MerkleHasher;
use xetway_core::plan::check_term;
use xetway_core::shard::Term;
use xetway_core::{Error as FormatError, Hash};

use crate::error::Result;
use crate::store::XorbStore;

impl XorbStore {
    /// Check a claimed file against the footers of its xorbs; returns its size.
    ///
    /// Every xorb is stored, has the chunks that the terms name, with the lengths they say; each
    /// verification hash, if there are any, is that of its term; the chunks give the file hash. The
    /// chunks' bytes are not read: each read proves them again.
    pub fn check_file(&self, file: &Hash, terms: &[Term], verification: Option<&[Hash]>) -> Result<u64> {
        if let Some(hashes) = verification.filter(|hashes| hashes.len() != terms.len()) {
            return Err(FormatError::LengthMismatch {
                what: "list of verification hashes",
                expected: terms.len() as u64,
                actual: hashes.len() as u64,
                offset: 0,
                code: "verification_count",
            }
            .into());
        }
        let mut claims = verification.unwrap_or_default().iter();
        let mut merkle = MerkleHasher::new();
        let mut size = 0_u64;
        for term in terms {
            let meta = self.claimed_meta(&term.xorb)?;
            let chunks = meta.range(term.start, term.end)?;
            if let Some(expected) = claims.next().copied() {
                let actual = verification_hash(chunks.iter().map(|chunk| &chunk.hash));
                same("term", "verification_mismatch", expected, actual, size)?;
            }
            // After the proof that the claimant has the chunks: their lengths are no one else's business.
            check_term(term, &meta)?;
            for chunk in chunks {
                merkle.push(chunk.hash, u64::from(chunk.raw_bytes));
            }
            size = size.saturating_add(u64::from(term.unpacked_bytes));
        }
        same("file", "file_hash_mismatch", *file, merkle.file_hash(), 0)?;
        Ok(size)
    }
}

fn same(what: &'static str, code: &'static str, expected: Hash, actual: Hash, offset: u64) -> Result<(), FormatError> {
    if expected == actual {
        return Ok(());
    }
    Err(FormatError::HashMismatch {
        what,
        expected,
        actual,
        offset,
        code,
    })
}

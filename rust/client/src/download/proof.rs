//! The hash of a file from the hashes of its chunks, which become known in any order.
//!
//! Chunks are folded into the merkle tree as soon as all before them are known, and the hashes of a
//! job are dropped after its last term: memory follows what is out of order, not the size of the file.

use xetway_core::Hash;
use xetway_core::merkle::MerkleHasher;

use super::layout::Layout;

#[derive(Debug)]
struct Table {
    chunks: Vec<(Hash, u32)>,
    terms_left: usize,
}

/// Collects chunk hashes.
#[derive(Debug)]
pub(crate) struct Proof {
    merkle: MerkleHasher,
    tables: Vec<Table>,
    term: usize,
    /// Chunks of the term that are folded.
    folded: usize,
}

impl Proof {
    pub(crate) fn new(layout: &Layout) -> Self {
        let table = |job: &super::layout::Job| Table {
            chunks: Vec::new(),
            terms_left: job.terms.len(),
        };
        Self {
            merkle: MerkleHasher::new(),
            tables: layout.jobs.iter().map(table).collect(),
            term: 0,
            folded: 0,
        }
    }

    /// Take the hashes and raw lengths of the next chunks of a job.
    pub(crate) fn add(&mut self, layout: &Layout, job: usize, chunks: impl IntoIterator<Item = (Hash, u32)>) {
        if let Some(table) = self.tables.get_mut(job) {
            table.chunks.extend(chunks);
        }
        self.fold(layout);
    }

    fn fold(&mut self, layout: &Layout) {
        while let Some(term) = layout.terms.get(self.term) {
            let (Some(table), Some(job)) = (self.tables.get_mut(term.job), layout.jobs.get(term.job)) else {
                return;
            };
            let start = term.chunks.start.saturating_sub(job.chunks.start) as usize;
            let count = term.chunks.len();
            let known = table.chunks.get(start + self.folded..).unwrap_or_default();
            for (hash, raw_bytes) in known.iter().take(count - self.folded) {
                self.merkle.push(*hash, u64::from(*raw_bytes));
                self.folded += 1;
            }
            if self.folded < count {
                return;
            }
            table.terms_left = table.terms_left.saturating_sub(1);
            if table.terms_left == 0 {
                table.chunks = Vec::new();
            }
            self.term += 1;
            self.folded = 0;
        }
    }

    /// Return the file hash; `None` if chunks are missing.
    pub(crate) fn finish(&mut self, layout: &Layout) -> Option<Hash> {
        (self.term == layout.terms.len()).then(|| std::mem::take(&mut self.merkle).file_hash())
    }
}

//! What an ingest remembers of the chunks it stored, to store none of them twice.

use std::collections::{HashMap, VecDeque};

use xetway_core::Hash;

/// Chunks remembered for deduplication: the last 16 GiB or so, in about 30 MiB.
const REMEMBERED_CHUNKS: usize = 256 * 1024;

/// The chunks stored last, found by hash or by place. Every stored chunk has a number, counted from 0.
#[derive(Default)]
pub(crate) struct Stored {
    hashes: VecDeque<Hash>,
    numbers: HashMap<Hash, u64>,
    next: u64,
    /// Number of the first chunk of each xorb.
    xorbs: Vec<u64>,
}

impl Stored {
    pub(crate) fn begin_xorb(&mut self) {
        self.xorbs.push(self.next);
    }

    /// Remember a chunk of the current xorb; returns its place.
    pub(crate) fn push(&mut self, hash: Hash) -> (usize, u32) {
        if self.hashes.len() >= REMEMBERED_CHUNKS
            && let Some(oldest) = self.hashes.pop_front()
        {
            let number = self.next - self.hashes.len() as u64 - 1;
            if self.numbers.get(&oldest) == Some(&number) {
                self.numbers.remove(&oldest);
            }
        }
        let number = self.next;
        self.next += 1;
        self.hashes.push_back(hash);
        self.numbers.insert(hash, number);
        self.place(number)
    }

    pub(crate) fn find(&self, hash: &Hash) -> Option<(usize, u32)> {
        self.numbers.get(hash).map(|number| self.place(*number))
    }

    pub(crate) fn hash_at(&self, xorb: usize, index: u32) -> Option<&Hash> {
        let number = self.xorbs.get(xorb)?.checked_add(u64::from(index))?;
        if self.xorbs.get(xorb + 1).is_some_and(|next| number >= *next) {
            return None;
        }
        let oldest = self.next - self.hashes.len() as u64;
        self.hashes.get(usize::try_from(number.checked_sub(oldest)?).ok()?)
    }

    fn place(&self, number: u64) -> (usize, u32) {
        let xorb = self.xorbs.partition_point(|first| *first <= number).saturating_sub(1);
        let first = self.xorbs.get(xorb).copied().unwrap_or_default();
        (xorb, u32::try_from(number - first).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> Hash {
        let mut raw = [0; 32];
        raw[..8].copy_from_slice(&number.to_le_bytes());
        Hash::from_bytes(raw)
    }

    #[test]
    fn only_the_chunks_stored_last_are_remembered() {
        let remembered = REMEMBERED_CHUNKS as u64;
        let mut stored = Stored::default();
        for number in 0..remembered + 10_000 {
            if number % 1000 == 0 {
                stored.begin_xorb();
            }
            // Chunk 5 is stored again and again.
            let name = if number % 1000 == 999 { 5 } else { number };
            let expected = (
                usize::try_from(number / 1000).unwrap(),
                u32::try_from(number % 1000).unwrap(),
            );
            assert_eq!(stored.push(hash(name)), expected);
        }
        assert_eq!(stored.hashes.len(), REMEMBERED_CHUNKS);
        assert!(stored.numbers.len() <= REMEMBERED_CHUNKS);
        assert_eq!(stored.find(&hash(9_998)), None);
        assert_eq!(stored.find(&hash(10_000)), Some((10, 0)));
        let last = usize::try_from((remembered + 10_000) / 1000).unwrap();
        assert_eq!(stored.find(&hash(5)), Some((last - 1, 999)));
        assert_eq!(stored.hash_at(9, 998), None);
        assert_eq!(stored.hash_at(10, 998), Some(&hash(10_998)));
        assert_eq!(stored.hash_at(10, 999), Some(&hash(5)));
        // One past the end of a xorb is not the first of the next.
        assert_eq!(stored.hash_at(10, 1000), None);
        assert_eq!(stored.hash_at(last, 999), None);
    }
}

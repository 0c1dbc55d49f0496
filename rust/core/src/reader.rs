//! Read fixed-size little-endian fields from a slice, with an error that says where it ended.

use crate::error::{Error, Result};
use crate::hash::Hash;

/// A position in a slice; never reads past its end.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    format: &'static str,
    data: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(format: &'static str, data: &'a [u8]) -> Self {
        Self {
            format,
            data,
            offset: 0,
        }
    }

    pub(crate) const fn offset(&self) -> u64 {
        self.offset as u64
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.data.get(self.offset..).unwrap_or_default()
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest().len()
    }

    /// Read the next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let rest = self.rest();
        let Some((bytes, _)) = rest.split_at_checked(count) else {
            return Err(self.truncated(count as u64));
        };
        self.offset += count;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let rest = self.rest();
        let Some((bytes, _)) = rest.split_first_chunk::<N>() else {
            return Err(self.truncated(N as u64));
        };
        self.offset += N;
        Ok(*bytes)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(u8::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array::<4>().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.array::<8>().map(u64::from_le_bytes)
    }

    pub(crate) fn hash(&mut self) -> Result<Hash> {
        self.array::<32>().map(Hash::from_bytes)
    }

    /// Check that `count` records of `record_bytes` are there, before anything is allocated for them.
    pub(crate) fn ensure(&self, count: u32, record_bytes: u64) -> Result<()> {
        let wanted = u64::from(count).saturating_mul(record_bytes);
        if wanted > self.remaining() as u64 {
            return Err(self.truncated(wanted));
        }
        Ok(())
    }

    pub(crate) fn truncated(&self, wanted: u64) -> Error {
        Error::Truncated {
            format: self.format,
            offset: self.offset(),
            wanted,
            got: self.remaining() as u64,
        }
    }

    /// Make an error about a field `back` bytes before the current position.
    pub(crate) fn malformed(&self, back: u64, code: &'static str, reason: &'static str) -> Error {
        Error::Malformed {
            format: self.format,
            offset: self.offset().saturating_sub(back),
            code,
            reason,
        }
    }
}

//! The digests that prove plain files, fed in pieces.

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::kinds::PlainKey;

/// A digest under way.
#[derive(Clone)]
pub(crate) enum Digest {
    Sha256(Sha256),
    GitSha1(Sha1),
}

impl Digest {
    /// Begin the digest that `key` names, of content of `size` bytes.
    pub(crate) fn begin(key: &PlainKey, size: u64) -> Self {
        match key {
            PlainKey::Sha256(_) => Self::Sha256(Sha256::new()),
            PlainKey::GitSha1(_) => {
                let mut hasher = Sha1::new();
                hasher.update(format!("blob {size}\0"));
                Self::GitSha1(hasher)
            }
        }
    }

    /// Feed the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::GitSha1(hasher) => hasher.update(bytes),
        }
    }

    /// End, and return the key of the content.
    pub(crate) fn finish(self) -> PlainKey {
        match self {
            Self::Sha256(hasher) => PlainKey::Sha256(hasher.finalize().into()),
            Self::GitSha1(hasher) => PlainKey::GitSha1(hasher.finalize().into()),
        }
    }
}

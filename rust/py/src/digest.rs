//! Digests that prove files which are not in xorbs.

use pyo3::prelude::*;
use xetway_cache::PlainKey;
use xetway_client::download::plain;

use crate::buffer::Bytes;
use crate::errors::argument_error;

/// An algorithm and a digest of its length.
#[derive(Clone, Copy)]
pub(crate) enum Digest {
    Sha256([u8; 32]),
    GitSha1([u8; 20]),
}

impl Digest {
    /// Read what Python gave.
    pub(crate) fn new(py: Python<'_>, algorithm: &str, digest: &Bytes) -> PyResult<Self> {
        let bytes = digest.as_slice();
        let read = match algorithm {
            "sha256" => bytes.try_into().map(Self::Sha256),
            "git-sha1" => bytes.try_into().map(Self::GitSha1),
            _ => {
                let message = format!("wanted sha256 or git-sha1: got {algorithm:?}");
                return Err(argument_error(py, "digest", "bad_digest", &message));
            }
        };
        read.map_err(|_| {
            let message = format!("{} bytes are no digest of {algorithm}", bytes.len());
            argument_error(py, "digest", "bad_digest", &message)
        })
    }
}

impl From<Digest> for PlainKey {
    fn from(digest: Digest) -> Self {
        match digest {
            Digest::Sha256(bytes) => Self::Sha256(bytes),
            Digest::GitSha1(bytes) => Self::GitSha1(bytes),
        }
    }
}

impl From<Digest> for plain::Digest {
    fn from(digest: Digest) -> Self {
        match digest {
            Digest::Sha256(bytes) => Self::Sha256(bytes),
            Digest::GitSha1(bytes) => Self::GitSha1(bytes),
        }
    }
}

//! Seal and open small secrets with a key: ChaCha20-Poly1305, a random nonce in front.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 12 | nonce |
//! | 12 | n | ciphertext |
//! | 12 + n | 16 | tag over the ciphertext and the label |

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::error::{Error, Result};

/// Seal `plain`; only the same `key` and `label` open it.
pub fn seal(key: &[u8; 32], label: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
    let failed = |_| Error::Config {
        what: "seal",
        message: "the cryptographic library refused to seal".to_owned(),
    };
    let mut nonce = [0_u8; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(failed)?;
    let mut inner = plain.to_vec();
    self::key(key)
        .ok_or(ring::error::Unspecified)
        .and_then(|key| key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(label), &mut inner))
        .map_err(failed)?;
    let mut sealed = nonce.to_vec();
    sealed.append(&mut inner);
    Ok(sealed)
}

/// Open what [`seal`] made; `None` if the key or label differ or a byte was changed.
pub fn unseal(key: &[u8; 32], label: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, inner) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut inner = inner.to_vec();
    let plain_bytes = self::key(key)?
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(label), &mut inner)
        .ok()?
        .len();
    inner.truncate(plain_bytes);
    Some(inner)
}

fn key(key: &[u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, key).ok().map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    use super::{seal, unseal};

    #[test]
    fn opens_only_unchanged_with_the_same_key_and_label() {
        let key = [7; 32];
        let sealed = seal(&key, b"token", b"secret").unwrap();
        assert_eq!(unseal(&key, b"token", &sealed).unwrap(), b"secret");
        assert_ne!(seal(&key, b"token", b"secret").unwrap(), sealed);
        assert!(unseal(&key, b"other", &sealed).is_none());
        assert!(unseal(&[8; 32], b"token", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(unseal(&key, b"token", &flipped).is_none(), "byte {at}");
            assert!(unseal(&key, b"token", &sealed[..at]).is_none(), "cut at {at}");
        }
        assert_eq!(unseal(&key, b"", &seal(&key, b"", b"").unwrap()).unwrap(), b"");
    }
}

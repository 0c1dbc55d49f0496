//! The text form of a hash: whatever parses prints as its lowercase self.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xetway_core::Hash;

fuzz_target!(|text: &str| {
    match Hash::parse(text) {
        Ok(hash) => {
            assert_eq!(hash.to_hex(), text.to_ascii_lowercase());
            assert_eq!(Hash::from_bytes(*hash.as_bytes()), hash);
        }
        Err(error) => {
            assert_eq!(error.code(), "bad_hash_hex");
            assert!(text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
    }
});

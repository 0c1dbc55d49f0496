//! Any bytes that parse serialise to bytes that parse to the same, and those serialise to
//! themselves.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xetway_core::shard::{Form, Shard, parse, serialise};

const EMPTY_BYTES: usize = 144;

fuzz_target!(|input: (bool, &[u8])| {
    let (with_header, bytes) = input;
    if with_header {
        // The 32-byte tag is out of the fuzzer's reach, the rest of the header is not.
        let tag = &serialise(&Shard::default(), Form::Upload)[..32];
        check(&[tag, bytes].concat());
    } else {
        check(bytes);
    }
});

fn check(bytes: &[u8]) {
    let Ok(shard) = parse(bytes) else { return };
    let stored = match &shard.footer {
        Some(footer) => Form::Stored {
            created_s: footer.created_s,
            expiry_s: footer.expiry_s,
        },
        None => Form::Stored {
            created_s: 0,
            expiry_s: 0,
        },
    };
    for form in [Form::Upload, stored] {
        let written = serialise(&shard, form);
        assert!(written.len() <= bytes.len().max(EMPTY_BYTES) + 200);
        let again = parse(&written).unwrap();
        assert!(same(&shard, &again));
        assert_eq!(serialise(&again, form), written);
    }
}

/// The footer is left out: one form has it, the other does not.
fn same(one: &Shard, other: &Shard) -> bool {
    one.files == other.files && one.xorbs == other.xorbs
}

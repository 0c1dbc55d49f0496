//! Counters of a mirror.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters since the mirror was opened.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct MirrorStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl MirrorStats {
            /// Return each counter with its name.
            pub fn fields(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> MirrorStats {
                MirrorStats { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Bytes handed to readers.
    served_bytes,
    /// Those of them that were on disk when the reader came to them.
    cache_hit_bytes,
    /// Content bytes received from the upstream.
    fetched_bytes,
    /// Ranges that were begun to be fetched.
    fetches,
    /// Times that bytes were asked for again because they were damaged.
    retries,
    /// Times that content did not have the hash of its name.
    integrity_failures,
    /// Reconstructions asked of the upstream.
    plans,
    /// Those of them that were asked because addresses had expired.
    replans,
    /// Plans made from what is known.
    local_plans,
    /// Files seen to have the hash of their name.
    proven_files,
    /// Fetches given up because nobody waited for them.
    abandoned_fetches,
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

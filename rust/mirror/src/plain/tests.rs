//! What is decided in the moment that content is found wrong.

use std::sync::Arc;
use std::thread;

use tokio::sync::watch;
use xetway_cache::{Cache, Limits, PlainKey};

use super::{PlainEntry, Progress, State};
use crate::ledger::{FIRST_GENERATION, Ledger};

fn with_entry(test: impl FnOnce(Arc<PlainEntry>)) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path(), Limits::default()).unwrap();
    let key = PlainKey::Sha256([1; 32]);
    let ledger = Ledger::open(folder.path()).unwrap();
    test(Arc::new(PlainEntry::new(key, cache.plain(&key, 1000).unwrap(), ledger)));
}

#[test]
fn nobody_joins_a_transfer_that_is_about_to_fail() {
    for (was_shown, is_last) in [(false, false), (true, false), (false, true), (true, true)] {
        with_entry(|entry| {
            let (_sender, transfer) = watch::channel(Progress::Flying);
            *entry.state() = State {
                transfer: Some(transfer),
                is_shown: was_shown,
                ..State::default()
            };
            assert_eq!(entry.spoil(is_last).unwrap(), was_shown);
            let goes_on = !was_shown && !is_last;
            assert_eq!(entry.state().transfer.is_some(), goes_on);
        });
    }
}

#[test]
fn who_was_shown_wrong_bytes_may_not_go_on_from_the_moment_that_others_may_begin() {
    with_entry(|entry| {
        entry.state().is_shown = true;
        let (spoiling, ledger) = (Arc::clone(&entry), entry.ledger.clone());
        let held = ledger.hold();
        let spoiling = thread::spawn(move || spoiling.spoil(false));
        while entry.state().generation == FIRST_GENERATION {
            thread::yield_now();
        }
        assert!(entry.is_refused());
        drop(held);
        assert!(spoiling.join().unwrap().unwrap());
    });
}

//! Transfers that end half way and are taken up again.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::Notify;
use xetway_client::download::{DownloadOptions, Finished, Progress, to_path};
use xetway_core::Hash;

use crate::samples::{cas, mixture, noise, whole};
use crate::store::{Fault, Seen, Store};

/// Drop a transfer once `bytes` of content are on disk; the store hangs so that it cannot end.
async fn interrupt(store: &Store, file: Hash, path: &Path, bytes: u64) {
    interrupt_with(store, file, path, bytes, |_| Fault::Hang(1_500_000)).await;
}

async fn interrupt_with(
    store: &Store,
    file: Hash,
    path: &Path,
    bytes: u64,
    fault: impl Fn(&Seen) -> Fault + Send + Sync + 'static,
) {
    store.fault(move |seen, _| {
        if seen.path.starts_with("/data") {
            fault(seen)
        } else {
            Fault::None
        }
    });
    let reached = Arc::new(Notify::new());
    let notify = Arc::clone(&reached);
    let options = DownloadOptions {
        progress: Some(Progress::new(move |event| {
            if event.content_bytes >= bytes {
                notify.notify_one();
            }
        })),
        ..DownloadOptions::default()
    };
    tokio::select! {
        outcome = to_path(cas(store), whole(file), path, options) => panic!("ended: {outcome:?}"),
        () = reached.notified() => {}
    }
    store.no_faults();
    store.clear();
}

async fn again(store: &Store, file: Hash, path: &Path) -> Finished {
    to_path(cas(store), whole(file), path, DownloadOptions::default())
        .await
        .unwrap()
}

fn beside(path: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[tokio::test]
async fn a_transfer_goes_on_where_it_was_dropped() {
    for exact_ranges in [false, true] {
        let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
        store.state().exact_ranges = exact_ranges;
        let content = noise(11, 10_000_000);
        let file = store.add(&content, 40);
        let path = folder.path().join("f");
        interrupt(&store, file, &path, 4_000_000).await;
        assert!(!path.exists());
        let finished = again(&store, file, &path).await;
        assert_eq!(fs::read(&path).unwrap(), content);
        assert!(finished.resumed_bytes >= 4_000_000, "{finished:?}");
        if !exact_ranges {
            let missing = 10_000_000 - finished.resumed_bytes;
            assert!(finished.received_bytes < missing + 10_000, "{finished:?}");
            assert_eq!(store.served(), finished.received_bytes);
        }
        assert!(finished.verified);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn without_resume_all_is_fetched_again() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let content = noise(12, 4_000_000);
    let file = store.add(&content, 40);
    let path = folder.path().join("f");
    interrupt(&store, file, &path, 1_000_000).await;
    let options = DownloadOptions {
        resume: false,
        ..DownloadOptions::default()
    };
    let finished = to_path(cas(&store), whole(file), &path, options).await.unwrap();
    assert_eq!(finished.resumed_bytes, 0);
    assert_eq!(fs::read(&path).unwrap(), content);
}

#[tokio::test]
async fn a_damaged_part_is_found_and_fetched_again() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let content = mixture(13, 10_000_000);
    let file = store.add(&content, 40);
    let path = folder.path().join("f");
    interrupt(&store, file, &path, 4_000_000).await;
    let part = beside(&path, ".xetway-part");
    let mut bytes = fs::read(&part).unwrap();
    assert_eq!(bytes.len(), content.len());
    let right: Vec<usize> = (0..bytes.len())
        .step_by(50_000)
        .filter(|at| bytes[*at] == content[*at] && content[*at] != 0)
        .collect();
    for at in right.iter().skip(3).step_by(20) {
        bytes[*at] ^= 1;
    }
    fs::write(&part, bytes).unwrap();
    let finished = again(&store, file, &path).await;
    assert_eq!(fs::read(&path).unwrap(), content);
    assert!(
        finished.resumed_bytes > 0 && finished.resumed_bytes < 4_000_000,
        "{finished:?}"
    );
}

#[tokio::test]
async fn a_part_that_lost_its_end_or_its_journal_is_no_harm() {
    let content = noise(14, 4_000_000);
    for damage in 0..4 {
        let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
        let file = store.add(&content, 40);
        let path = folder.path().join("f");
        interrupt(&store, file, &path, 2_000_000).await;
        let (part, journal) = (beside(&path, ".xetway-part"), beside(&path, ".xetway-journal"));
        match damage {
            0 => fs::File::options()
                .write(true)
                .open(&part)
                .unwrap()
                .set_len(700_000)
                .unwrap(),
            1 => fs::remove_file(&part).unwrap(),
            2 => fs::remove_file(&journal).unwrap(),
            _ => fs::write(&journal, vec![0xff; 500]).unwrap(),
        }
        let finished = again(&store, file, &path).await;
        assert_eq!(fs::read(&path).unwrap(), content, "damage {damage}");
        assert_eq!(finished.resumed_bytes > 0, damage == 0);
    }
}

#[tokio::test]
async fn a_journal_cut_anywhere_is_no_harm() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let content = noise(15, 150_000);
    let file = store.add(&content, 1);
    let path = folder.path().join("f");
    // All is there but the place to move it to.
    fs::create_dir(&path).unwrap();
    let error = to_path(cas(&store), whole(file), &path, DownloadOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "local_io");
    fs::remove_dir(&path).unwrap();
    let (part, journal) = (beside(&path, ".xetway-part"), beside(&path, ".xetway-journal"));
    let (part_bytes, journal_bytes) = (fs::read(&part).unwrap(), fs::read(&journal).unwrap());
    assert_eq!(part_bytes, content);
    let mut resumed = Vec::new();
    let cas = cas(&store);
    // Each takes a flush to disk; every single byte is cut at in the tests of the journal itself.
    for cut in (0..journal_bytes.len()).step_by(7).chain([journal_bytes.len()]) {
        fs::write(&part, &part_bytes).unwrap();
        fs::write(&journal, &journal_bytes[..cut]).unwrap();
        let options = DownloadOptions::default();
        let finished = to_path(cas.clone(), whole(file), &path, options).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), content, "cut at {cut}");
        resumed.push(finished.resumed_bytes);
    }
    assert!(resumed.is_sorted());
    assert_eq!((resumed[0], resumed[resumed.len() - 1]), (0, 150_000));
    store.clear();
    fs::write(&part, &part_bytes).unwrap();
    fs::write(&journal, &journal_bytes).unwrap();
    let finished = again(&store, file, &path).await;
    assert_eq!((finished.received_bytes, store.served()), (0, 0));
}

#[tokio::test]
async fn one_journal_is_not_used_for_another_file() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let (one, other) = (noise(16, 3_000_000), noise(17, 3_000_000));
    let (first, second) = (store.add(&one, 40), store.add(&other, 40));
    let path = folder.path().join("f");
    interrupt(&store, first, &path, 1_000_000).await;
    let finished = again(&store, second, &path).await;
    assert_eq!(finished.resumed_bytes, 0);
    assert_eq!(fs::read(&path).unwrap(), other);
}

#[tokio::test]
async fn wrong_bytes_are_not_resumed_for_ever() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let content = noise(18, 4_000_000);
    let file = store.add(&content, 20);
    let path = folder.path().join("f");
    let first = store.state().files[&file][0].xorb.to_hex();
    // A wrong bit in a stored chunk is written and noted before the transfer ends.
    interrupt_with(&store, file, &path, 1_000_000, move |seen| {
        if seen.path.contains(&first) {
            Fault::Flip(3000)
        } else {
            Fault::Hang(0)
        }
    })
    .await;
    let finished = again(&store, file, &path).await;
    assert_eq!(fs::read(&path).unwrap(), content);
    assert_eq!(finished.resumed_bytes, 0, "all was thrown away");
    assert!(store.served() > 4_000_000);
}

#[tokio::test]
async fn two_transfers_to_one_path_do_not_mix() {
    let (store, folder) = (Store::start().await, tempfile::tempdir().unwrap());
    let file = store.add(&noise(19, 4_000_000), 40);
    let path = folder.path().join("f");
    store.fault(|seen, before| {
        if seen.path.starts_with("/data") && before == 0 {
            Fault::Hang(100)
        } else {
            Fault::None
        }
    });
    let first = tokio::spawn({
        let (cas, path) = (cas(&store), path.clone());
        async move { to_path(cas, whole(file), &path, DownloadOptions::default()).await }
    });
    while store.count("data") == 0 {
        tokio::task::yield_now().await;
    }
    let error = to_path(cas(&store), whole(file), &path, DownloadOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "local_io");
    assert!(error.to_string().contains("another transfer"), "{error}");
    first.abort();
    let _ = first.await;
    again(&store, file, &path).await;
}

//! What is evicted, in which order, and what never is.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
#![allow(clippy::single_range_in_vec_init, reason = "lists of runs that happen to have one")]

mod samples;

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use samples::{Folder, Sample, read_all};
use sha2::{Digest, Sha256};
use xetway_cache::{Cache, Error, FilePlan, Limits, PlainKey};
use xetway_core::Hash;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A xorb of some 60 kB.
fn sample(seed: u64) -> Sample {
    Sample::new(seed, 10, 20_000)
}

fn store(cache: &Cache, sample: &Sample) {
    let xorb = cache.xorb(&sample.hash).unwrap();
    sample.append_all(&xorb);
    assert!(xorb.prove_if_whole().unwrap());
}

fn age(path: &Path, by: Duration) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - by).unwrap();
}

fn held(folder: &Folder, sample: &Sample) -> bool {
    let there = sample.file(folder.root(), "held").exists();
    assert_eq!(sample.file(folder.root(), "data").exists(), there);
    there
}

fn disk_bytes(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            bytes += disk_bytes(&entry.path());
        } else {
            #[cfg(unix)]
            let file_bytes = std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
            #[cfg(not(unix))]
            let file_bytes = metadata.len();
            bytes += file_bytes;
        }
    }
    bytes
}

#[test]
fn the_count_is_what_the_disk_says() {
    let folder = Folder::new();
    let samples: Vec<Sample> = (0..4).map(sample).collect();
    let cache = folder.open();
    assert!(cache.counted_usage().unwrap().complete);
    for sample in &samples {
        store(&cache, sample);
    }
    let content = vec![7; 300_000];
    let key = PlainKey::Sha256(Sha256::digest(&content).into());
    let file = cache.plain(&key, content.len() as u64).unwrap();
    file.append(0, &content).unwrap();
    file.finish().unwrap();
    cache
        .put_plan(&Hash::from_bytes([1; 32]), &FilePlan::default())
        .unwrap();
    cache.xorb(&samples[3].hash).unwrap().drop_data(0..u64::MAX).unwrap();
    let usage = cache.usage();
    assert_eq!(usage.bytes, disk_bytes(folder.root()));
    assert_eq!((usage.xorbs, usage.plain_files), (3, 1));
    assert!(usage.free_disk_bytes > 0);
    let counted = folder.open().counted_usage().unwrap();
    assert_eq!((counted.bytes, counted.xorbs, counted.plain_files), (usage.bytes, 3, 1));
    file.restart().unwrap();
    drop(file);
    cache.prune(0).unwrap();
    let usage = cache.usage();
    assert_eq!((usage.bytes, usage.xorbs, usage.plain_files), (0, 0, 0));
    assert_eq!(disk_bytes(folder.root()), 0);
}

#[test]
fn the_least_recently_used_goes_first_and_its_table_stays() {
    let folder = Folder::new();
    let samples: Vec<Sample> = (0..5).map(sample).collect();
    let cache = folder.open();
    for (days, sample) in (0..).zip(&samples) {
        store(&cache, sample);
        age(&sample.file(folder.root(), "held"), DAY * (5 - days));
    }
    // Reading is using, and `touch` too.
    assert_eq!(read_all(&cache.xorb(&samples[0].hash).unwrap(), &samples[0]).len(), 1);
    cache.xorb(&samples[2].hash).unwrap().touch();
    let all = cache.counted_usage().unwrap().bytes;
    drop(cache);
    let cache = folder.open_with(Some(all));
    cache.make_room(1).unwrap();
    let held_now = |folder: &Folder| samples.iter().map(|sample| held(folder, sample)).collect::<Vec<_>>();
    assert_eq!(held_now(&folder), [true, false, true, true, true]);
    cache.make_room(all / 3).unwrap();
    assert_eq!(held_now(&folder), [true, false, true, false, true]);
    assert!(cache.usage().bytes + all / 3 <= all);
    assert_eq!(cache.usage().bytes, disk_bytes(folder.root()));
    // What is known of an evicted xorb is still known, and proven.
    let xorb = cache.xorb(&samples[1].hash).unwrap();
    assert!(xorb.chunk(0).is_some_and(|chunk| chunk.proven && !chunk.held));
    assert_eq!(xorb.chunk_count(), Some(samples[1].count()));
    assert!(xorb.read(0, 10, 10).unwrap().is_none());
}

#[test]
fn what_is_in_use_is_never_evicted() {
    let folder = Folder::new();
    let samples: Vec<Sample> = (0..3).map(sample).collect();
    let cache = folder.open();
    for (days, sample) in (0..).zip(&samples) {
        store(&cache, sample);
        age(&sample.file(folder.root(), "held"), DAY * (3 - days));
    }
    let all = cache.counted_usage().unwrap().bytes;
    drop(cache);
    let cache = folder.open_with(Some(all));
    let oldest = cache.xorb(&samples[0].hash).unwrap();
    let newest = cache.xorb(&samples[2].hash).unwrap();
    cache.make_room(1).unwrap();
    assert!(held(&folder, &samples[0]) && !held(&folder, &samples[1]) && held(&folder, &samples[2]));
    let error = cache.make_room(all - 1).unwrap_err();
    assert!(matches!(error, Error::Full { evictable_bytes: 0, .. }), "{error}");
    assert_eq!(error.code(), "storage_full");
    cache.prune(0).unwrap();
    assert!(held(&folder, &samples[0]) && held(&folder, &samples[2]));
    assert_eq!(read_all(&oldest, &samples[0]).len(), 1);
    drop((oldest, newest));
    cache.make_room(all - 30_000).unwrap();
    assert!(!held(&folder, &samples[0]));
}

#[test]
fn what_was_used_since_the_last_look_is_not_the_oldest_any_more() {
    let folder = Folder::new();
    let samples: Vec<Sample> = (0..3).map(sample).collect();
    let cache = folder.open();
    for (days, sample) in (0..).zip(&samples) {
        store(&cache, sample);
        age(&sample.file(folder.root(), "held"), DAY * (3 - days));
    }
    let all = cache.counted_usage().unwrap().bytes;
    drop(cache);
    let cache = folder.open_with(Some(all));
    cache.make_room(1).unwrap();
    assert!(!held(&folder, &samples[0]));
    cache.xorb(&samples[1].hash).unwrap().touch();
    cache.make_room(all - cache.usage().bytes + 1).unwrap();
    assert!(held(&folder, &samples[1]) && !held(&folder, &samples[2]));
}

#[test]
fn what_cannot_be_reached_evicts_nothing() {
    let folder = Folder::new();
    let sample = sample(1);
    let cache = folder.open_with(Some(1_000_000));
    store(&cache, &sample);
    assert!(matches!(cache.make_room(1_000_001), Err(Error::Full { .. })));
    assert!(matches!(cache.make_room(u64::MAX), Err(Error::Full { .. })));
    assert!(held(&folder, &sample));
    cache.make_room(990_000).unwrap();
    assert!(!held(&folder, &sample));
}

#[test]
fn storing_stays_within_the_limit() {
    let folder = Folder::new();
    let max_bytes = 400_000;
    let cache = folder.open_with(Some(max_bytes));
    for seed in 0..20 {
        store(&cache, &sample(seed));
        // Sidecars and the rest of a last block are not asked for beforehand.
        assert!(disk_bytes(folder.root()) <= max_bytes + 40_000);
    }
    assert!(held(&folder, &sample(19)) && !held(&folder, &sample(0)));
    assert!(cache.usage().xorbs >= 2);
    // One that can't fit fails as a whole and leaves the cache usable.
    let large = Sample::new(99, 16, 120_000);
    let xorb = cache.xorb(&large.hash).unwrap();
    let error = large.append(&xorb, 0..16).unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert_eq!(xorb.held_end(0), None);
    large.append(&xorb, 0..1).unwrap();
}

#[test]
fn space_on_the_disk_for_others_is_kept() {
    let folder = Folder::new();
    let sample = sample(1);
    store(&folder.open(), &sample);
    let limits = Limits {
        max_bytes: None,
        min_free_bytes: u64::MAX / 2,
    };
    let cache = Cache::open(folder.root(), limits).unwrap();
    assert!(matches!(cache.make_room(1), Err(Error::Full { .. })));
    assert!(held(&folder, &sample));
    let xorb = cache.xorb(&sample.hash).unwrap();
    // What is held is served, and storing it again stores nothing.
    sample.append_all(&xorb);
    assert_eq!(read_all(&xorb, &sample).len(), 1);
    let other = Sample::new(2, 2, 100);
    let xorb = cache.xorb(&other.hash).unwrap();
    assert!(matches!(other.append(&xorb, 0..1), Err(Error::Full { .. })));
}

#[test]
fn what_a_kill_left_goes_first() {
    let folder = Folder::new();
    let samples: Vec<Sample> = (0..2).map(sample).collect();
    let cache = folder.open();
    for sample in &samples {
        store(&cache, sample);
    }
    fs::remove_file(samples[1].file(folder.root(), "held")).unwrap();
    let all = cache.counted_usage().unwrap().bytes;
    let cache = folder.open_with(Some(all));
    cache.make_room(8192).unwrap();
    assert!(held(&folder, &samples[0]) && !held(&folder, &samples[1]));
}

#[test]
fn tables_and_plans_go_when_unused_for_long_or_too_large() {
    let folder = Folder::new();
    let samples: Vec<Sample> = (0..3).map(sample).collect();
    let plans: Vec<Hash> = (0..2).map(|byte| Hash::from_bytes([byte; 32])).collect();
    let cache = folder.open();
    for sample in &samples {
        store(&cache, sample);
        age(&sample.file(folder.root(), "chunks"), DAY * 61);
    }
    for plan in &plans {
        cache.put_plan(plan, &FilePlan::default()).unwrap();
    }
    let plan_file = |plan: &Hash| {
        let name = plan.to_hex();
        folder
            .root()
            .join("plans")
            .join(&name[..2])
            .join(format!("{name}.plan"))
    };
    age(&plan_file(&plans[0]), DAY * 61);
    for sample in &samples[..2] {
        cache.xorb(&sample.hash).unwrap().drop_data(0..u64::MAX).unwrap();
    }
    let tables = || {
        samples
            .iter()
            .map(|sample| sample.file(folder.root(), "chunks").exists())
            .collect::<Vec<_>>()
    };
    drop(cache);
    // Who does not hold the lock deletes nothing by itself.
    folder.open().counted_usage().unwrap();
    assert_eq!(tables(), [true, true, true]);
    // Opening a cache counts at once, perhaps before the lock: a look must be called for.
    let cache = folder.open_with(Some(100_000_000));
    let lock = cache.lock().unwrap();
    let in_use = cache.xorb(&samples[1].hash).unwrap();
    assert!(cache.make_room(100_000_000).is_err());
    assert_eq!(tables(), [false, true, true]);
    assert!(!plan_file(&plans[0]).exists() && plan_file(&plans[1]).exists());
    assert!(in_use.chunk(0).is_some());
    drop((in_use, cache, lock));
    // A limit of which one percent is less than a block.
    age(&samples[1].file(folder.root(), "chunks"), DAY);
    let spared = folder.open_with(Some(300_000));
    let lock = spared.lock().unwrap();
    age(&plan_file(&plans[1]), HOUR);
    assert!(spared.make_room(400_000).is_err());
    assert!(plan_file(&plans[1]).exists(), "it was used lately");
    age(&plan_file(&plans[1]), DAY);
    drop((lock, spared));
    let cache = folder.open_with(Some(300_000));
    let _lock = cache.lock().unwrap();
    assert!(cache.make_room(400_000).is_err());
    assert_eq!(tables(), [false, false, true]);
    assert!(!plan_file(&plans[1]).exists());
    assert!(held(&folder, &samples[2]));
}

#[test]
fn files_of_others_are_left_alone() {
    let folder = Folder::new();
    let sample = sample(1);
    store(&folder.open(), &sample);
    let name = "ab".repeat(32);
    let strangers = [
        "xorbs/notes.txt",
        "xorbs/ab/notes.held",
        "plain/ab/sha256-12.data",
        "plans/x/y.plan",
        "answers.db",
    ];
    for stranger in strangers
        .map(str::to_owned)
        .into_iter()
        .chain([format!("plain/ab/md5-{name}.held")])
    {
        let path = folder.root().join(stranger);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "left").unwrap();
    }
    let cache = folder.open();
    assert_eq!(cache.entries().unwrap().len(), 1);
    assert_eq!(cache.verify(|_| ()).unwrap().xorbs, 1);
    cache.prune(0).unwrap();
    cache.clean_leftovers().unwrap();
    assert!(strangers.iter().all(|stranger| folder.root().join(stranger).exists()));
    assert!(!held(&folder, &sample));
}

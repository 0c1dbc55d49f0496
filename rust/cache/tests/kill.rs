//! A process that is killed while it writes: the next one takes the lock and finds nothing wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
#![allow(clippy::single_range_in_vec_init, reason = "lists of runs that happen to have one")]

mod samples;

use std::env;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use samples::{Dice, Folder, Sample, append, assert_honest, read_all};
use xetway_cache::{Cache, Limits};
use xetway_core::hash::chunk_hash;

const ROOT: &str = "XETWAY_CACHE_TEST_ROOT";

fn sample() -> Sample {
    Sample::new(1, 12, 3000)
}

/// The process that is killed: the test below starts it, with a folder in its environment.
#[test]
fn writes_until_killed() {
    let Ok(root) = env::var(ROOT) else { return };
    let cache = Cache::open(Path::new(&root), Limits::default()).unwrap();
    let _lock = cache.lock().unwrap();
    cache.clean_leftovers().unwrap();
    let sample = sample();
    let mut dice = Dice(u64::from(std::process::id()));
    let mut said = false;
    loop {
        let xorb = cache.xorb(&sample.hash).unwrap();
        let wrong = (dice.roll(4) * 3) as usize;
        let mut liar = sample.chunks[wrong].clone();
        *liar.stored.last_mut().unwrap() ^= 1;
        liar.hash = chunk_hash(&liar.stored[8..]);
        let _ = append(&xorb, wrong as u32, &[liar]);
        xorb.forget(0..12).unwrap();
        let first = dice.roll(12) as u32;
        sample.append(&xorb, first..12).unwrap();
        match dice.roll(4) {
            0 => xorb.drop_data(0..sample.start(first) + 1).unwrap(),
            1 => xorb.prove(first..12).unwrap(),
            _ => xorb.forget(0..12).unwrap(),
        }
        drop(xorb);
        if dice.roll(8) == 0 {
            cache.prune(0).unwrap();
        }
        if !said {
            println!("writing");
            said = true;
        }
    }
}

#[test]
fn a_killed_server_leaves_a_cache_that_works() {
    let folder = Folder::new();
    let sample = sample();
    for round in 0..12_u32 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "writes_until_killed", "--nocapture"])
            .env(ROOT, folder.root())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut said = String::new();
        let mut buffer = [0; 256];
        while !said.contains("writing") {
            let count = output.read(&mut buffer).unwrap();
            assert!(count > 0, "the writer ended by itself: {said}");
            said.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        // Some work of our own, so that the kills fall on different moments.
        for seed in 0..round % 5 {
            Sample::new(u64::from(seed), 12, 9000);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let cache = folder.open();
        let _lock = cache.lock().unwrap();
        cache.clean_leftovers().unwrap();
        let xorb = cache.xorb(&sample.hash).unwrap();
        for chunk in xorb.chunks(0..12).iter().filter(|chunk| chunk.proven) {
            assert_eq!(chunk.hash, sample.chunks[chunk.index as usize].hash);
        }
        assert_honest(&xorb);
        assert_eq!(cache.verify(|_| ()).unwrap().damaged, 0);
        xorb.forget(0..12).unwrap();
        sample.append_all(&xorb);
        assert_eq!(read_all(&xorb, &sample), vec![0..sample.bytes()]);
        assert!(xorb.prove_if_whole().unwrap());
        drop(xorb);
        cache.prune(0).unwrap();
    }
}

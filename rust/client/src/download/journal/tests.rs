//! What of a journal survives: cuts, flips, other subjects.

use std::fs;

use super::*;

fn subject() -> Subject {
    Subject {
        identity: [7; 32],
        size_bytes: 1000,
        label: b"\"etag\"".to_vec(),
    }
}

fn run(xorb: u8, first: u32, start: u64, chunks: u32) -> Run {
    let chunk = |index| Written {
        hash: chunk_hash(&[xorb, index]),
        raw_bytes: 10,
        stored_bytes: 18,
    };
    Run {
        xorb: Hash::from_bytes([xorb; 32]),
        first,
        start,
        chunks: (0..chunks).map(|index| chunk((first + index) as u8)).collect(),
    }
}

#[test]
fn a_cut_anywhere_costs_the_records_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let journal = Journal::create(&path, &subject()).unwrap();
    let mut ends = vec![fs::metadata(&path).unwrap().len() as usize];
    for first in [0, 3, 6] {
        journal.append(&run(1, first, u64::from(first) * 18, 3)).unwrap();
        ends.push(fs::metadata(&path).unwrap().len() as usize);
    }
    drop(journal);
    let whole = fs::read(&path).unwrap();
    let known = |journal: &Journal| journal.known(&Hash::from_bytes([1; 32]), 0, 0, 100).len();
    for cut in 0..=whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let Some(journal) = Journal::open(&path, &subject()).unwrap() else {
            assert!(cut < ends[0], "cut at {cut}");
            continue;
        };
        let records = ends.iter().filter(|end| **end <= cut).count() - 1;
        assert_eq!(known(&journal), records * 3, "cut at {cut}");
        // What is appended next is found again.
        journal
            .append(&run(1, records as u32 * 3, records as u64 * 54, 1))
            .unwrap();
        let journal = Journal::open(&path, &subject()).unwrap().unwrap();
        assert_eq!(known(&journal), records * 3 + 1, "cut at {cut}");
    }
    for flipped in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[flipped] ^= 4;
        fs::write(&path, &bytes).unwrap();
        let found = Journal::open(&path, &subject()).unwrap();
        let records = ends.iter().filter(|end| **end <= flipped).count();
        assert_eq!(
            found.map(|journal| known(&journal)),
            records.checked_sub(1).map(|count| count * 3)
        );
    }
}

#[test]
fn a_later_record_replaces_an_earlier_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let journal = Journal::create(&path, &subject()).unwrap();
    journal.append(&run(1, 4, 100, 4)).unwrap();
    journal.append(&run(2, 4, 100, 4)).unwrap();
    let mut again = run(1, 6, 136, 2);
    again.chunks[0].stored_bytes = 20;
    journal.append(&again).unwrap();
    journal.append(&run(1, 8, 174, 1)).unwrap();
    assert!(
        Journal::open(
            &path,
            &Subject {
                size_bytes: 1,
                ..subject()
            }
        )
        .unwrap()
        .is_none()
    );
    assert!(
        Journal::open(
            &path,
            &Subject {
                label: Vec::new(),
                ..subject()
            }
        )
        .unwrap()
        .is_none()
    );
    let journal = Journal::open(&path, &subject()).unwrap().unwrap();
    let xorb = Hash::from_bytes([1; 32]);
    assert_eq!(
        journal
            .known(&xorb, 6, 136, 9)
            .iter()
            .map(|chunk| chunk.stored_bytes)
            .collect::<Vec<_>>(),
        [20, 18, 18]
    );
    assert_eq!(journal.known(&xorb, 6, 136, 2).len(), 2);
    assert_eq!(journal.known(&xorb, 6, 137, 9).len(), 0);
    assert_eq!(journal.known(&xorb, 5, 118, 9).len(), 3);
    assert_eq!(journal.known(&Hash::from_bytes([3; 32]), 0, 0, 9).len(), 0);
    assert_eq!(Journal::subject(&path), Some(subject()));
}

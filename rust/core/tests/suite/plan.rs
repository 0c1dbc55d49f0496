//! Reconstruction plans against a byte-by-byte reading of the file.

use crate::inputs::splitmix;
use proptest::prelude::*;
use std::collections::HashMap;
use std::slice::from_ref;
use std::sync::Arc;
use xetway_core::hash::chunk_hash;
use xetway_core::plan::{FetchRange, Plan, check_term, plan};
use xetway_core::shard::Term;
use xetway_core::xorb::XorbMeta;
use xetway_core::{Error, Hash, Result};

/// A xorb of chunks with these raw lengths, each stored as half of that, plus header.
fn xorb(name: u8, lengths: &[u32]) -> XorbMeta {
    let hash = |index: usize| chunk_hash(&[name, index as u8]);
    let chunks = lengths
        .iter()
        .enumerate()
        .map(|(index, raw)| (hash(index), *raw, raw / 2 + 9));
    XorbMeta::new(chunk_hash(&[name]), chunks).unwrap()
}

fn term(meta: &XorbMeta, start: u32, end: u32) -> Term {
    let chunks = meta.range(start, end).unwrap();
    Term {
        xorb: meta.hash(),
        flags: 0,
        unpacked_bytes: chunks.iter().map(|chunk| chunk.raw_bytes).sum(),
        start,
        end,
    }
}

fn planned(terms: &[Term], metas: &[XorbMeta], start: u64, end: u64) -> Result<Plan> {
    plan(terms, start, end, |hash| {
        metas
            .iter()
            .find(|meta| meta.hash() == *hash)
            .ok_or(Error::UnknownXorb { xorb: *hash })
    })
}

/// Planned terms as (start, end, length), fetches as (start, end, from byte, to byte).
type Short = (u64, Vec<(u32, u32, u32)>, Vec<Vec<(u32, u32, u64, u64)>>);

fn short(plan: &Plan) -> Short {
    let range = |range: &FetchRange| (range.chunk_start, range.chunk_end, range.byte_start, range.byte_end);
    (
        plan.offset_into_first,
        plan.terms
            .iter()
            .map(|term| (term.start, term.end, term.unpacked_bytes))
            .collect(),
        plan.fetches
            .iter()
            .map(|fetch| fetch.ranges.iter().map(range).collect())
            .collect(),
    )
}

#[test]
fn trimmed_to_whole_chunks() {
    let a = xorb(1, &[10, 20, 30, 40]);
    let terms = [term(&a, 0, 4)];
    let metas = [a];
    // Chunks end at 10, 30, 60, 100 in the file and at 14, 33, 57, 86 in the chunk data.
    for (start, end, wanted) in [
        (0, 100, (0, vec![(0, 4, 100)], vec![vec![(0, 4, 0, 86)]])),
        (0, u64::MAX, (0, vec![(0, 4, 100)], vec![vec![(0, 4, 0, 86)]])),
        (0, 10, (0, vec![(0, 1, 10)], vec![vec![(0, 1, 0, 14)]])),
        (9, 11, (9, vec![(0, 2, 30)], vec![vec![(0, 2, 0, 33)]])),
        (10, 11, (0, vec![(1, 2, 20)], vec![vec![(1, 2, 14, 33)]])),
        (29, 30, (19, vec![(1, 2, 20)], vec![vec![(1, 2, 14, 33)]])),
        (45, 61, (15, vec![(2, 4, 70)], vec![vec![(2, 4, 33, 86)]])),
        (99, 100, (39, vec![(3, 4, 40)], vec![vec![(3, 4, 57, 86)]])),
        (50, 50, (0, vec![], vec![])),
        (100, 100, (0, vec![], vec![])),
        (100, 200, (0, vec![], vec![])),
    ] {
        assert_eq!(
            short(&planned(&terms, &metas, start, end).unwrap()),
            wanted,
            "[{start}, {end})"
        );
    }
    for (start, end) in [(101, 102), (5, 4), (101, 101), (u64::MAX, 0)] {
        let wanted = Error::RangeOutside { start, end, size: 100 };
        assert_eq!(planned(&terms, &metas, start, end), Err(wanted));
    }
    assert_eq!(planned(&[], &[], 0, 0).unwrap(), Plan::default());
}

#[test]
fn ranges_of_one_xorb_are_merged() {
    let (a, b) = (xorb(1, &[10; 20]), xorb(2, &[10; 5]));
    let terms = [
        term(&b, 0, 1),
        term(&a, 5, 8),
        term(&a, 8, 9),
        term(&b, 3, 5),
        term(&a, 0, 2),
        term(&a, 6, 7),
        term(&a, 1, 3),
        term(&a, 15, 20),
    ];
    let plan = planned(&terms, &[a.clone(), b.clone()], 0, u64::MAX).unwrap();
    assert_eq!(
        plan.fetches.iter().map(|fetch| fetch.xorb).collect::<Vec<_>>(),
        [b.hash(), a.hash()]
    );
    let (_, _, fetches) = short(&plan);
    assert_eq!(fetches[0], [(0, 1, 0, 14), (3, 5, 42, 70)]);
    assert_eq!(fetches[1], [(0, 3, 0, 42), (5, 9, 70, 126), (15, 20, 210, 280)]);
}

#[test]
fn terms_that_lie() {
    let a = xorb(1, &[10, 20, 30]);
    let good = term(&a, 1, 3);
    assert_eq!(check_term(&good, &a).unwrap().len(), 2);
    for (bad, code) in [
        (
            Term {
                unpacked_bytes: 49,
                ..good
            },
            "length_mismatch",
        ),
        (
            Term {
                unpacked_bytes: 51,
                ..good
            },
            "length_mismatch",
        ),
        (Term { end: 4, ..good }, "chunk_range"),
        (Term { start: 3, ..good }, "chunk_range"),
        (Term { end: 0, ..good }, "chunk_range"),
        (
            Term {
                xorb: Hash::ZERO,
                ..good
            },
            "unknown_xorb",
        ),
    ] {
        assert_eq!(
            planned(&[good, bad], from_ref(&a), 0, u64::MAX).unwrap_err().code(),
            code
        );
        // A term outside the range is not looked at.
        assert!(planned(&[good, bad], from_ref(&a), 0, 50).is_ok());
    }
}

#[test]
fn the_lookup_may_share_and_may_fail_in_its_own_way() {
    #[derive(Debug)]
    enum Own {
        Gone,
        Core(Error),
    }
    impl From<Error> for Own {
        fn from(error: Error) -> Self {
            Self::Core(error)
        }
    }
    let a = Arc::new(xorb(1, &[10, 20]));
    let terms = [term(&a, 0, 2)];
    let shared = plan(&terms, 0, 5, |_| Ok::<_, Own>(Arc::clone(&a))).unwrap();
    assert_eq!(shared.terms.len(), 1);
    assert!(matches!(
        plan(&terms, 0, 5, |_| Err::<Arc<XorbMeta>, _>(Own::Gone)),
        Err(Own::Gone)
    ));
    let outside = plan(&terms, 31, 32, |_| Ok::<_, Own>(Arc::clone(&a)));
    assert!(matches!(outside, Err(Own::Core(error)) if error.code() == "range_outside"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Executing the plan gives exactly the bytes asked for.
    #[test]
    fn a_plan_delivers_the_range(
        lengths in prop::collection::vec(prop::collection::vec(1_u32..50, 1..12), 1..4),
        picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..10),
        from: prop::sample::Index,
        to: prop::sample::Index,
    ) {
        let metas: Vec<XorbMeta> = (0..).zip(&lengths).map(|(name, lengths)| xorb(name, lengths)).collect();
        let content: HashMap<Hash, Vec<u8>> =
            (0..).zip(&metas).map(|(seed, meta)| (meta.hash(), splitmix(seed, meta.raw_bytes() as usize))).collect();
        let terms: Vec<Term> = picks.iter().map(|(which, start, count)| {
            let meta = which.get(&metas);
            let start = start.index(meta.len());
            let end = start + 1 + count.index(meta.len() - start);
            term(meta, start as u32, end as u32)
        }).collect();
        let raw = |hash: &Hash, start: u32, end: u32| {
            let meta = metas.iter().find(|meta| meta.hash() == *hash).unwrap();
            let bytes = meta.raw_start(start as usize).unwrap() as usize..meta.raw_start(end as usize).unwrap() as usize;
            content[hash][bytes].to_vec()
        };
        let file: Vec<u8> = terms.iter().flat_map(|term| raw(&term.xorb, term.start, term.end)).collect();
        let (from, to) = (from.index(file.len() + 1), to.index(file.len() + 1));
        let (from, to) = (from.min(to), from.max(to));
        let plan = planned(&terms, &metas, from as u64, to as u64).unwrap();
        let got: Vec<u8> = plan.terms.iter().flat_map(|term| raw(&term.xorb, term.start, term.end)).collect();
        prop_assert_eq!(&got[plan.offset_into_first as usize..][..to - from], &file[from..to]);
        for term in &plan.terms {
            let chunks = raw(&term.xorb, term.start, term.end);
            prop_assert_eq!(chunks.len(), term.unpacked_bytes as usize);
            let fetch = plan.fetches.iter().find(|fetch| fetch.xorb == term.xorb).unwrap();
            let holds = |range: &&FetchRange| range.chunk_start <= term.start && term.end <= range.chunk_end;
            prop_assert_eq!(fetch.ranges.iter().filter(holds).count(), 1);
            prop_assert!(fetch.ranges.windows(2).all(|pair| pair[0].chunk_end < pair[1].chunk_start));
        }
    }
}

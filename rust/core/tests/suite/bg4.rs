//! Byte grouping.

use crate::inputs::splitmix;
use xetway_core::bg4::{merge, split};

fn grouped(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0xee; data.len()];
    assert!(split(data, &mut out));
    out
}

fn naive(data: &[u8]) -> Vec<u8> {
    (0..4)
        .flat_map(|plane| data.iter().skip(plane).step_by(4).copied())
        .collect()
}

#[test]
fn order_of_bytes() {
    let cases: [(u8, &[u8]); 6] = [
        (0, &[]),
        (1, &[0]),
        (8, &[0, 4, 1, 5, 2, 6, 3, 7]),
        (10, &[0, 4, 8, 1, 5, 9, 2, 6, 3, 7]),
        (13, &[0, 4, 8, 12, 1, 5, 9, 2, 6, 10, 3, 7, 11]),
        (15, &[0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11]),
    ];
    for (count, wanted) in cases {
        assert_eq!(grouped(&(0..count).collect::<Vec<u8>>()), wanted);
    }
}

#[test]
fn both_agree_with_the_plain_definition_at_every_length_and_alignment() {
    let data = splitmix(1, 131_072 + 16);
    for length in (0..300).chain([8192, 131_071, 131_072]) {
        for start in 0..16 {
            let data = &data[start..start + length];
            let wanted = naive(data);
            assert_eq!(grouped(data), wanted);
            // What lies around the destination stays.
            let mut back = vec![0xee; start + length + 1];
            assert!(merge(&wanted, &mut back[start..start + length]));
            assert_eq!(back[start..start + length], *data);
            assert!(
                back[..start]
                    .iter()
                    .chain(&back[start + length..])
                    .all(|byte| *byte == 0xee)
            );
        }
    }
}

#[test]
fn lengths_that_differ_change_nothing() {
    let mut out = [1, 2, 3];
    assert!(!merge(&[0; 4], &mut out));
    assert!(!merge(&[0; 2], &mut out));
    assert!(!split(&[0; 4], &mut out));
    assert!(!split(&[0; 2], &mut out));
    assert_eq!(out, [1, 2, 3]);
}

//! Byte grouping.

use crate::inputs::splitmix;
use xetway_core::bg4::{merge, split};

fn grouped(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    split(data, &mut out);
    out
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
fn merge_undoes_split_at_every_length() {
    for length in (0..300).chain([8192, 131_071, 131_072]) {
        let data = splitmix(length as u64, length);
        let naive: Vec<u8> = (0..4)
            .flat_map(|plane| data.iter().skip(plane).step_by(4).copied())
            .collect();
        assert_eq!(grouped(&data), naive);
        let mut back = vec![0xee; length];
        assert!(merge(&naive, &mut back));
        assert_eq!(back, data);
    }
}

#[test]
fn lengths_that_differ_change_nothing() {
    let mut out = [1, 2, 3];
    assert!(!merge(&[0; 4], &mut out));
    assert!(!merge(&[0; 2], &mut out));
    assert_eq!(out, [1, 2, 3]);
}

#[test]
fn split_appends() {
    let mut out = vec![9];
    split(&[1, 2], &mut out);
    assert_eq!(out, [9, 1, 2]);
}

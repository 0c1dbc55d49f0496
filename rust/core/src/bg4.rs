//! Byte grouping by 4: put byte 0 of every group of four first, then every byte 1, and so on.
//!
//! Arrays of 32-bit or 16-bit numbers compress better this way. When the length is not a multiple
//! of 4, the first groups hold one byte more. Both directions keep the length.
//!
//! Source: draft-denis-xet-03, "`ByteGrouping4LZ4` (Type 2)".

/// Return the lengths of the four planes of `total` bytes.
const fn plane_bytes(total: usize) -> [usize; 4] {
    [total.div_ceil(4), (total + 2) / 4, (total + 1) / 4, total / 4]
}

/// Append the grouped form of `data` to `out`.
pub fn split(data: &[u8], out: &mut Vec<u8>) {
    let (groups, rest) = data.as_chunks::<4>();
    out.reserve(data.len());
    out.extend(groups.iter().map(|[byte, _, _, _]| *byte));
    out.extend(rest.first());
    out.extend(groups.iter().map(|[_, byte, _, _]| *byte));
    out.extend(rest.get(1));
    out.extend(groups.iter().map(|[_, _, byte, _]| *byte));
    out.extend(rest.get(2));
    out.extend(groups.iter().map(|[_, _, _, byte]| *byte));
}

/// Write the plain form of the grouped bytes `grouped` into `out`.
///
/// Returns `false`, and writes nothing, if the two lengths differ.
#[must_use]
pub fn merge(grouped: &[u8], out: &mut [u8]) -> bool {
    if grouped.len() != out.len() {
        return false;
    }
    let [zeros_bytes, ones_bytes, twos_bytes, _] = plane_bytes(grouped.len());
    let (zeros, rest) = grouped.split_at_checked(zeros_bytes).unwrap_or_default();
    let (ones, rest) = rest.split_at_checked(ones_bytes).unwrap_or_default();
    let (twos, threes) = rest.split_at_checked(twos_bytes).unwrap_or_default();
    let (groups, tail) = out.as_chunks_mut::<4>();
    let planes = zeros.iter().zip(ones).zip(twos).zip(threes);
    for (group, (((zero, one), two), three)) in groups.iter_mut().zip(planes) {
        *group = [*zero, *one, *two, *three];
    }
    for (byte, plane) in tail.iter_mut().zip([zeros, ones, twos]) {
        *byte = plane.last().copied().unwrap_or_default();
    }
    true
}

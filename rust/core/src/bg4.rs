//! Byte grouping by 4: put byte 0 of every group of four first, then every byte 1, and so on.
//!
//! Arrays of 32-bit or 16-bit numbers compress better this way. When the length is not a multiple
//! of 4, the first groups hold one byte more. Both directions keep the length.
//!
//! Source: draft-denis-xet-03, "`ByteGrouping4LZ4` (Type 2)".

/// Where each of the four planes ends, in a buffer of `total` bytes.
const fn plane_ends(total: usize) -> [usize; 3] {
    let zeros = total.div_ceil(4);
    let ones = zeros + (total + 2) / 4;
    [zeros, ones, ones + (total + 1) / 4]
}

/// Write the grouped form of `data` into `out`.
///
/// Returns `false`, and writes nothing, if the two lengths differ.
#[must_use]
pub fn split(data: &[u8], out: &mut [u8]) -> bool {
    if data.len() != out.len() {
        return false;
    }
    let [zeros, ones, twos] = plane_ends(out.len());
    let (rest, threes) = out.split_at_mut_checked(twos).unwrap_or_default();
    let (rest, twos) = rest.split_at_mut_checked(ones).unwrap_or_default();
    let (zeros, ones) = rest.split_at_mut_checked(zeros).unwrap_or_default();
    let (groups, tail) = data.as_chunks::<4>();
    let planes = zeros.iter_mut().zip(&mut *ones).zip(&mut *twos).zip(&mut *threes);
    // Only blocks of a known length become vector instructions; what is left of them comes first.
    let (blocks, rest) = groups.as_chunks::<16>();
    for (group, (((zero, one), two), three)) in rest.iter().zip(planes.skip(groups.len() - rest.len())) {
        [*zero, *one, *two, *three] = *group;
    }
    for (byte, plane) in tail.iter().zip([&mut *zeros, &mut *ones, &mut *twos]) {
        if let Some(last) = plane.last_mut() {
            *last = *byte;
        }
    }
    let zeros = zeros.as_chunks_mut::<16>().0.iter_mut();
    let ones = ones.as_chunks_mut::<16>().0.iter_mut();
    let twos = twos.as_chunks_mut::<16>().0.iter_mut();
    let threes = threes.as_chunks_mut::<16>().0.iter_mut();
    for (block, (((zero, one), two), three)) in blocks.iter().zip(zeros.zip(ones).zip(twos).zip(threes)) {
        *zero = block.map(|group| group[0]);
        *one = block.map(|group| group[1]);
        *two = block.map(|group| group[2]);
        *three = block.map(|group| group[3]);
    }
    true
}

/// Write the plain form of the grouped bytes `grouped` into `out`.
///
/// Returns `false`, and writes nothing, if the two lengths differ.
#[must_use]
pub fn merge(grouped: &[u8], out: &mut [u8]) -> bool {
    if grouped.len() != out.len() {
        return false;
    }
    let [zeros, ones, twos] = plane_ends(grouped.len());
    let (rest, threes) = grouped.split_at_checked(twos).unwrap_or_default();
    let (rest, twos) = rest.split_at_checked(ones).unwrap_or_default();
    let (zeros, ones) = rest.split_at_checked(zeros).unwrap_or_default();
    let (groups, tail) = out.as_chunks_mut::<4>();
    let planes = zeros.iter().zip(ones).zip(twos).zip(threes);
    for (group, (((zero, one), two), three)) in groups.iter_mut().zip(planes) {
        // Put together as a number, because an array of four bytes is stored byte by byte.
        let low = u32::from(*zero) | u32::from(*one) << 8;
        let high = u32::from(*two) | u32::from(*three) << 8;
        *group = (low | high << 16).to_le_bytes();
    }
    for (byte, plane) in tail.iter_mut().zip([zeros, ones, twos]) {
        *byte = plane.last().copied().unwrap_or_default();
    }
    true
}

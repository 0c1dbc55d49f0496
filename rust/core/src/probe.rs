//! Guess the compression scheme of a chunk from samples of it.
//!
//! Byte grouping is guessed as the deployed client does: for each position modulo 4, a histogram of
//! the number of one bits of a byte; if one of them is far enough from their mean (relative
//! entropy over 0.02), grouping pays. A position where some bit count never occurs says nothing.
//! Unlike that client, which looks at every byte of one chunk in 32, this looks at about 8 KiB of
//! every chunk, and names "none" for data that cannot shrink: order-0 entropy of the samples next
//! to 8 bits, and LZ4 finds nothing in one contiguous slice.

use crate::codec::Scheme;
use crate::lz4;

const SAMPLES: usize = 16;
/// A multiple of 4, so that positions modulo 4 are the same in every sample.
const SAMPLE_BYTES: usize = 512;
const TRIAL_BYTES: usize = 16 * 1024;
const GROUPING_THRESHOLD: f64 = 0.02;
/// 8 KiB of uniform random bytes measure about 7.98 bits; fewer bytes measure less, and are then
/// simply compressed.
const RANDOM_BITS: f64 = 7.9;

const BIT_COUNTS: usize = 9;

type BitHistogram = [u32; BIT_COUNTS];
type ByteHistogram = [u32; 256];

pub(crate) fn choose(data: &[u8], lz4: &mut lz4::Encoder) -> Scheme {
    let mut bytes = [[0; 256]; 4];
    for sample in samples(data) {
        count(sample, &mut bytes);
    }
    if grouping_pays(&bit_histograms(&bytes)) {
        return Scheme::ByteGrouping4Lz4;
    }
    // Repeats are invisible to a histogram.
    if entropy_bits(&bytes) >= RANDOM_BITS && !lz4.shrinks(middle(data)) {
        return Scheme::None;
    }
    Scheme::Lz4
}

/// Return one contiguous slice from the middle.
fn middle(data: &[u8]) -> &[u8] {
    let length = data.len().min(TRIAL_BYTES);
    let start = (data.len() - length) / 2;
    data.get(start..start + length).unwrap_or_default()
}

/// Return evenly spread samples, or all of a short input as one.
fn samples(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = data.len() <= SAMPLES * SAMPLE_BYTES;
    let (sample_bytes, step) = if whole {
        (data.len(), data.len().max(1))
    } else {
        (SAMPLE_BYTES, (data.len() - SAMPLE_BYTES) / (SAMPLES - 1) / 4 * 4)
    };
    let count = if whole { 1 } else { SAMPLES };
    data.windows(sample_bytes.max(1)).step_by(step).take(count)
}

/// Count the bytes at each position modulo 4.
fn count(sample: &[u8], bytes: &mut [ByteHistogram; 4]) {
    let (groups, rest) = sample.as_chunks::<4>();
    for group in groups {
        count_group(group, bytes);
    }
    count_group(rest, bytes);
}

#[inline]
fn count_group(group: &[u8], bytes: &mut [ByteHistogram; 4]) {
    for (position, byte) in bytes.iter_mut().zip(group) {
        if let Some(count) = position.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
}

fn bit_histograms(bytes: &[ByteHistogram; 4]) -> [BitHistogram; 4] {
    let mut bits = [[0; BIT_COUNTS]; 4];
    for byte in 0..=u8::MAX {
        for (position, counts) in bits.iter_mut().zip(bytes) {
            if let (Some(sum), Some(count)) = (
                position.get_mut(byte.count_ones() as usize),
                counts.get(usize::from(byte)),
            ) {
                *sum += count;
            }
        }
    }
    bits
}

fn grouping_pays(bits: &[BitHistogram; 4]) -> bool {
    let mut base = [1_u32; BIT_COUNTS];
    for position in bits {
        for (sum, count) in base.iter_mut().zip(position) {
            *sum += count;
        }
    }
    let total = f64::from(bits.iter().flatten().sum::<u32>());
    bits.iter()
        .any(|position| divergence(position, &base, total) > GROUPING_THRESHOLD)
}

/// Relative entropy of one position against the mean, or 0 if any of its bins is empty.
fn divergence(position: &BitHistogram, base: &BitHistogram, total: f64) -> f64 {
    if position.contains(&0) {
        return 0.0;
    }
    let own = f64::from(position.iter().sum::<u32>());
    position
        .iter()
        .zip(base)
        .map(|(count, base)| {
            let p = f64::from(*count) / own;
            p * (p / (f64::from(*base) / total)).ln()
        })
        .sum()
}

/// Order-0 entropy in bits for each byte.
fn entropy_bits(bytes: &[ByteHistogram; 4]) -> f64 {
    let total = f64::from(bytes.iter().flatten().sum::<u32>());
    let [zeros, ones, twos, threes] = bytes;
    zeros
        .iter()
        .zip(ones)
        .zip(twos)
        .zip(threes)
        .map(|(((zero, one), two), three)| zero + one + two + three)
        .filter(|count| *count > 0)
        .map(|count| {
            let p = f64::from(count) / total;
            -p * p.log2()
        })
        .sum()
}

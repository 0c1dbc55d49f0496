//! Serialise a shard.

use crate::hash::{Hash, swapped};
use crate::shard::records::{BOOKEND, FOOTER_VERSION, HEADER_VERSION, TAG, record};
use crate::shard::{FILE_WITH_METADATA, FILE_WITH_VERIFICATION, FOOTER_BYTES, FileInfo, Footer, RECORD_BYTES};
use crate::shard::{Shard, XorbInfo};

/// What a shard is serialised for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Sent to a server: no footer.
    Upload,
    /// Kept by a server: footer, no key, no lookup tables.
    Stored {
        /// When the shard was made, in Unix seconds.
        created_s: u64,
        /// When it expires, in Unix seconds; 0 for never.
        expiry_s: u64,
    },
    /// Sent as the answer to a deduplication query: footer, and every chunk hash hashed with `key`.
    ///
    /// A key of zeros means no key, as everywhere in the format.
    Keyed {
        /// The key, which the footer tells the receiver.
        key: [u8; 32],
        /// When the shard was made, in Unix seconds.
        created_s: u64,
        /// When the key expires, in Unix seconds; 0 for never.
        expiry_s: u64,
    },
}

/// Where the parts of a shard start.
struct Offsets {
    xorbs: u64,
    footer: u64,
}

/// Return the bytes of `shard` in the given form.
///
/// Files and xorbs are written in their order in `shard` (see [`Shard::sort`]). The shard's own
/// footer is not used: its totals are computed, and its chunk hashes are taken to be plain. If the
/// number of verification hashes of a file is not that of its terms, none are written.
pub fn serialise(shard: &Shard, form: Form) -> Vec<u8> {
    let (key, times) = match form {
        Form::Upload => (None, None),
        Form::Stored { created_s, expiry_s } => (None, Some((created_s, expiry_s))),
        Form::Keyed {
            key,
            created_s,
            expiry_s,
        } => (Some(key), Some((created_s, expiry_s))),
    };
    let key = key.filter(|key| *key != [0; 32]);
    let mut out = Vec::new();
    let offsets = write_sections(shard, key.as_ref(), times.is_some(), &mut out);
    if let Some((created_s, expiry_s)) = times {
        let footer = Footer {
            key: key.unwrap_or_default(),
            created_s,
            expiry_s,
            stored_bytes_on_disk: shard.xorbs.iter().map(|xorb| u64::from(xorb.bytes_on_disk)).sum(),
            materialized_bytes: shard.files.iter().map(FileInfo::size_bytes).sum(),
            stored_bytes: shard.xorbs.iter().map(|xorb| u64::from(xorb.bytes_in_xorb)).sum(),
        };
        write_footer(&footer, &offsets, &mut out);
    }
    out
}

fn write_sections(shard: &Shard, key: Option<&[u8; 32]>, with_footer: bool, out: &mut Vec<u8>) -> Offsets {
    out.extend_from_slice(&TAG);
    out.extend_from_slice(&HEADER_VERSION.to_le_bytes());
    let footer_bytes = if with_footer { FOOTER_BYTES as u64 } else { 0 };
    out.extend_from_slice(&footer_bytes.to_le_bytes());
    for file in &shard.files {
        write_file(file, out);
    }
    out.extend_from_slice(&record(BOOKEND, [0; 4]));
    let xorbs = out.len() as u64;
    for xorb in &shard.xorbs {
        write_xorb(xorb, key, out);
    }
    out.extend_from_slice(&record(BOOKEND, [0; 4]));
    Offsets {
        xorbs,
        footer: out.len() as u64,
    }
}

fn write_file(file: &FileInfo, out: &mut Vec<u8>) {
    let verification = file
        .verification
        .as_ref()
        .filter(|hashes| hashes.len() == file.terms.len());
    let mut flags = file.flags & !(FILE_WITH_VERIFICATION | FILE_WITH_METADATA);
    flags |= if verification.is_some() {
        FILE_WITH_VERIFICATION
    } else {
        0
    };
    flags |= if file.sha256.is_some() { FILE_WITH_METADATA } else { 0 };
    out.extend_from_slice(&record(file.hash, [flags, count(file.terms.len()), 0, 0]));
    out.extend(file.terms.iter().flat_map(crate::shard::Term::to_bytes));
    for hash in verification.into_iter().flatten() {
        out.extend_from_slice(&record(*hash, [0; 4]));
    }
    if let Some(sha256) = file.sha256 {
        out.extend_from_slice(&record(Hash::from_bytes(swapped(sha256)), [0; 4]));
    }
}

fn write_xorb(xorb: &XorbInfo, key: Option<&[u8; 32]>, out: &mut Vec<u8>) {
    let chunks = Shard::keyed(xorb, key);
    let header = [xorb.flags, count(chunks.len()), xorb.bytes_in_xorb, xorb.bytes_on_disk];
    out.reserve(RECORD_BYTES * (chunks.len() + 1));
    out.extend_from_slice(&record(xorb.hash, header));
    for chunk in chunks.iter() {
        out.extend_from_slice(&record(chunk.hash, [chunk.offset, chunk.raw_bytes, chunk.flags, 0]));
    }
}

/// A list of 2^32 records is 192 GiB: no such list exists in memory.
fn count(records: usize) -> u32 {
    u32::try_from(records).unwrap_or(u32::MAX)
}

/// | offset | size | field |
/// |---|---|---|
/// | 0 | 8 | version, 1 |
/// | 8 | 8 | offset of the file section |
/// | 16 | 8 | offset of the xorb section |
/// | 24 | 16 | file lookup: offset, entries |
/// | 40 | 16 | xorb lookup: offset, entries |
/// | 56 | 16 | chunk lookup: offset, entries |
/// | 72 | 32 | chunk hash key |
/// | 104 | 8 | created, Unix seconds |
/// | 112 | 8 | expiry, Unix seconds |
/// | 120 | 48 | reserved |
/// | 168 | 8 | stored bytes on disk |
/// | 176 | 8 | materialized bytes |
/// | 184 | 8 | stored bytes |
/// | 192 | 8 | offset of the footer |
fn write_footer(footer: &Footer, offsets: &Offsets, out: &mut Vec<u8>) {
    let no_lookup = [offsets.footer, 0];
    let fields = [FOOTER_VERSION, RECORD_BYTES as u64, offsets.xorbs];
    out.extend(
        fields
            .iter()
            .chain([no_lookup; 3].iter().flatten())
            .flat_map(|field| field.to_le_bytes()),
    );
    out.extend_from_slice(&footer.key);
    out.extend(
        [footer.created_s, footer.expiry_s]
            .iter()
            .flat_map(|field| field.to_le_bytes()),
    );
    out.extend_from_slice(&[0; 48]);
    let totals = [
        footer.stored_bytes_on_disk,
        footer.materialized_bytes,
        footer.stored_bytes,
        offsets.footer,
    ];
    out.extend(totals.iter().flat_map(|field| field.to_le_bytes()));
}

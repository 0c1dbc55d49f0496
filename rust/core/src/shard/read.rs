//! Parse a shard.
//!
//! Accepts the upload form (footer size 0, or 200 with no footer behind it, as some older clients
//! send) and the stored form, with or without lookup tables; what the tables say is not used.
//! Reserved fields are ignored. Memory is bounded by the length of the input.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::hash::{Hash, swapped};
use crate::reader::Reader;
use crate::shard::records::{BlockHeader, FOOTER_VERSION, TAG, read_block_header};
use crate::shard::{ChunkInfo, FILE_WITH_METADATA, FILE_WITH_VERIFICATION, FOOTER_BYTES, FileInfo, Footer};
use crate::shard::{RECORD_BYTES, Shard, Term, XorbInfo};

const FORMAT: &str = "shard";
const RECORD: u64 = RECORD_BYTES as u64;
/// Entry lengths of the file, xorb and chunk lookup tables.
const LOOKUP_ENTRY_BYTES: [u64; 3] = [12, 12, 16];

/// Parse a whole shard.
///
/// Of several files with the same hash the first is kept. If some files have verification hashes,
/// all must have them.
pub fn parse(bytes: &[u8]) -> Result<Shard> {
    let mut reader = Reader::new(FORMAT, bytes);
    if reader.array()? != TAG {
        return Err(reader.malformed(32, "shard_tag", "it does not start with the tag of a shard"));
    }
    let _header_version = reader.u64()?;
    let footer_bytes = reader.u64()?;
    if footer_bytes != 0 && footer_bytes != FOOTER_BYTES as u64 {
        return Err(reader.malformed(8, "shard_footer_size", "footer size is not 0 or 200"));
    }
    let files = read_files(&mut reader)?;
    let xorbs_offset = reader.offset();
    let xorbs = read_xorbs(&mut reader)?;
    let footer = match (footer_bytes, reader.remaining()) {
        (_, 0) => None,
        (0, _) => return Err(reader.malformed(0, "shard_trailing_bytes", "bytes follow the xorb section")),
        _ => Some(read_footer(&mut reader, xorbs_offset)?),
    };
    Ok(Shard { files, xorbs, footer })
}

fn read_files(reader: &mut Reader<'_>) -> Result<Vec<FileInfo>> {
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    let mut verified = None;
    while let Some(header) = read_block_header(reader)? {
        let at = reader.offset().saturating_sub(RECORD);
        let file = read_file(reader, &header)?;
        if *verified.get_or_insert(file.verification.is_some()) != file.verification.is_some() {
            return Err(Error::Malformed {
                format: FORMAT,
                offset: at,
                code: "shard_partly_verified",
                reason: "only some files have verification hashes",
            });
        }
        if seen.insert(file.hash) {
            files.push(file);
        }
    }
    Ok(files)
}

fn read_file(reader: &mut Reader<'_>, header: &BlockHeader) -> Result<FileInfo> {
    let with_verification = header.flags & FILE_WITH_VERIFICATION != 0;
    reader.ensure(header.count, if with_verification { RECORD * 2 } else { RECORD })?;
    let terms = (0..header.count)
        .map(|_| reader.array().map(|record| Term::from_bytes(&record)))
        .collect::<Result<Vec<_>>>()?;
    let verification = if with_verification {
        Some(
            (0..header.count)
                .map(|_| read_padded_hash(reader))
                .collect::<Result<Vec<_>>>()?,
        )
    } else {
        None
    };
    let sha256 = if header.flags & FILE_WITH_METADATA != 0 {
        Some(swapped(*read_padded_hash(reader)?.as_bytes()))
    } else {
        None
    };
    Ok(FileInfo {
        hash: header.hash,
        flags: header.flags,
        terms,
        verification,
        sha256,
    })
}

/// Read a record that is a hash and 16 reserved bytes.
fn read_padded_hash(reader: &mut Reader<'_>) -> Result<Hash> {
    let hash = reader.hash()?;
    reader.array::<16>()?;
    Ok(hash)
}

fn read_xorbs(reader: &mut Reader<'_>) -> Result<Vec<XorbInfo>> {
    let mut xorbs = Vec::new();
    while let Some(header) = read_block_header(reader)? {
        reader.ensure(header.count, RECORD)?;
        let chunks = (0..header.count)
            .map(|_| read_chunk(reader))
            .collect::<Result<Vec<_>>>()?;
        let BlockHeader {
            hash,
            flags,
            sizes: [bytes_in_xorb, bytes_on_disk],
            ..
        } = header;
        xorbs.push(XorbInfo {
            hash,
            flags,
            bytes_in_xorb,
            bytes_on_disk,
            chunks,
        });
    }
    Ok(xorbs)
}

fn read_chunk(reader: &mut Reader<'_>) -> Result<ChunkInfo> {
    let chunk = ChunkInfo {
        hash: reader.hash()?,
        offset: reader.u32()?,
        raw_bytes: reader.u32()?,
        flags: reader.u32()?,
    };
    reader.u32()?;
    Ok(chunk)
}

/// Read lookup tables, if any, and the footer, which must end the shard.
fn read_footer(reader: &mut Reader<'_>, xorbs_offset: u64) -> Result<Footer> {
    let tables_offset = reader.offset();
    let Some(tables_bytes) = reader.remaining().checked_sub(FOOTER_BYTES) else {
        return Err(reader.truncated(FOOTER_BYTES as u64));
    };
    reader.take(tables_bytes)?;
    let footer_offset = reader.offset();
    if reader.u64()? != FOOTER_VERSION {
        return Err(reader.malformed(8, "shard_footer_version", "footer version is not 1"));
    }
    for expected in [RECORD, xorbs_offset] {
        expect_offset(reader, expected)?;
    }
    check_tables(reader, tables_offset, footer_offset)?;
    let key = reader.array()?;
    let (created_s, expiry_s) = (reader.u64()?, reader.u64()?);
    reader.array::<48>()?;
    let (stored_bytes_on_disk, materialized_bytes, stored_bytes) = (reader.u64()?, reader.u64()?, reader.u64()?);
    expect_offset(reader, footer_offset)?;
    Ok(Footer {
        key,
        created_s,
        expiry_s,
        stored_bytes_on_disk,
        materialized_bytes,
        stored_bytes,
    })
}

fn expect_offset(reader: &mut Reader<'_>, expected: u64) -> Result<()> {
    if reader.u64()? != expected {
        return Err(reader.malformed(8, "shard_footer_offsets", "footer names a wrong offset"));
    }
    Ok(())
}

/// Check that the lookup tables fill the room between the xorb section and the footer.
fn check_tables(reader: &mut Reader<'_>, start: u64, end: u64) -> Result<()> {
    let mut position = start;
    for entry_bytes in LOOKUP_ENTRY_BYTES {
        let offset = reader.u64()?;
        let entries = reader.u64()?;
        let bytes = entries
            .checked_mul(entry_bytes)
            .filter(|bytes| *bytes <= end.saturating_sub(position));
        let Some(bytes) = bytes else {
            return Err(reader.malformed(8, "shard_lookup", "a lookup table does not fit before the footer"));
        };
        // Writers without tables name the footer's offset, or none at all.
        if entries > 0 && offset != position {
            return Err(reader.malformed(16, "shard_lookup", "a lookup table is not where it must be"));
        }
        position = position.saturating_add(bytes);
    }
    if position != end {
        return Err(reader.malformed(
            0,
            "shard_lookup",
            "bytes between the sections and the footer are in no table",
        ));
    }
    Ok(())
}

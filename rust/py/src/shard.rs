//! Shards as tuples; the Python face makes structs of them.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use xetway_core::Hash as Inner;
use xetway_core::shard::{
    ChunkInfo, FileInfo, Footer, Form, Shard, XorbInfo, parse, serialise, terms_from_bytes, terms_to_bytes,
};

use crate::buffer::Bytes;
use crate::errors::{OrRaise, argument_error};
use crate::hash::{self, Hash};
use crate::xorb::integers;

type Row<'py> = Bound<'py, PyBytes>;
/// (hash, terms 48 bytes each, verification hashes or None, SHA-256 or None, flags).
type FileTuple<'py> = (Hash, Row<'py>, Option<Row<'py>>, Option<Row<'py>>, u32);
/// (hash, raw bytes, bytes on disk, chunk hashes, raw lengths, raw offsets, chunk flags, flags).
type XorbTuple<'py> = (Hash, u32, u32, Row<'py>, Row<'py>, Row<'py>, Row<'py>, u32);
/// (key, created, expiry, bytes on disk, materialized bytes, stored bytes).
type FooterTuple<'py> = (Row<'py>, u64, u64, u64, u64, u64);
type ShardTuple<'py> = (Vec<FileTuple<'py>>, Vec<XorbTuple<'py>>, Option<FooterTuple<'py>>);

fn integer_row(py: Python<'_>, values: impl Iterator<Item = u32>) -> Row<'_> {
    let bytes: Vec<u8> = values.flat_map(u32::to_le_bytes).collect();
    PyBytes::new(py, &bytes)
}

fn hash_row<'py, 'a>(py: Python<'py>, hashes: impl Iterator<Item = &'a Inner>) -> Row<'py> {
    let bytes: Vec<u8> = hashes.flat_map(|hash| *hash.as_bytes()).collect();
    PyBytes::new(py, &bytes)
}

fn file_tuple<'py>(py: Python<'py>, file: &FileInfo) -> FileTuple<'py> {
    let terms = PyBytes::new(py, &terms_to_bytes(&file.terms));
    let verification = file.verification.as_ref().map(|hashes| hash_row(py, hashes.iter()));
    let sha256 = file.sha256.map(|digest| PyBytes::new(py, &digest));
    (Hash(file.hash), terms, verification, sha256, file.flags)
}

fn xorb_tuple<'py>(py: Python<'py>, xorb: &XorbInfo) -> XorbTuple<'py> {
    let chunks = &xorb.chunks;
    (
        Hash(xorb.hash),
        xorb.bytes_in_xorb,
        xorb.bytes_on_disk,
        hash_row(py, chunks.iter().map(|chunk| &chunk.hash)),
        integer_row(py, chunks.iter().map(|chunk| chunk.raw_bytes)),
        integer_row(py, chunks.iter().map(|chunk| chunk.offset)),
        integer_row(py, chunks.iter().map(|chunk| chunk.flags)),
        xorb.flags,
    )
}

fn footer_tuple<'py>(py: Python<'py>, footer: &Footer) -> FooterTuple<'py> {
    let key = PyBytes::new(py, &footer.key);
    let sums = (
        footer.stored_bytes_on_disk,
        footer.materialized_bytes,
        footer.stored_bytes,
    );
    (key, footer.created_s, footer.expiry_s, sums.0, sums.1, sums.2)
}

#[pyfunction]
fn parse_shard(py: Python<'_>, data: Bytes) -> PyResult<ShardTuple<'_>> {
    let shard = py.detach(|| parse(data.as_slice())).or_raise(py)?;
    let files = shard.files.iter().map(|file| file_tuple(py, file)).collect();
    let xorbs = shard.xorbs.iter().map(|xorb| xorb_tuple(py, xorb)).collect();
    Ok((
        files,
        xorbs,
        shard.footer.as_ref().map(|footer| footer_tuple(py, footer)),
    ))
}

type FileArgument<'py> = (PyRef<'py, Hash>, Bytes, Option<Bytes>, Option<Bytes>, u32);
type XorbArgument<'py> = (PyRef<'py, Hash>, u32, u32, Bytes, Bytes, Bytes, Bytes, u32);

fn file_from(py: Python<'_>, file: &FileArgument<'_>) -> PyResult<FileInfo> {
    let (hash, terms, verification, sha256, flags) = file;
    let terms = terms_from_bytes(terms.as_slice()).or_raise(py)?;
    let verification = verification.as_ref().map(|raw| hash::hashes(py, raw)).transpose()?;
    if verification.as_ref().is_some_and(|hashes| hashes.len() != terms.len()) {
        let message = "a file has one verification hash for each term";
        return Err(argument_error(py, "shard", "verification_count", message));
    }
    let sha256 = sha256.as_ref().map(|raw| hash::key(py, "SHA-256", raw)).transpose()?;
    Ok(FileInfo {
        hash: hash.0,
        flags: *flags,
        terms,
        verification,
        sha256,
    })
}

fn xorb_from(py: Python<'_>, xorb: &XorbArgument<'_>) -> PyResult<XorbInfo> {
    let (hash, bytes_in_xorb, bytes_on_disk, hashes, lengths, offsets, chunk_flags, flags) = xorb;
    let hashes = hash::hashes(py, hashes)?;
    let rows = (
        integers(py, lengths)?,
        integers(py, offsets)?,
        integers(py, chunk_flags)?,
    );
    if [rows.0.len(), rows.1.len(), rows.2.len()] != [hashes.len(); 3] {
        let message = "a xorb has one length, offset and flag field for each chunk hash";
        return Err(argument_error(py, "shard", "length_mismatch", message));
    }
    let fields = rows.0.into_iter().zip(rows.1).zip(rows.2);
    let chunks = hashes
        .into_iter()
        .zip(fields)
        .map(|(hash, ((raw_bytes, offset), flags))| ChunkInfo {
            hash,
            offset,
            raw_bytes,
            flags,
        });
    Ok(XorbInfo {
        hash: hash.0,
        flags: *flags,
        bytes_in_xorb: *bytes_in_xorb,
        bytes_on_disk: *bytes_on_disk,
        chunks: chunks.collect(),
    })
}

/// Refuse what would not be read back as it is.
fn check_writable(py: Python<'_>, shard: &Shard) -> PyResult<()> {
    let reserved = Inner::from_bytes([0xff; 32]);
    let names = shard
        .files
        .iter()
        .map(|file| file.hash)
        .chain(shard.xorbs.iter().map(|xorb| xorb.hash));
    if names.into_iter().any(|name| name == reserved) {
        let message = "a hash of 32 bytes 0xff marks the end of a section and names nothing";
        return Err(argument_error(py, "shard", "reserved_hash", message));
    }
    let proven = shard.files.iter().filter(|file| file.verification.is_some()).count();
    if proven != 0 && proven != shard.files.len() {
        let message = "either all files of a shard have verification hashes or none";
        return Err(argument_error(py, "shard", "verification_missing", message));
    }
    Ok(())
}

/// Serialise a shard: without `times` in upload form, else in stored form, keyed if `key` is given.
#[pyfunction]
#[pyo3(signature = (files, xorbs, times=None, key=None))]
fn serialise_shard<'py>(
    py: Python<'py>,
    files: Vec<FileArgument<'py>>,
    xorbs: Vec<XorbArgument<'py>>,
    times: Option<(u64, u64)>,
    key: Option<Bytes>,
) -> PyResult<Bound<'py, PyBytes>> {
    let shard = Shard {
        files: files.iter().map(|file| file_from(py, file)).collect::<PyResult<_>>()?,
        xorbs: xorbs.iter().map(|xorb| xorb_from(py, xorb)).collect::<PyResult<_>>()?,
        footer: None,
    };
    check_writable(py, &shard)?;
    let key = key.map(|key| hash::key(py, "key", &key)).transpose()?;
    let form = match (times, key) {
        (None, None) => Form::Upload,
        (Some((created_s, expiry_s)), None) => Form::Stored { created_s, expiry_s },
        (Some((created_s, expiry_s)), Some(key)) => Form::Keyed {
            key,
            created_s,
            expiry_s,
        },
        (None, Some(_)) => {
            return Err(argument_error(
                py,
                "shard",
                "key_without_footer",
                "a keyed shard has a footer: give times too",
            ));
        }
    };
    let bytes = py.detach(|| serialise(&shard, form));
    Ok(PyBytes::new(py, &bytes))
}

/// Add this noun to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(parse_shard, module)?)?;
    module.add_function(wrap_pyfunction!(serialise_shard, module)?)
}

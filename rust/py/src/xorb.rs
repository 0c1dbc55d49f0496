//! Xorbs in memory.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use xetway_core::codec::Scheme;
use xetway_core::hash::chunk_hash;
use xetway_core::xorb::{XorbBuilder, XorbMeta, XorbParser, write_footer};
use xetway_core::{Error, Hash as Inner};

use crate::buffer::Bytes;
use crate::errors::{OrRaise, argument_error};
use crate::hash::{self, Hash};

/// (raw chunk hashes, raw lengths, serialized ends): 32, 4 and 4 bytes for each chunk.
pub(crate) type MetaTuple<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// Hand the chunks of a xorb to Python.
pub(crate) fn meta_tuple<'py>(py: Python<'py>, meta: &XorbMeta) -> MetaTuple<'py> {
    let chunks = meta.chunks();
    let hashes: Vec<u8> = chunks.iter().flat_map(|chunk| *chunk.hash.as_bytes()).collect();
    let lengths: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.raw_bytes.to_le_bytes()).collect();
    let ends: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.end.to_le_bytes()).collect();
    (
        PyBytes::new(py, &hashes),
        PyBytes::new(py, &lengths),
        PyBytes::new(py, &ends),
    )
}

/// Take the chunks of a xorb from Python.
pub(crate) fn meta_from(
    py: Python<'_>,
    xorb: Inner,
    hashes: &Bytes,
    lengths: &Bytes,
    ends: &Bytes,
) -> PyResult<XorbMeta> {
    let hashes = hash::hashes(py, hashes)?;
    let (lengths, ends) = (integers(py, lengths)?, integers(py, ends)?);
    if hashes.len() != lengths.len() || hashes.len() != ends.len() {
        let message = "a xorb has one length and one end for each chunk hash";
        return Err(argument_error(py, "xorb", "length_mismatch", message));
    }
    let mut before = 0_u32;
    let mut chunks = Vec::with_capacity(hashes.len());
    for ((hash, length), end) in hashes.into_iter().zip(lengths).zip(ends) {
        // Ends that fall give a length of zero, which is refused below.
        chunks.push((hash, length, end.saturating_sub(before)));
        before = end;
    }
    XorbMeta::new(xorb, chunks).or_raise(py)
}

/// Split a row of little-endian `u32`.
pub(crate) fn integers(py: Python<'_>, raw: &Bytes) -> PyResult<Vec<u32>> {
    let (integers, rest) = raw.as_slice().as_chunks::<4>();
    if rest.is_empty() {
        return Ok(integers.iter().copied().map(u32::from_le_bytes).collect());
    }
    Err(argument_error(
        py,
        "u32 row",
        "length_mismatch",
        "a row of u32 has 4 bytes for each",
    ))
}

#[pyfunction]
#[pyo3(signature = (chunks, scheme=None, footer=true))]
fn build_xorb(
    py: Python<'_>,
    chunks: Vec<Bytes>,
    scheme: Option<u8>,
    footer: bool,
) -> PyResult<(Bound<'_, PyBytes>, Hash, MetaTuple<'_>)> {
    let build = || -> Result<_, Error> {
        let scheme = scheme.map(Scheme::try_from).transpose()?;
        let mut builder = XorbBuilder::new();
        for chunk in &chunks {
            let chunk = chunk.as_slice();
            match scheme {
                Some(scheme) => builder.push_as(chunk, chunk_hash(chunk), scheme)?,
                None => builder.push(chunk, chunk_hash(chunk))?,
            };
        }
        let (mut data, meta) = builder.finish()?;
        if footer {
            write_footer(&meta, &mut data);
        }
        Ok((data, meta))
    };
    let (data, meta) = py.detach(build).or_raise(py)?;
    Ok((PyBytes::new(py, &data), Hash(meta.hash()), meta_tuple(py, &meta)))
}

/// Parse a xorb, verifying every chunk; returns its hash, its chunks and, if wanted, its content.
#[pyfunction]
#[pyo3(signature = (data, expected=None, content=false))]
fn parse_xorb<'py>(
    py: Python<'py>,
    data: Bytes,
    expected: Option<PyRef<'py, Hash>>,
    content: bool,
) -> PyResult<(Hash, MetaTuple<'py>, Option<Bound<'py, PyBytes>>)> {
    let expected = expected.map(|expected| expected.0);
    let parse = || -> Result<_, Error> {
        let mut parser = XorbParser::new(expected);
        let mut raw = Vec::new();
        parser.push(data.as_slice(), &mut |chunk| {
            if content {
                raw.extend_from_slice(chunk.raw);
            }
            Ok::<(), Error>(())
        })?;
        Ok((parser.finish()?, raw))
    };
    let (meta, raw) = py.detach(parse).or_raise(py)?;
    let raw = content.then(|| PyBytes::new(py, &raw));
    Ok((Hash(meta.hash()), meta_tuple(py, &meta), raw))
}

/// Add this noun to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(build_xorb, module)?)?;
    module.add_function(wrap_pyfunction!(parse_xorb, module)?)
}

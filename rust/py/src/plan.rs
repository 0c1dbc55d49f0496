//! Reconstruction plans.

use std::collections::HashMap;

use pyo3::prelude::*;
use xetway_core::plan::{Plan, plan as plan_range};
use xetway_core::shard::terms_from_bytes;
use xetway_core::xorb::XorbMeta;
use xetway_core::{Error, Hash as Inner};

use crate::buffer::Bytes;
use crate::errors::OrRaise;
use crate::hash::Hash;
use crate::xorb::meta_from;

type TermTuple = (Hash, u32, u32, u32);
type FetchTuple = (Hash, Vec<(u32, u32, u64, u64)>);
/// (offset into the first term, terms, fetches).
pub(crate) type PlanTuple = (u64, Vec<TermTuple>, Vec<FetchTuple>);

/// Hand a plan to Python.
pub(crate) fn plan_tuple(plan: Plan) -> PlanTuple {
    let terms = plan
        .terms
        .iter()
        .map(|term| (Hash(term.xorb), term.unpacked_bytes, term.start, term.end))
        .collect();
    let fetches = plan.fetches.iter().map(|fetch| {
        let ranges = fetch.ranges.iter();
        let ranges = ranges.map(|range| (range.chunk_start, range.chunk_end, range.byte_start, range.byte_end));
        (Hash(fetch.xorb), ranges.collect())
    });
    (plan.offset_into_first, terms, fetches.collect())
}

/// A xorb as (hash, raw chunk hashes, raw lengths, serialized ends), the last two as `u32` rows.
type XorbTuple<'py> = (PyRef<'py, Hash>, Bytes, Bytes, Bytes);

#[pyfunction]
fn plan(py: Python<'_>, terms: Bytes, xorbs: Vec<XorbTuple<'_>>, start: u64, end: u64) -> PyResult<PlanTuple> {
    let terms = terms_from_bytes(terms.as_slice()).or_raise(py)?;
    let mut metas: HashMap<Inner, XorbMeta> = HashMap::new();
    for (xorb, hashes, lengths, ends) in &xorbs {
        metas.insert(xorb.0, meta_from(py, xorb.0, hashes, lengths, ends)?);
    }
    let lookup = |xorb: &Inner| metas.get(xorb).ok_or(Error::UnknownXorb { xorb: *xorb });
    py.detach(|| plan_range(&terms, start, end, lookup))
        .or_raise(py)
        .map(plan_tuple)
}

/// Add this noun to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(plan, module)?)
}

//! `Cache`: a look into the folder of a mirror.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use xetway_cache::{Cache as Inner, Limits};

use crate::errors::{OrRaise, state_error};
use crate::hash::Hash;

/// How often a long check looks for Ctrl-C.
const SIGNALS_EVERY: Duration = Duration::from_millis(100);

#[pyclass(module = "xetway._native", frozen)]
pub(crate) struct Cache(Inner);

type EntryTuple = (&'static str, String, u64, u64, u32, u32);

#[pymethods]
impl Cache {
    #[new]
    fn new(py: Python<'_>, root: PathBuf) -> PyResult<Self> {
        py.detach(|| Inner::open(&root, Limits::default()))
            .or_raise(py)
            .map(Self)
    }

    fn entries(&self, py: Python<'_>) -> PyResult<Vec<EntryTuple>> {
        let entries = py.detach(|| self.0.entries()).or_raise(py)?;
        let tuples = entries.into_iter().map(|entry| {
            (
                entry.kind.as_str(),
                entry.name,
                entry.bytes,
                entry.last_used_s,
                entry.chunks,
                entry.proven_chunks,
            )
        });
        Ok(tuples.collect())
    }

    fn verify(&self, py: Python<'_>, on_damage: Bound<'_, PyAny>) -> PyResult<(u64, u64, u64, u64, u64)> {
        // A thread of its own, so that this one stays free for Ctrl-C and for what it finds.
        let cache = self.0.clone();
        let (tell, told) = channel();
        let checker = thread::spawn(move || {
            cache.verify(|verdict| {
                if let Some(problem) = &verdict.problem {
                    let _ = tell.send((verdict.kind.as_str(), verdict.name.clone(), problem.clone()));
                }
            })
        });
        // The receiver may move to wherever the lock is released, but is not shared.
        let mut told = told;
        loop {
            let (next, back) = py.detach(move || (told.recv_timeout(SIGNALS_EVERY), told));
            told = back;
            match next {
                Ok(damage) => {
                    on_damage.call1(damage)?;
                }
                Err(RecvTimeoutError::Timeout) => py.check_signals()?,
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let report = py
            .detach(|| checker.join())
            .map_err(|_| state_error("cache", "could not be checked: an internal error"))?
            .or_raise(py)?;
        Ok((
            report.xorbs,
            report.plain_files,
            report.plans,
            report.bytes,
            report.damaged,
        ))
    }

    fn prune(&self, py: Python<'_>, max_bytes: u64) -> PyResult<(u64, u64)> {
        let pruned = py.detach(|| self.0.prune(max_bytes)).or_raise(py)?;
        Ok((pruned.entries, pruned.bytes))
    }

    fn remove(&self, py: Python<'_>, names: HashSet<String>) -> PyResult<(u64, u64)> {
        let removed = py.detach(|| self.0.remove(&names)).or_raise(py)?;
        Ok((removed.entries, removed.bytes))
    }

    fn holding(&self, py: Python<'_>, file: &Hash) -> PyResult<Option<(u64, Vec<String>)>> {
        let file = file.0;
        let held = py.detach(|| self.0.holding(&file)).or_raise(py)?;
        Ok(held.map(|held| {
            let xorbs = held.xorbs.iter().map(ToString::to_string).collect();
            (held.held_bytes, xorbs)
        }))
    }

    fn usage(&self, py: Python<'_>) -> PyResult<(u64, Option<u64>, u64, u64, u64)> {
        let usage = py.detach(|| self.0.counted_usage()).or_raise(py)?;
        Ok((
            usage.bytes,
            usage.max_bytes,
            usage.free_disk_bytes,
            usage.xorbs,
            usage.plain_files,
        ))
    }
}

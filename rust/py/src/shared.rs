//! `SharedTable`: numbers that the processes of one machine share.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use xetway_shared::{Entry, Layout, Problem, Rate, Table};

use crate::buffer::Words;
use crate::errors::setting_error;

#[pyclass(module = "xetway._native", frozen)]
pub(crate) struct SharedTable {
    memory: Words,
    layout: Layout,
}

#[pymethods]
impl SharedTable {
    #[new]
    #[pyo3(signature = (buffer, *, workers, buckets, gates, counters=0, words=0))]
    fn new(
        py: Python<'_>,
        buffer: Words,
        workers: usize,
        buckets: usize,
        gates: usize,
        counters: usize,
        words: usize,
    ) -> PyResult<Self> {
        let layout = Layout {
            workers,
            buckets,
            gates,
            counters,
            words,
        };
        Table::open(buffer.as_slice(), &layout).map_err(|problem| wrong(py, problem))?;
        Ok(Self { memory: buffer, layout })
    }

    #[staticmethod]
    #[pyo3(signature = (*, workers, buckets, gates, counters=0, words=0))]
    fn size(
        py: Python<'_>,
        workers: usize,
        buckets: usize,
        gates: usize,
        counters: usize,
        words: usize,
    ) -> PyResult<usize> {
        let layout = Layout {
            workers,
            buckets,
            gates,
            counters,
            words,
        };
        layout.size_bytes().map_err(|problem| wrong(py, problem))
    }

    fn name(&self, py: Python<'_>, text: &str) -> PyResult<u64> {
        Ok(self.table(py)?.name(text.as_bytes()))
    }

    fn take(
        &self,
        py: Python<'_>,
        name: u64,
        cost: u64,
        interval_ns: u64,
        tolerance_ns: u64,
        now_ns: u64,
    ) -> PyResult<(bool, u64, u64, u64)> {
        let rate = Rate {
            interval_ns,
            tolerance_ns,
        };
        let decision = self.table(py)?.take(name, cost, rate, now_ns);
        Ok((
            decision.allowed,
            decision.remaining,
            decision.retry_after_ns,
            decision.reset_ns,
        ))
    }

    fn refund(&self, py: Python<'_>, name: u64, cost: u64, interval_ns: u64, now_ns: u64) -> PyResult<()> {
        self.table(py)?.refund(name, cost, interval_ns, now_ns);
        Ok(())
    }

    fn charge(&self, py: Python<'_>, name: u64, cost: u64, interval_ns: u64, now_ns: u64) -> PyResult<()> {
        self.table(py)?.charge(name, cost, interval_ns, now_ns);
        Ok(())
    }

    fn enter(&self, py: Python<'_>, name: u64, worker: usize, limit: u64, now_ns: u64) -> PyResult<Option<i64>> {
        Ok(match self.table(py)?.enter(name, worker, limit, now_ns) {
            Entry::Entered(gate) => Some(i64::try_from(gate).unwrap_or(-1)),
            Entry::Untracked => Some(-1),
            Entry::Full => None,
        })
    }

    fn leave(&self, py: Python<'_>, gate: i64, worker: usize) -> PyResult<()> {
        if let Ok(gate) = u64::try_from(gate) {
            self.table(py)?.leave(gate, worker);
        }
        Ok(())
    }

    fn inside(&self, py: Python<'_>, name: u64) -> PyResult<u64> {
        Ok(self.table(py)?.inside(name))
    }

    fn release_worker(&self, py: Python<'_>, worker: usize) -> PyResult<()> {
        self.table(py)?.release_worker(worker);
        Ok(())
    }

    #[pyo3(signature = (worker, counter, amount=1))]
    fn add(&self, py: Python<'_>, worker: usize, counter: usize, amount: u64) -> PyResult<()> {
        let cell = self.table(py)?.counter(worker, counter).ok_or_else(no_such)?;
        cell.fetch_add(amount, Ordering::Relaxed);
        Ok(())
    }

    fn set(&self, py: Python<'_>, worker: usize, counter: usize, value: u64) -> PyResult<()> {
        let cell = self.table(py)?.counter(worker, counter).ok_or_else(no_such)?;
        cell.store(value, Ordering::Relaxed);
        Ok(())
    }

    fn totals(&self, py: Python<'_>) -> PyResult<Vec<u64>> {
        Ok(self.table(py)?.totals())
    }

    fn word(&self, py: Python<'_>, index: usize) -> PyResult<u64> {
        let word = self.table(py)?.word(index).ok_or_else(no_such)?;
        Ok(word.load(Ordering::Acquire))
    }

    fn swap_word(&self, py: Python<'_>, index: usize, expected: u64, new: u64) -> PyResult<bool> {
        let word: &AtomicU64 = self.table(py)?.word(index).ok_or_else(no_such)?;
        Ok(word
            .compare_exchange(expected, new, Ordering::AcqRel, Ordering::Acquire)
            .is_ok())
    }
}

impl SharedTable {
    fn table(&self, py: Python<'_>) -> PyResult<Table<'_>> {
        Table::view(self.memory.as_slice(), &self.layout).map_err(|problem| wrong(py, problem))
    }
}

fn wrong(py: Python<'_>, problem: Problem) -> PyErr {
    let name = match problem {
        Problem::Number { name, .. } => name,
        Problem::TooSmall { .. } | Problem::OtherLayout => "buffer",
    };
    setting_error(py, name, &problem.to_string())
}

fn no_such() -> PyErr {
    PyIndexError::new_err("the table has nothing of that number")
}

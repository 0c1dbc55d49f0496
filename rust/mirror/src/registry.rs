//! All files that the mirror knows something of in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use xetway_core::Hash;

use crate::files::FileState;
use crate::ledger::Ledger;

/// Files whose sources are remembered although nobody reads them: clients plan first and fetch later.
const RECENT_FILES: usize = 1024;

/// All files in use, and some that were lately.
#[derive(Debug)]
pub(crate) struct Files {
    ledger: Ledger,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    files: HashMap<Hash, Weak<FileState>>,
    recent: VecDeque<Arc<FileState>>,
}

impl Files {
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            table: Mutex::default(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Return a file's state, the same for all.
    pub(crate) fn get(&self, file: &Hash) -> Arc<FileState> {
        let mut table = self.table();
        let state = table.files.get(file).and_then(Weak::upgrade).unwrap_or_else(|| {
            let made = Arc::new(FileState::new(*file, self.ledger.clone()));
            table.files.insert(*file, Arc::downgrade(&made));
            made
        });
        if table.recent.back().is_none_or(|last| last.hash != *file) {
            table.recent.retain(|recent| recent.hash != *file);
            table.recent.push_back(Arc::clone(&state));
        }
        if table.recent.len() > RECENT_FILES {
            table.recent.pop_front();
            table.files.retain(|_, state| state.strong_count() > 0);
        }
        state
    }

    /// Return a file's state if there is one.
    pub(crate) fn find(&self, file: &Hash) -> Option<Arc<FileState>> {
        self.table().files.get(file).and_then(Weak::upgrade)
    }

    /// Return the files in use that have terms in `xorb`.
    pub(crate) fn using(&self, xorb: &Hash) -> Vec<Arc<FileState>> {
        let all: Vec<Arc<FileState>> = self.table().files.values().filter_map(Weak::upgrade).collect();
        all.into_iter().filter(|file| file.uses(xorb)).collect()
    }
}

//! Hosts of which something is remembered.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most hosts remembered; they come from plans and redirects.
const MAX_HOSTS: usize = 256;

/// A bounded set of hosts: with one too many it begins anew.
#[derive(Debug, Default)]
pub(super) struct Hosts(Mutex<HashSet<String>>);

impl Hosts {
    pub(super) fn contains(&self, host: &str) -> bool {
        self.names().contains(host)
    }

    pub(super) fn insert(&self, host: &str) {
        let mut names = self.names();
        if names.contains(host) {
            return;
        }
        if names.len() >= MAX_HOSTS {
            names.clear();
        }
        names.insert(host.to_owned());
    }

    fn names(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Hosts, MAX_HOSTS};

    #[test]
    fn no_more_are_remembered_than_allowed() {
        let hosts = Hosts::default();
        (0..MAX_HOSTS).for_each(|number| hosts.insert(&number.to_string()));
        hosts.insert("0");
        assert!(hosts.contains("0") && hosts.contains("255") && !hosts.contains("256"));
        hosts.insert("256");
        assert!(!hosts.contains("0") && hosts.contains("256"));
    }
}

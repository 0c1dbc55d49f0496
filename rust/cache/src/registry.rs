//! One object for each key while anyone uses it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Dead entries are swept out when the map has grown to this, or to twice what lived before.
const SWEEP_MIN: usize = 256;

/// Objects in use, by key.
#[derive(Debug)]
pub(crate) struct Registry<K, V> {
    entries: Mutex<Entries<K, V>>,
}

#[derive(Debug)]
struct Entries<K, V> {
    map: HashMap<K, Weak<V>>,
    sweep_at: usize,
}

impl<K: Copy + Eq + Hash, V> Registry<K, V> {
    pub(crate) fn new() -> Self {
        Self {
            entries: Mutex::new(Entries {
                map: HashMap::new(),
                sweep_at: SWEEP_MIN,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries<K, V>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Return the object in use for `key`, or the one `make` makes. `make` must be quick.
    pub(crate) fn get_or_make(&self, key: K, make: impl FnOnce() -> V) -> Arc<V> {
        let mut entries = self.lock();
        if let Some(value) = entries.map.get(&key).and_then(Weak::upgrade) {
            return value;
        }
        if entries.map.len() >= entries.sweep_at {
            entries.map.retain(|_, value| value.strong_count() > 0);
            entries.sweep_at = SWEEP_MIN.max(entries.map.len() * 2);
        }
        let value = Arc::new(make());
        entries.map.insert(key, Arc::downgrade(&value));
        value
    }

    /// Say whether anyone uses the object of `key`.
    pub(crate) fn is_used(&self, key: &K) -> bool {
        self.lock().map.get(key).is_some_and(|value| value.strong_count() > 0)
    }

    /// Run `action` unless anyone uses the object of `key`; nobody can begin to meanwhile.
    pub(crate) fn if_unused<R>(&self, key: &K, action: impl FnOnce() -> R) -> Option<R> {
        let entries = self.lock();
        let used = entries.map.get(key).is_some_and(|value| value.strong_count() > 0);
        (!used).then(action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_live_as_long_as_they_are_used_and_leave_nothing_behind() {
        let registry: Registry<usize, String> = Registry::new();
        let kept = registry.get_or_make(0, || "kept".to_owned());
        for key in 1..10_000 {
            let made = registry.get_or_make(key, || key.to_string());
            assert!(registry.is_used(&key) && registry.if_unused(&key, || ()).is_none());
            drop(made);
            assert!(!registry.is_used(&key) && registry.if_unused(&key, || ()).is_some());
        }
        assert!(registry.lock().map.len() <= SWEEP_MIN);
        assert!(Arc::ptr_eq(&kept, &registry.get_or_make(0, || "other".to_owned())));
        drop(kept);
        assert_eq!(*registry.get_or_make(0, || "other".to_owned()), "other");
    }
}

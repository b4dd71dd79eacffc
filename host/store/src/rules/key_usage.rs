//! What the tasks of each limited key take up, counted on each change and never by a scan.
//!
//! A task counts for the key whose limits it was submitted under: one more that waits while it waits, the bytes of its
//! input as long as it is stored, and those of its result and log from its end on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use wasmill_model::TaskState;

/// What the tasks of a key take up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyUsage {
    /// Waiting tasks.
    pub waiting: u64,
    /// Bytes of inputs, and of results and logs of ended tasks.
    pub stored_bytes: u64,
}

/// Changes of a batch, by key.
#[derive(Debug, Default)]
pub struct KeyDelta(BTreeMap<Arc<str>, KeyChange>);

/// How much more the tasks of a key take up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyChange {
    /// Waiting tasks.
    pub waiting: i64,
    /// Bytes.
    pub stored_bytes: i64,
}

impl KeyDelta {
    /// Records a transition of a task of this key; `None` stands for a task that is created or removed.
    pub fn record_move(&mut self, key: &Arc<str>, from: Option<TaskState>, to: Option<TaskState>) {
        let waits = |state: Option<TaskState>| i64::from(state.is_some_and(TaskState::is_waiting));
        self.change(key).waiting += waits(to) - waits(from);
    }

    /// Records bytes that a task of this key takes up, or if negative does no longer.
    pub fn record_bytes(&mut self, key: &Arc<str>, bytes: i64) {
        self.change(key).stored_bytes += bytes;
    }

    /// Returns true if there are no changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the change of a key.
    pub fn of(&self, key: &str) -> KeyChange {
        self.0.get(key).copied().unwrap_or_default()
    }

    /// Returns all changes.
    pub fn changes(&self) -> Vec<(&str, KeyChange)> {
        let changed = self.0.iter().filter(|(_, change)| **change != KeyChange::default());
        changed.map(|(key, change)| (&**key, *change)).collect()
    }

    fn change(&mut self, key: &Arc<str>) -> &mut KeyChange {
        self.0.entry(Arc::clone(key)).or_default()
    }
}

/// What the tasks of all limited keys take up as of the last commit.
#[derive(Debug, Default)]
pub struct AllKeyUsage(Mutex<BTreeMap<Arc<str>, KeyUsage>>);

impl AllKeyUsage {
    /// Replaces all.
    pub fn replace(&self, usage: BTreeMap<Arc<str>, KeyUsage>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = usage;
    }

    /// Adds the changes of a committed batch.
    pub fn take(&self, delta: KeyDelta) {
        if delta.0.is_empty() {
            return;
        }
        let mut usage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, change) in delta.0 {
            let counted = usage.entry(key).or_default();
            *counted = counted.after(change);
        }
    }

    /// Returns true if no key has any.
    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Returns what the tasks of a key take up.
    pub fn get(&self, key: &str) -> KeyUsage {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied().unwrap_or_default()
    }
}

impl KeyUsage {
    /// Returns it after a change.
    #[must_use]
    pub fn after(self, change: KeyChange) -> Self {
        Self {
            waiting: self.waiting.saturating_add_signed(change.waiting),
            stored_bytes: self.stored_bytes.saturating_add_signed(change.stored_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_counts_from_its_submit_to_its_removal() {
        use TaskState::{Available, Completed, Running, Scheduled};
        let (key, all) = (Arc::<str>::from("ci"), AllKeyUsage::default());
        let mut delta = KeyDelta::default();
        delta.record_move(&key, None, Some(Scheduled));
        delta.record_bytes(&key, 100);
        delta.record_move(&key, Some(Scheduled), Some(Available));
        assert_eq!(delta.changes(), [("ci", KeyChange { waiting: 1, stored_bytes: 100 })]);
        all.take(delta);
        assert_eq!(all.get("ci"), KeyUsage { waiting: 1, stored_bytes: 100 });
        let mut delta = KeyDelta::default();
        delta.record_move(&key, Some(Available), Some(Running));
        delta.record_move(&key, Some(Running), Some(Completed));
        delta.record_bytes(&key, 50);
        all.take(delta);
        assert_eq!(all.get("ci"), KeyUsage { waiting: 0, stored_bytes: 150 });
        let mut delta = KeyDelta::default();
        delta.record_move(&key, Some(Completed), None);
        delta.record_bytes(&key, -150);
        assert_eq!(delta.of("ci"), KeyChange { waiting: 0, stored_bytes: -150 });
        all.take(delta);
        assert_eq!((all.get("ci"), all.get("other")), (KeyUsage::default(), KeyUsage::default()));
    }
}

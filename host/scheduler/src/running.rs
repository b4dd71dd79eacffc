//! The current runs by task and claim token, counted by plugin. Shared by dispatcher, runs and cancellers.
//!
//! A task may briefly have two runs: a task that is available again at once can be claimed while its earlier run,
//! whose outcome is stored, still holds its slot.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use wasmill_model::{PluginName, TaskId};

use crate::run::Run;

/// Every run with a slot.
#[derive(Default)]
pub(crate) struct Running {
    /// By task and claim token.
    runs: BTreeMap<(TaskId, i64), Arc<Run>>,
    count_by_plugin: HashMap<PluginName, usize>,
}

impl Running {
    pub(crate) fn insert(&mut self, run: Arc<Run>) {
        *self.count_by_plugin.entry(run.plugin.clone()).or_default() += 1;
        self.runs.insert(run.key(), run);
    }

    /// Removes this run only, not a later run of the same task.
    pub(crate) fn remove(&mut self, run: &Run) {
        if self.runs.remove(&run.key()).is_some() {
            self.decrement(&run.plugin);
        }
    }

    /// Returns the runs of a task, earliest first.
    pub(crate) fn by_task(&self, task: TaskId) -> Vec<Arc<Run>> {
        self.runs.range((task, i64::MIN)..=(task, i64::MAX)).map(|(_, run)| Arc::clone(run)).collect()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Run>> {
        self.runs.values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    pub(crate) fn count_by_plugin(&self, plugin: &PluginName) -> usize {
        self.count_by_plugin.get(plugin).copied().unwrap_or(0)
    }

    fn decrement(&mut self, plugin: &PluginName) {
        if let Entry::Occupied(mut count) = self.count_by_plugin.entry(plugin.clone()) {
            *count.get_mut() -= 1;
            // Plugins come and go; a plugin without runs has no entry.
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

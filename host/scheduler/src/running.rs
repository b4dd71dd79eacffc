//! The runs there are, by task, and how many of each plugin. Shared by dispatcher, runs and cancellers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use wasmill_model::{PluginName, TaskId};

use crate::run::ActiveRun;

/// Every run with a slot.
#[derive(Default)]
pub(crate) struct Running {
    runs: HashMap<TaskId, Arc<ActiveRun>>,
    of_plugin: HashMap<PluginName, usize>,
}

impl Running {
    pub(crate) fn insert(&mut self, run: Arc<ActiveRun>) {
        *self.of_plugin.entry(run.plugin.clone()).or_default() += 1;
        if let Some(earlier) = self.runs.insert(run.claim.id, run) {
            self.forget(&earlier.plugin);
        }
    }

    pub(crate) fn remove(&mut self, run: &ActiveRun) {
        if let Some(run) = self.runs.remove(&run.claim.id) {
            self.forget(&run.plugin);
        }
    }

    pub(crate) fn get(&self, task: TaskId) -> Option<Arc<ActiveRun>> {
        self.runs.get(&task).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<ActiveRun>> {
        self.runs.values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    pub(crate) fn of_plugin(&self, plugin: &PluginName) -> usize {
        self.of_plugin.get(plugin).copied().unwrap_or(0)
    }

    fn forget(&mut self, plugin: &PluginName) {
        if let Entry::Occupied(mut count) = self.of_plugin.entry(plugin.clone()) {
            *count.get_mut() -= 1;
            // Plugins come and go; those without runs are not kept.
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

//! The number of tasks per plugin and state, counted on each transition and never by a scan.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use wasmill_model::{PluginName, TaskState};

use crate::{FinishedCounts, PluginCounts};

/// Count changes of a batch, by plugin.
#[derive(Debug, Default)]
pub struct CountDelta(BTreeMap<PluginName, PluginDelta>);

#[derive(Debug, Default)]
struct PluginDelta {
    /// Transitions into each state minus transitions out of it. Finished tasks stay counted.
    into: [i64; TaskState::ALL.len()],
    /// Removed finished tasks.
    removed: [i64; TaskState::ALL.len()],
}

/// Count changes of the tasks of a plugin in one state.
#[derive(Debug, PartialEq, Eq)]
pub struct StateDelta<'a> {
    /// The plugin.
    pub plugin: &'a PluginName,
    /// The state.
    pub state: TaskState,
    /// How many more are, or if it is final ended, in it.
    pub tasks: i64,
    /// How many more of them were removed after they had ended.
    pub removed: i64,
}

impl CountDelta {
    /// Records a transition; `None` stands for a task that is created or removed.
    pub fn record_move(&mut self, plugin: &PluginName, from: Option<TaskState>, to: Option<TaskState>) {
        let changes = match self.0.get_mut(plugin) {
            Some(changes) => changes,
            None => self.0.entry(plugin.clone()).or_default(),
        };
        match from {
            // Finished tasks stay counted.
            Some(from) if from.is_final() => changes.removed[from as usize] += 1,
            Some(from) => changes.into[from as usize] -= 1,
            None => {}
        }
        if let Some(to) = to {
            changes.into[to as usize] += 1;
        }
    }

    /// Returns the count changes of all states.
    pub fn changes(&self) -> Vec<StateDelta<'_>> {
        let mut changed = Vec::new();
        for (plugin, PluginDelta { into, removed }) in &self.0 {
            for state in TaskState::ALL {
                let (tasks, removed) = (into[state as usize], removed[state as usize]);
                if tasks != 0 || removed != 0 {
                    changed.push(StateDelta { plugin, state, tasks, removed });
                }
            }
        }
        changed
    }

    /// Returns the change of the number of tasks in a state that is not final.
    pub fn of(&self, plugin: &PluginName, state: TaskState) -> i64 {
        self.0.get(plugin).map_or(0, |changes| changes.into[state as usize])
    }

    /// Returns the change of the number of tasks of all plugins in a state that is not final.
    pub fn of_all(&self, state: TaskState) -> i64 {
        self.0.values().map(|changes| changes.into[state as usize]).sum()
    }

    /// Returns the change of the number of waiting tasks.
    pub fn waiting(&self, plugin: &PluginName) -> i64 {
        TaskState::ALL
            .into_iter()
            .filter(|state| state.is_waiting())
            .map(|state| self.of(plugin, state))
            .sum()
    }
}

/// Counts of all plugins as of the last commit.
#[derive(Debug, Default)]
pub struct AllPluginCounts(Mutex<BTreeMap<PluginName, PluginCounts>>);

impl AllPluginCounts {
    /// Starts from these counts.
    pub fn new(plugin_counts: BTreeMap<PluginName, PluginCounts>) -> Self {
        Self(Mutex::new(plugin_counts))
    }

    /// Replaces all counts.
    pub fn replace(&self, plugin_counts: BTreeMap<PluginName, PluginCounts>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = plugin_counts;
    }

    /// Adds the changes of a committed batch.
    pub fn take(&self, moves: CountDelta) {
        let mut plugin_counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (plugin, PluginDelta { into, removed }) in moves.0 {
            let tally = plugin_counts.entry(plugin).or_default();
            for state in TaskState::ALL {
                let count = tally.of(state);
                *count = count.saturating_add_signed(into[state as usize]);
                if let Some(count) = tally.removed.of(state) {
                    *count = count.saturating_add_signed(removed[state as usize]);
                }
            }
        }
    }

    /// Returns the counts of a plugin.
    pub fn get(&self, plugin: &PluginName) -> PluginCounts {
        let plugin_counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        plugin_counts.get(plugin).copied().unwrap_or_default()
    }

    /// Returns how many finished tasks are stored.
    pub fn stored(&self) -> u64 {
        let plugin_counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = plugin_counts.values().map(PluginCounts::stored);
        stored.map(|FinishedCounts { completed, failed, cancelled }| completed + failed + cancelled).sum()
    }

    /// Returns the counts of every plugin that ever had a task.
    pub fn all(&self) -> Vec<(PluginName, PluginCounts)> {
        let plugin_counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = plugin_counts.iter().filter(|(_, tally)| !tally.is_empty());
        known.map(|(plugin, tally)| (plugin.clone(), *tally)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finished_tasks_stay_counted_after_removal() {
        use TaskState::{Available, Completed, Running};
        let plugin: PluginName = "a".parse().expect("valid");
        let plugin_counts = AllPluginCounts::default();
        let mut moves = CountDelta::default();
        for _ in 0..2 {
            moves.record_move(&plugin, None, Some(Available));
        }
        moves.record_move(&plugin, Some(Available), Some(Running));
        moves.record_move(&plugin, Some(Running), Some(Completed));
        moves.record_move(&plugin, Some(Completed), None);
        let change = |state, tasks, removed| StateDelta { plugin: &plugin, state, tasks, removed };
        assert_eq!(moves.changes(), [change(Available, 1, 0), change(Completed, 1, 1)]);
        assert_eq!(moves.waiting(&plugin), 1);
        plugin_counts.take(moves);
        let removed = FinishedCounts { completed: 1, ..FinishedCounts::default() };
        let counted = PluginCounts { available: 1, completed: 1, removed, ..PluginCounts::default() };
        assert_eq!((counted.stored(), counted.ended()), (FinishedCounts::default(), removed));
        assert_eq!((plugin_counts.get(&plugin).waiting(), plugin_counts.all()), (1, vec![(plugin, counted)]));
    }
}

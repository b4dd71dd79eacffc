//! How many tasks of each plugin there are: counted as they move, never by looking at all of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use wasmill_model::{PluginName, TaskState};

/// How many tasks of one plugin wait and run, and how many ever ended, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PluginCounts {
    /// Tasks that wait.
    pub waiting: u64,
    /// Tasks that run.
    pub running: u64,
    /// Tasks that ever completed; those that were forgotten since stay counted, here and below.
    pub completed: u64,
    /// Tasks that ever failed.
    pub failed: u64,
    /// Tasks that were ever cancelled.
    pub cancelled: u64,
    /// Those of the ended tasks that were deleted or forgotten since; the others are stored.
    pub removed: FinishedCounts,
}

/// How many tasks ended, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FinishedCounts {
    /// Tasks that completed.
    pub completed: u64,
    /// Tasks that failed.
    pub failed: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
}

impl PluginCounts {
    fn of(&mut self, state: TaskState) -> &mut u64 {
        match state {
            TaskState::Waiting => &mut self.waiting,
            TaskState::Running => &mut self.running,
            TaskState::Completed => &mut self.completed,
            TaskState::Failed => &mut self.failed,
            TaskState::Cancelled => &mut self.cancelled,
        }
    }

    /// Sets how many are in a state, or ever were, and how many of those are forgotten.
    pub(crate) fn set(&mut self, state: TaskState, tasks: u64, removed: u64) {
        *self.of(state) = tasks;
        if let Some(count) = self.removed.of(state) {
            *count = removed;
        }
    }

    /// Returns how many ended tasks are stored.
    pub fn stored(&self) -> FinishedCounts {
        let Self { completed, failed, cancelled, removed, .. } = self;
        FinishedCounts {
            completed: completed.saturating_sub(removed.completed),
            failed: failed.saturating_sub(removed.failed),
            cancelled: cancelled.saturating_sub(removed.cancelled),
        }
    }

    /// Returns how many tasks ever ended.
    pub fn ended(&self) -> FinishedCounts {
        let Self { completed, failed, cancelled, .. } = *self;
        FinishedCounts { completed, failed, cancelled }
    }

    /// Says whether no task of the plugin was ever counted.
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl FinishedCounts {
    fn of(&mut self, state: TaskState) -> Option<&mut u64> {
        match state {
            TaskState::Waiting | TaskState::Running => None,
            TaskState::Completed => Some(&mut self.completed),
            TaskState::Failed => Some(&mut self.failed),
            TaskState::Cancelled => Some(&mut self.cancelled),
        }
    }
}

/// What a batch changes, by plugin.
#[derive(Debug, Default)]
pub(crate) struct CountDelta(BTreeMap<PluginName, PluginDelta>);

#[derive(Debug, Default)]
struct PluginDelta {
    /// How many came into each state, less those that left it. What has ended stays counted.
    into: [i64; TaskState::ALL.len()],
    /// How many ended tasks were forgotten.
    removed: [i64; TaskState::ALL.len()],
}

/// What a batch adds to those of a plugin that ended in this state.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FinishedDelta<'a> {
    pub(crate) plugin: &'a PluginName,
    pub(crate) state: TaskState,
    pub(crate) ended: i64,
    pub(crate) removed: i64,
}

impl CountDelta {
    /// Counts a task that leaves one state for another, or comes from or goes to nowhere.
    pub(crate) fn record_move(
        &mut self,
        plugin: &PluginName,
        from: Option<TaskState>,
        to: Option<TaskState>,
    ) {
        let changes = match self.0.get_mut(plugin) {
            Some(changes) => changes,
            None => self.0.entry(plugin.clone()).or_default(),
        };
        match from {
            // What has ended stays counted.
            Some(from) if from.is_final() => changes.removed[from as usize] += 1,
            Some(from) => changes.into[from as usize] -= 1,
            None => {}
        }
        if let Some(to) = to {
            changes.into[to as usize] += 1;
        }
    }

    /// Returns how many tasks of each plugin ended, and how, and how many of such were forgotten.
    pub(crate) fn ended(&self) -> Vec<FinishedDelta<'_>> {
        let mut changed = Vec::new();
        for (plugin, PluginDelta { into, removed }) in &self.0 {
            for state in TaskState::ALL.into_iter().filter(|state| state.is_final()) {
                let (ended, removed) = (into[state as usize], removed[state as usize]);
                if ended > 0 || removed > 0 {
                    changed.push(FinishedDelta { plugin, state, ended, removed });
                }
            }
        }
        changed
    }

    /// Returns how many more tasks of a plugin wait.
    pub(crate) fn waiting(&self, plugin: &PluginName) -> i64 {
        self.0.get(plugin).map_or(0, |changes| changes.into[TaskState::Waiting as usize])
    }
}

/// The tallies as of the last commit.
#[derive(Debug, Default)]
pub(crate) struct AllPluginCounts(Mutex<BTreeMap<PluginName, PluginCounts>>);

impl AllPluginCounts {
    pub(crate) fn new(plugin_counts: BTreeMap<PluginName, PluginCounts>) -> Self {
        Self(Mutex::new(plugin_counts))
    }

    /// Takes in what a committed batch changed.
    pub(crate) fn take(&self, moves: CountDelta) {
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

    /// Returns how many tasks of a plugin wait.
    pub(crate) fn waiting(&self, plugin: &PluginName) -> u64 {
        let plugin_counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        plugin_counts.get(plugin).map_or(0, |tally| tally.waiting)
    }

    /// Returns how many tasks that ended are stored.
    pub(crate) fn stored(&self) -> u64 {
        let plugin_counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = plugin_counts.values().map(PluginCounts::stored);
        stored.map(|FinishedCounts { completed, failed, cancelled }| completed + failed + cancelled).sum()
    }

    /// Returns those of all plugins that ever had a task.
    pub(crate) fn all(&self) -> Vec<(PluginName, PluginCounts)> {
        let plugin_counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = plugin_counts.iter().filter(|(_, tally)| !tally.is_empty());
        known.map(|(plugin, tally)| (plugin.clone(), *tally)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_stays_counted_when_it_is_forgotten() {
        use TaskState::{Completed, Running, Waiting};
        let plugin: PluginName = "a".parse().expect("valid");
        let plugin_counts = AllPluginCounts::default();
        let mut moves = CountDelta::default();
        for _ in 0..2 {
            moves.record_move(&plugin, None, Some(Waiting));
        }
        moves.record_move(&plugin, Some(Waiting), Some(Running));
        moves.record_move(&plugin, Some(Running), Some(Completed));
        moves.record_move(&plugin, Some(Completed), None);
        let change = FinishedDelta { plugin: &plugin, state: Completed, ended: 1, removed: 1 };
        assert_eq!((moves.ended(), moves.waiting(&plugin)), (vec![change], 1));
        plugin_counts.take(moves);
        let removed = FinishedCounts { completed: 1, ..FinishedCounts::default() };
        let counted = PluginCounts { waiting: 1, completed: 1, removed, ..PluginCounts::default() };
        assert_eq!((counted.stored(), counted.ended()), (FinishedCounts::default(), removed));
        assert_eq!((plugin_counts.waiting(&plugin), plugin_counts.all()), (1, vec![(plugin, counted)]));
    }
}

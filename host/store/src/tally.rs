//! How many tasks of each plugin there are: counted as they move, never by looking at all of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use wasmill_model::{PluginName, TaskState};

/// How many tasks of one plugin wait and run, and how many ever ended, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
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
}

impl Tally {
    fn of(&mut self, state: TaskState) -> &mut u64 {
        match state {
            TaskState::Waiting => &mut self.waiting,
            TaskState::Running => &mut self.running,
            TaskState::Completed => &mut self.completed,
            TaskState::Failed => &mut self.failed,
            TaskState::Cancelled => &mut self.cancelled,
        }
    }

    /// Sets how many are in a state.
    pub(crate) fn set(&mut self, state: TaskState, tasks: u64) {
        *self.of(state) = tasks;
    }

    /// Says whether no task of the plugin was ever counted.
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a batch changes, by plugin: how many came into each state, less those that left it.
#[derive(Debug, Default)]
pub(crate) struct Moves(BTreeMap<PluginName, Changes>);

type Changes = [i64; TaskState::ALL.len()];

impl Moves {
    /// Counts a task that leaves one state for another, or comes from or goes to nowhere.
    pub(crate) fn moved(&mut self, plugin: &PluginName, from: Option<TaskState>, to: Option<TaskState>) {
        // What has ended stays counted when it is forgotten.
        let from = from.filter(|from| !from.is_final());
        let changes = match self.0.get_mut(plugin) {
            Some(changes) => changes,
            None => self.0.entry(plugin.clone()).or_default(),
        };
        if let Some(from) = from {
            changes[from as usize] -= 1;
        }
        if let Some(to) = to {
            changes[to as usize] += 1;
        }
    }

    /// Returns how many tasks of each plugin ended, and how.
    pub(crate) fn ended(&self) -> Vec<(&PluginName, TaskState, i64)> {
        let mut ended = Vec::new();
        for (plugin, changes) in &self.0 {
            let states = TaskState::ALL.into_iter().filter(|state| state.is_final());
            let of_plugin = states.map(|state| (plugin, state, changes[state as usize]));
            ended.extend(of_plugin.filter(|(_, _, tasks)| *tasks > 0));
        }
        ended
    }
}

/// The tallies as of the last commit.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Mutex<BTreeMap<PluginName, Tally>>);

impl Tallies {
    pub(crate) fn new(tallies: BTreeMap<PluginName, Tally>) -> Self {
        Self(Mutex::new(tallies))
    }

    /// Takes in what a committed batch changed.
    pub(crate) fn take(&self, moves: Moves) {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (plugin, changes) in moves.0 {
            let tally = tallies.entry(plugin).or_default();
            for state in TaskState::ALL {
                let count = tally.of(state);
                *count = count.saturating_add_signed(changes[state as usize]);
            }
        }
    }

    /// Returns those of all plugins that ever had a task.
    pub(crate) fn all(&self) -> Vec<(PluginName, Tally)> {
        let tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tallies.iter().filter(|(_, tally)| !tally.is_empty());
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
        let tallies = Tallies::default();
        let mut moves = Moves::default();
        for _ in 0..2 {
            moves.moved(&plugin, None, Some(Waiting));
        }
        moves.moved(&plugin, Some(Waiting), Some(Running));
        moves.moved(&plugin, Some(Running), Some(Completed));
        moves.moved(&plugin, Some(Completed), None);
        assert_eq!(moves.ended(), [(&plugin, Completed, 1)]);
        tallies.take(moves);
        let counted = Tally { waiting: 1, completed: 1, ..Tally::default() };
        assert_eq!(tallies.all(), [(plugin, counted)]);
    }
}

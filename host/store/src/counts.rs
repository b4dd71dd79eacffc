//! Counts and statistics of the store. Plain data only.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use wasmill_model::{Histogram, PluginName, TaskState};

/// What opening the store recovered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Tasks that ran when the host died and were requeued.
    pub requeued: u64,
    /// Tasks that failed because they ran in too many host crashes.
    pub failed: u64,
    /// Tasks with a pending stop request when the host died; they are cancelled or removed.
    pub stopped: u64,
    /// All waiting tasks after recovery.
    pub waiting: u64,
    /// Waits that were shortened because the clock had been ahead.
    pub shortened: u64,
}

/// Number of tasks that are not finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiting tasks.
    pub waiting: u64,
    /// Running tasks.
    pub running: u64,
}

/// Write statistics since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Committed transactions.
    pub commits: u64,
    /// Commands in those transactions.
    pub commands: u64,
    /// Finished tasks beyond the number that retention keeps.
    pub excess: u64,
    /// Pending deliveries that retention dropped with their tasks.
    pub deliveries_dropped: u64,
}

/// Distribution of commits since the store was opened.
#[derive(Clone, Debug, PartialEq)]
pub struct CommitStats {
    /// Seconds per commit that waited for fsync.
    pub synced_seconds: Histogram,
    /// Seconds per commit that did not wait for fsync.
    pub unsynced_seconds: Histogram,
    /// Seconds that a transaction waited for its turn among those of all hosts; empty for a database of one host.
    pub turn_seconds: Histogram,
    /// Commands per transaction.
    pub commands: Histogram,
    /// Transactions that were rolled back, for example because the disk was full.
    pub failed: u64,
}

/// Task counts of one plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PluginCounts {
    /// Tasks that wait for other tasks to finish.
    pub blocked: u64,
    /// Tasks that wait for their start time or the end of a backoff.
    pub scheduled: u64,
    /// Tasks that are suspended in the middle of an attempt.
    pub suspended: u64,
    /// Tasks that wait for a slot.
    pub available: u64,
    /// Running tasks.
    pub running: u64,
    /// Tasks that ever completed, including those removed since; likewise below.
    pub completed: u64,
    /// Tasks that ever failed.
    pub failed: u64,
    /// Tasks that were ever cancelled.
    pub cancelled: u64,
    /// Finished tasks that were removed since, by request or by retention.
    pub removed: FinishedCounts,
}

/// Number of finished tasks by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FinishedCounts {
    /// Completed tasks.
    pub completed: u64,
    /// Failed tasks.
    pub failed: u64,
    /// Cancelled tasks.
    pub cancelled: u64,
}

impl PluginCounts {
    pub(crate) fn of(&mut self, state: TaskState) -> &mut u64 {
        match state {
            TaskState::Blocked => &mut self.blocked,
            TaskState::Scheduled => &mut self.scheduled,
            TaskState::Suspended => &mut self.suspended,
            TaskState::Available => &mut self.available,
            TaskState::Running => &mut self.running,
            TaskState::Completed => &mut self.completed,
            TaskState::Failed => &mut self.failed,
            TaskState::Cancelled => &mut self.cancelled,
        }
    }

    /// Sets the count of a state and how many of them were removed.
    pub fn set(&mut self, state: TaskState, tasks: u64, removed: u64) {
        *self.of(state) = tasks;
        if let Some(count) = self.removed.of(state) {
            *count = removed;
        }
    }

    /// Returns the number of waiting tasks, whatever they wait for.
    pub fn waiting(&self) -> u64 {
        self.blocked + self.scheduled + self.suspended + self.available
    }

    /// Returns how many finished tasks are stored.
    pub fn stored(&self) -> FinishedCounts {
        let Self { completed, failed, cancelled, removed, .. } = self;
        FinishedCounts {
            completed: completed.saturating_sub(removed.completed),
            failed: failed.saturating_sub(removed.failed),
            cancelled: cancelled.saturating_sub(removed.cancelled),
        }
    }

    /// Returns how many tasks ever finished.
    pub fn ended(&self) -> FinishedCounts {
        let Self { completed, failed, cancelled, .. } = *self;
        FinishedCounts { completed, failed, cancelled }
    }

    /// Returns true if no task of the plugin was ever counted.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for PluginCounts {
    fn add_assign(&mut self, mut other: Self) {
        for state in TaskState::ALL {
            *self.of(state) += *other.of(state);
            if let Some((removed, more)) = self.removed.of(state).zip(other.removed.of(state)) {
                *removed += *more;
            }
        }
    }
}

impl FinishedCounts {
    pub(crate) fn of(&mut self, state: TaskState) -> Option<&mut u64> {
        match state {
            TaskState::Completed => Some(&mut self.completed),
            TaskState::Failed => Some(&mut self.failed),
            TaskState::Cancelled => Some(&mut self.cancelled),
            _ => None,
        }
    }
}

/// Counts of the stored tasks within a reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountsWithin {
    /// The counts of each plugin that has such tasks; none of them is removed.
    pub plugins: BTreeMap<PluginName, PluginCounts>,
    /// Whether these are all; otherwise each count is a lower bound.
    pub is_all: bool,
}

impl CountsWithin {
    /// Counts tasks of a plugin in a state.
    pub fn add(&mut self, plugin: PluginName, state: TaskState, tasks: u64) {
        *self.plugins.entry(plugin).or_default().of(state) += tasks;
    }
}

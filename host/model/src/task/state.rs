//! Task states and the transition table.

use std::fmt;

/// The state of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Accepted; it waits for other tasks to finish.
    Blocked,
    /// Accepted; it waits for its start time, or for the end of a backoff.
    Scheduled,
    /// In the middle of an attempt, without an instance: it waits for the time at which it resumes.
    Suspended,
    /// It waits for a slot.
    Available,
    /// A guest runs it.
    Running,
    /// Finished with a result.
    Completed,
    /// Finished without a result; no attempts are left.
    Failed,
    /// Cancelled before it completed.
    Cancelled,
}

/// The phase of a task's life: what clients usually need to know of its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskPhase {
    /// Accepted and not running: blocked, scheduled, suspended or available.
    Waiting,
    /// A guest runs it.
    Running,
    /// Finished with a result.
    Completed,
    /// Finished without a result.
    Failed,
    /// Cancelled before it completed.
    Cancelled,
}

impl TaskState {
    /// Every state, in the order of a task's life.
    pub const ALL: [Self; 8] = [
        Self::Blocked,
        Self::Scheduled,
        Self::Suspended,
        Self::Available,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Returns true if a task in this state may move to `next`: the transition table.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Blocked => matches!(next, Self::Scheduled | Self::Available | Self::Cancelled),
            Self::Scheduled | Self::Suspended => matches!(next, Self::Available | Self::Cancelled),
            Self::Available => matches!(next, Self::Running | Self::Cancelled),
            Self::Running => !matches!(next, Self::Blocked | Self::Running),
            Self::Completed | Self::Failed | Self::Cancelled => false,
        }
    }

    /// Returns true if the state is final.
    pub fn is_final(self) -> bool {
        self.phase().is_final()
    }

    /// Returns true if the task is accepted and not running.
    pub fn is_waiting(self) -> bool {
        self.phase() == TaskPhase::Waiting
    }

    /// Returns the phase that this state belongs to.
    pub fn phase(self) -> TaskPhase {
        match self {
            Self::Blocked | Self::Scheduled | Self::Suspended | Self::Available => TaskPhase::Waiting,
            Self::Running => TaskPhase::Running,
            Self::Completed => TaskPhase::Completed,
            Self::Failed => TaskPhase::Failed,
            Self::Cancelled => TaskPhase::Cancelled,
        }
    }

    /// Returns the name used in the database and the API, such as `available`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Scheduled => "scheduled",
            Self::Suspended => "suspended",
            Self::Available => "available",
            Self::Running | Self::Completed | Self::Failed | Self::Cancelled => self.phase().as_str(),
        }
    }
}

impl TaskPhase {
    /// Every phase, in the order of a task's life.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Running, Self::Completed, Self::Failed, Self::Cancelled];

    /// Returns true if the phase is the last.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Returns the name used in the API, such as `waiting`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_allows_exactly_these_transitions() {
        use TaskState::{Available, Blocked, Cancelled, Completed, Failed, Running, Scheduled, Suspended};
        let allowed = [
            (Blocked, Scheduled),
            (Blocked, Available),
            (Scheduled, Available),
            (Suspended, Available),
            (Available, Running),
            (Running, Available),
            (Running, Scheduled),
            (Running, Suspended),
            (Running, Completed),
            (Running, Failed),
        ];
        for from in TaskState::ALL {
            for to in TaskState::ALL {
                let may_be_cancelled = to == Cancelled && !from.is_final();
                let is_allowed = may_be_cancelled || allowed.contains(&(from, to));
                assert_eq!(from.may_become(to), is_allowed, "{from} to {to}");
            }
            let leaves = TaskState::ALL.into_iter().any(|to| from.may_become(to));
            assert_eq!(from.is_final(), !leaves, "{from}");
        }
    }
}

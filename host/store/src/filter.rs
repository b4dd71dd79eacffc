//! Which tasks are meant, of all there are. Used by lists and by the cancel of many.

use wasmill_model::{
    Group, IdEnd, IdPrefix, PluginName, ScheduleName, Tag, TaskId, TaskState, Timestamp, UniqueKey,
};

/// Describes tasks; what is left out does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The states they may be in; none named means all.
    pub states: Vec<TaskState>,
    /// The plugin that does them.
    pub plugin: Option<PluginName>,
    /// The tags they must have, all of them.
    pub tags: Vec<Tag>,
    /// They were asked for at this moment or later.
    pub created_after: Option<Timestamp>,
    /// They were asked for before this moment, so that two spans side by side share no task.
    pub created_before: Option<Timestamp>,
    /// What their ids begin with.
    pub id: Option<IdPrefix>,
    /// What their ids end with.
    pub id_end: Option<IdEnd>,
    /// The schedule that asked for them.
    pub schedule: Option<ScheduleName>,
    /// Whose they are.
    pub group: Option<Group>,
    /// The unique key that they have, or had.
    pub unique_key: Option<UniqueKey>,
}

impl Filter {
    /// Says whether it describes every task.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Says whether tasks in this state may be meant.
    pub(crate) fn has(&self, state: TaskState) -> bool {
        self.states.is_empty() || self.states.contains(&state)
    }
}

/// A task that was found, to be cancelled with others. It never comes to mean another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskRef(pub(crate) i64);

/// The tasks that one step of a cancel of many has cancelled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CancelledMany {
    /// How many of them waited.
    pub waiting: u64,
    /// Those that run: each is cancelled when its run has ended.
    pub running: Vec<Stopping>,
}

/// A running task that is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopping {
    /// The task.
    pub id: TaskId,
    /// The [token](crate::Claim::token) of its newest claim.
    pub token: i64,
    /// Whether it was asked to stop before.
    pub was_requested: bool,
}

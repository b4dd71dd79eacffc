//! The filter of lists and bulk operations.

use wasmill_model::{
    CauseFilter, Group, IdEnd, IdPrefix, PluginName, Reach, ScheduleName, Tag, TaskId, TaskPhase, TaskState,
    Timestamp, UniqueKey,
};

/// Selects tasks; an empty field matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Allowed states; empty for all.
    pub states: Vec<TaskState>,
    /// The plugin that does them.
    pub plugin: Option<PluginName>,
    /// Tags that a task must have, all of them.
    pub tags: Vec<Tag>,
    /// Created at this time or later.
    pub created_after: Option<Timestamp>,
    /// Created before this time, exclusive, so adjacent ranges share no task.
    pub created_before: Option<Timestamp>,
    /// Prefix of the id.
    pub id: Option<IdPrefix>,
    /// Suffix of the id.
    pub id_end: Option<IdEnd>,
    /// The schedule that created them.
    pub schedule: Option<ScheduleName>,
    /// Their group.
    pub group: Option<Group>,
    /// Their unique key, present or past.
    pub unique_key: Option<UniqueKey>,
    /// The task whose children they are.
    pub parent: Option<TaskId>,
    /// The cause of their newest failure.
    pub cause: Option<CauseFilter>,
    /// What the key of the request may see.
    pub reach: Reach,
}

impl Filter {
    /// Returns true if the filter matches every task.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the tags that a task must have: those of the filter, then those of the reach.
    pub fn tags_asked(&self) -> impl Iterator<Item = &Tag> {
        self.tags.iter().chain(self.reach.tags())
    }

    /// Returns the group that a task must have, if there is only one.
    pub fn group_asked(&self) -> Option<&Group> {
        self.group.as_ref().or_else(|| self.reach.only_group())
    }

    /// Returns the phases in which tasks may match; empty for all.
    ///
    /// Without states, a cause leaves out completed tasks, which have none, so that nobody walks them.
    pub fn phases(&self) -> Vec<TaskPhase> {
        let is_asked = |phase: &TaskPhase| match self.states.as_slice() {
            [] => self.cause.is_some() && *phase != TaskPhase::Completed,
            states => states.iter().any(|state| state.phase() == *phase),
        };
        TaskPhase::ALL.into_iter().filter(is_asked).collect()
    }

    /// Returns true if the filter allows this state.
    pub fn has(&self, state: TaskState) -> bool {
        self.states.is_empty() || self.states.contains(&state)
    }
}

/// The tasks that one step of a bulk cancel affected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CancelledMany {
    /// Number of waiting tasks that were cancelled.
    pub waiting: u64,
    /// Running tasks; each becomes cancelled when its run ends.
    pub running: Vec<Stopping>,
}

/// A running task with a stop request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopping {
    /// The task.
    pub id: TaskId,
    /// The [token](crate::Claim::token) of its newest claim.
    pub token: i64,
    /// Whether it already had a stop request.
    pub was_requested: bool,
}

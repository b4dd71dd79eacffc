//! What happens to tasks, as followers are told. Plain data only.

use wasmill_model::{Cause, PluginName, Progress, TaskId, TaskState, Timestamp};

/// Something that happened to a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its number: events of all tasks are numbered in their order, without a gap while the store is open.
    /// No number is given twice, also not by a later host.
    pub seq: u64,
    /// What happened.
    pub payload: EventPayload,
}

/// What happened, before it has a number.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPayload {
    /// The task.
    pub task: TaskId,
    /// The plugin that does it.
    pub plugin: PluginName,
    /// The newest attempt that was started by then; 0 before the first.
    pub attempt: u32,
    /// When it happened.
    pub time: Timestamp,
    /// What happened.
    pub kind: EventKind,
}

/// A change of a task.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// It was accepted.
    Created,
    /// An attempt started.
    Started,
    /// The guest told how far it is.
    Progress(Progress),
    /// It is suspended, until then.
    Suspended(Timestamp),
    /// It waits again, until then.
    Retrying(Timestamp),
    /// It has a result.
    Completed,
    /// It failed for good.
    Failed(Cause),
    /// It was cancelled.
    Cancelled,
    /// It was deleted.
    Deleted,
}

impl EventKind {
    /// Returns the word that machines read, such as `started`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Started => "started",
            Self::Progress(_) => "progress",
            Self::Suspended(_) => "suspended",
            Self::Retrying(_) => "retrying",
            Self::Completed => "completed",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
            Self::Deleted => "deleted",
        }
    }

    /// Returns the state of the task after it; `None` if there is no task any more.
    pub fn state(&self) -> Option<TaskState> {
        match self {
            Self::Created | Self::Suspended(_) | Self::Retrying(_) => Some(TaskState::Waiting),
            Self::Started | Self::Progress(_) => Some(TaskState::Running),
            Self::Completed => Some(TaskState::Completed),
            Self::Failed(_) => Some(TaskState::Failed),
            Self::Cancelled => Some(TaskState::Cancelled),
            Self::Deleted => None,
        }
    }

    /// Says whether nothing worth following comes after it.
    pub fn is_last(&self) -> bool {
        self.state().is_none_or(TaskState::is_final)
    }

    /// Says whether the task moved, other than by progress alone.
    pub fn is_move(&self) -> bool {
        !matches!(self, Self::Progress(_))
    }
}

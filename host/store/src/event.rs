//! Events of tasks. Plain data only.

use wasmill_model::{Cause, PluginName, Progress, TaskId, TaskPhase, Timestamp};

/// A numbered event of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Event number, over all tasks. Numbers are consecutive while the store is open and never reused, also
    /// not by a later host.
    pub seq: u64,
    /// What happened.
    pub payload: EventPayload,
}

/// An event before it gets its number.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPayload {
    /// The task.
    pub task: TaskId,
    /// The plugin of the task.
    pub plugin: PluginName,
    /// The newest attempt at that time; 0 before the first.
    pub attempt: u32,
    /// When it happened.
    pub time: Timestamp,
    /// The kind of event.
    pub kind: EventKind,
}

/// The kind of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// The task was accepted.
    Created,
    /// A run started.
    Started,
    /// The guest reported progress.
    Progress(Progress),
    /// The task is suspended until this time.
    Suspended(Timestamp),
    /// The task waits for its next attempt until this time.
    Retrying(Timestamp),
    /// The task completed.
    Completed,
    /// The task failed for good.
    Failed(Cause),
    /// The task was cancelled.
    Cancelled,
    /// The task was removed.
    Deleted,
}

impl EventKind {
    /// Returns the name used in the API, such as `started`.
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

    /// Returns the phase of the task after the event; `None` once it is removed.
    pub fn phase(&self) -> Option<TaskPhase> {
        match self {
            Self::Created | Self::Suspended(_) | Self::Retrying(_) => Some(TaskPhase::Waiting),
            Self::Started | Self::Progress(_) => Some(TaskPhase::Running),
            Self::Completed => Some(TaskPhase::Completed),
            Self::Failed(_) => Some(TaskPhase::Failed),
            Self::Cancelled => Some(TaskPhase::Cancelled),
            Self::Deleted => None,
        }
    }

    /// Returns true if no event worth following comes after this one.
    pub fn is_last(&self) -> bool {
        self.phase().is_none_or(TaskPhase::is_final)
    }

    /// Returns true unless this is mere progress.
    pub fn is_move(&self) -> bool {
        !matches!(self, Self::Progress(_))
    }
}

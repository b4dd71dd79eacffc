//! What identifies a run, and what is known of its task if it is traced.

use std::sync::Arc;

use wasmill_model::{PluginName, TaskId, Timestamp, TraceContext};

use crate::{EventKind, EventPayload};

/// Identifies a run.
#[derive(Clone, Debug)]
pub struct RunRef {
    /// The task.
    pub task: TaskId,
    /// Its plugin.
    pub plugin: PluginName,
    /// The key whose limits count the task.
    pub limit_key: Option<Arc<str>>,
    /// Attempt number, from 1.
    pub attempt: u32,
    /// Claim number of the task, from 1.
    pub token: i64,
    /// What is known of the task if it is traced.
    pub trace: Option<Arc<Traced>>,
}

impl RunRef {
    /// Builds an event of the task.
    pub fn event(self, kind: EventKind, time: Timestamp) -> EventPayload {
        let Self { task, plugin, attempt, .. } = self;
        EventPayload { task, plugin, attempt, time, kind }
    }
}

/// What is known of a traced task.
#[derive(Debug)]
pub struct Traced {
    /// Trace context of the request.
    pub caller: TraceContext,
    /// When the task was created.
    pub created_at: Timestamp,
    /// When its newest run started, if it is running.
    pub started_at: Option<Timestamp>,
}

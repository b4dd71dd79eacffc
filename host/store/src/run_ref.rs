//! What identifies a run, and what is known of its task if it is traced.

use std::sync::Arc;

use wasmill_model::{PluginName, TaskId, Timestamp, TraceContext};

use crate::{EventKind, EventPayload};

/// Identifies a run.
#[derive(Clone, Debug)]
pub(crate) struct RunRef {
    pub(crate) task: TaskId,
    pub(crate) plugin: PluginName,
    pub(crate) attempt: u32,
    /// Claim number of the task, from 1.
    pub(crate) token: i64,
    /// What is known of the task if it is traced.
    pub(crate) trace: Option<Arc<Traced>>,
}

impl RunRef {
    /// Builds an event of the task.
    pub(crate) fn event(self, kind: EventKind, time: Timestamp) -> EventPayload {
        let Self { task, plugin, attempt, .. } = self;
        EventPayload { task, plugin, attempt, time, kind }
    }
}

/// What is known of a traced task.
#[derive(Debug)]
pub(crate) struct Traced {
    /// Trace context of the request.
    pub(crate) caller: TraceContext,
    /// When the task was created.
    pub(crate) created_at: Timestamp,
    /// When its newest run started, if it is running.
    pub(crate) started_at: Option<Timestamp>,
}

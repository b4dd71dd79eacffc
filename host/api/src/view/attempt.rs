//! The attempts of a task, oldest first. Part of `GET /task/{id}`.

use schemars::JsonSchema;
use serde::Serialize;
use wasmill_model::{Failure, Task, TaskState};
use wasmill_store::Attempt;

use super::time::Rfc3339;

/// One attempt. Interrupted and evicted runs are not attempts.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Attempt")]
pub(crate) struct AttemptView {
    attempt: u32,
    /// `completed`, `cancelled`, or the cause of failure; `null` while it runs.
    outcome: Option<String>,
    message: Option<String>,
    started_at: Option<Rfc3339>,
    finished_at: Option<Rfc3339>,
    /// `null` if it was lost in a crash of the host.
    plugin_digest: Option<String>,
}

impl AttemptView {
    /// Shows an attempt of the store.
    pub(crate) fn stored(attempt: Attempt) -> Self {
        let Attempt { attempt, cause, message, started_at, finished_at, plugin_digest } = attempt;
        Self {
            attempt,
            outcome: Some(cause.to_string()),
            message,
            started_at: started_at.map(Rfc3339),
            finished_at: Some(Rfc3339(finished_at)),
            plugin_digest: plugin_digest.as_deref().map(str::to_owned),
        }
    }

    /// Shows the newest attempt, which is part of its task.
    pub(crate) fn newest(task: &Task) -> Self {
        let failure = task.failure.as_ref().filter(|_| task.state == TaskState::Failed);
        let outcome = match task.state {
            TaskState::Completed | TaskState::Cancelled => Some(task.state.as_str().to_owned()),
            TaskState::Failed => failure.map(|Failure { cause, .. }| cause.to_string()),
            _ => None,
        };
        Self {
            attempt: task.attempt,
            outcome,
            message: failure.map(|failure| failure.message.clone()),
            started_at: task.started_at.map(Rfc3339),
            finished_at: task.finished_at.map(Rfc3339),
            plugin_digest: task.plugin_digest.as_deref().map(str::to_owned),
        }
    }
}

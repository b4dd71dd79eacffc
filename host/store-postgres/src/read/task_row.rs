//! Reads a whole task from its row.

use std::sync::Arc;

use tokio_postgres::Row;
use wasmill_model::{Failure, Task, TaskId, TaskState, WakeOn};
use wasmill_store::stored::wake_on;

use crate::connection::fault::Result;
use crate::read::rows::{
    backoff, cause, duration, get, group, number, optional, optional_time, parsed, priority, state, tags,
    task_id, text, time, used,
};

/// A task with what only the store knows of it.
pub(crate) struct TaskRow {
    pub(crate) seq: i64,
    pub(crate) token: i64,
    /// The host of its newest claim.
    pub(crate) host: Option<i64>,
    pub(crate) task: Task,
}

/// Builds a query for rows that [`task_row`] reads.
macro_rules! select_tasks {
    ($tail:literal) => {
        concat!(
            "SELECT seq, claim_token, id, plugin, state, created_at, ready_at, started_at, finished_at, ",
            "attempt, attempts_max, host_crashes, timeout_ms, input_bytes, cause, message, result, plugin_digest, ",
            "usage, priority, tags, unique_key, retry_of, suspensions, schedule, pending_dependencies, trace, ",
            "task_group, backoff_first_ms, backoff_factor, backoff_max_ms, backoff_jitter, stop_requested_at, ",
            "webhook_on IS NOT NULL, submitted_by, task.host, result_type, wake_on, events_posted, ",
            "files_in IS NOT NULL OR files_out IS NOT NULL, parent, child_name, depth, children, children_ended ",
            "FROM task ",
            $tail
        )
    };
}
pub(crate) use select_tasks;

/// Reads a row of [`select_tasks`].
pub(crate) fn task_row(row: &Row) -> Result<TaskRow> {
    let pending_dependencies: Option<i64> = get(row, 25)?;
    let state = state(row, 4)?;
    let task = Task {
        id: task_id(row, 2)?,
        plugin: parsed(row, 3)?,
        state,
        plugin_digest: get::<Option<&str>>(row, 17)?.map(Arc::from),
        created_at: time(row, 5)?,
        ready_at: time(row, 6)?,
        started_at: optional_time(row, 7)?,
        finished_at: optional_time(row, 8)?,
        attempt: number(row, 9)?,
        attempts_max: number(row, 10)?,
        host_crashes: number(row, 11)?,
        timeout: duration(row, 12)?,
        input_bytes: get::<Option<i64>>(row, 13)?.unwrap_or(0).cast_unsigned(),
        priority: priority(row, 19)?,
        tags: tags(row, 20)?,
        unique_key: optional(row, 21)?,
        retry_of: get::<Option<uuid::Uuid>>(row, 22)?.map(|id| TaskId::from_bytes(id.into_bytes())),
        failure: failure(row, 14)?,
        result: text(row, 16)?,
        result_type: optional(row, 36)?,
        suspensions: number(row, 23)?,
        wake_on: if state == TaskState::Suspended { wake_on::read(get(row, 37)?) } else { WakeOn::default() },
        events_posted: number(row, 38)?,
        progress: None,
        usage: used(row, 18)?,
        schedule: optional(row, 24)?,
        // A task that was cancelled while blocked has none any more.
        pending_dependencies: pending_dependencies.map(|count| {
            if state == TaskState::Blocked { u32::try_from(count).unwrap_or(u32::MAX) } else { 0 }
        }),
        trace: optional(row, 26)?,
        group: group(row, 27)?,
        backoff: backoff(row, 28)?,
        stop_requested_at: optional_time(row, 32)?,
        has_webhook: get(row, 33)?,
        has_files: get(row, 39)?,
        parent: get::<Option<uuid::Uuid>>(row, 40)?.map(|id| TaskId::from_bytes(id.into_bytes())),
        child_name: optional(row, 41)?,
        depth: number(row, 42)?,
        children: number(row, 43)?,
        children_ended: number(row, 44)?,
        submitted_by: get::<Option<&str>>(row, 34)?.map(Arc::from),
    };
    Ok(TaskRow { seq: get(row, 0)?, token: get(row, 1)?, host: get(row, 35)?, task })
}

fn failure(row: &Row, column: usize) -> Result<Option<Failure>> {
    let Some(message) = text(row, column + 1)? else { return Ok(None) };
    let (cause, unknown) = cause(row, column)?;
    let message = match unknown {
        Some(word) => format!("{message} (cause {word}, which this version does not know)"),
        None => message,
    };
    Ok(Some(Failure::new(cause, message)))
}

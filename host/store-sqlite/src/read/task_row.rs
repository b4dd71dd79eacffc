//! Reads a whole task from its row.

use std::sync::Arc;

use chrono::DateTime;
use rusqlite::Row;
use wasmill_model::{Failure, Task, TaskId, TaskState, WakeOn};
use wasmill_store::stored::wake_on;

use crate::read::rows::{backoff, cause, group, optional, parsed, priority, state, tags, timeout};
use crate::read::usage;

/// A task with what only the store knows of it.
pub(crate) struct TaskRow {
    pub(crate) seq: i64,
    pub(crate) token: i64,
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
            "webhook_on IS NOT NULL, submitted_by, result_type, wake_on, events_posted, ",
            "files_in IS NOT NULL OR files_out IS NOT NULL, parent, child_name, depth, children, children_ended ",
            "FROM task ",
            $tail
        )
    };
}
pub(crate) use select_tasks;

/// Reads a row of [`select_tasks`].
pub(crate) fn task_row(row: &Row<'_>) -> rusqlite::Result<TaskRow> {
    let pending_dependencies: Option<u32> = row.get(25)?;
    let state = state(row, 4)?;
    let task = Task {
        id: TaskId::from_bytes(row.get(2)?),
        plugin: parsed(row, 3)?,
        state,
        plugin_digest: row.get::<_, Option<Arc<str>>>(17)?,
        created_at: DateTime::from_timestamp_nanos(row.get(5)?),
        ready_at: DateTime::from_timestamp_nanos(row.get(6)?),
        started_at: row.get::<_, Option<_>>(7)?.map(DateTime::from_timestamp_nanos),
        finished_at: row.get::<_, Option<_>>(8)?.map(DateTime::from_timestamp_nanos),
        attempt: row.get(9)?,
        attempts_max: row.get(10)?,
        host_crashes: row.get(11)?,
        timeout: timeout(row, 12)?,
        input_bytes: row.get::<_, Option<i64>>(13)?.unwrap_or(0).cast_unsigned(),
        priority: priority(row, 19)?,
        tags: tags(row, 20)?,
        unique_key: optional(row, 21)?,
        retry_of: row.get::<_, Option<_>>(22)?.map(TaskId::from_bytes),
        failure: failure(row, 14)?,
        result: row.get(16)?,
        result_type: optional(row, 35)?,
        suspensions: row.get(23)?,
        wake_on: if state == TaskState::Suspended { wake_on::read(row.get(36)?) } else { WakeOn::default() },
        events_posted: row.get::<_, i64>(37)?.unsigned_abs(),
        progress: None,
        usage: usage::read(row, 18)?,
        schedule: row.get_ref(24)?.as_str_or_null()?.map(|_| parsed(row, 24)).transpose()?,
        // A task that was cancelled while blocked has none any more.
        pending_dependencies: pending_dependencies
            .map(|count| if state == TaskState::Blocked { count } else { 0 }),
        trace: optional(row, 26)?,
        group: group(row, 27)?,
        backoff: backoff(row, 28)?,
        stop_requested_at: row.get::<_, Option<_>>(32)?.map(DateTime::from_timestamp_nanos),
        has_webhook: row.get(33)?,
        has_files: row.get(38)?,
        parent: row.get::<_, Option<_>>(39)?.map(TaskId::from_bytes),
        child_name: optional(row, 40)?,
        depth: row.get::<_, Option<_>>(41)?.unwrap_or(0),
        children: row.get::<_, i64>(42)?.unsigned_abs(),
        children_ended: row.get::<_, i64>(43)?.unsigned_abs(),
        submitted_by: row.get(34)?,
    };
    Ok(TaskRow { seq: row.get(0)?, token: row.get(1)?, task })
}

fn failure(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Failure>> {
    let Some(message) = row.get::<_, Option<String>>(column + 1)? else { return Ok(None) };
    let (cause, unknown) = cause(row, column)?;
    let message = match unknown {
        Some(word) => format!("{message} (cause {word}, which this version does not know)"),
        None => message,
    };
    Ok(Some(Failure::new(cause, message)))
}

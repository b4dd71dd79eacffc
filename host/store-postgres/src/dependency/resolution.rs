//! Resolves dependencies when they finish: releases their dependents, or cancels them, and resumes parents. Cancels the
//! children of tasks that have ended.
//!
//! [`resolve`] updates at most 500 tasks per batch; the rest follow in later batches, since a task may
//! have a million dependents and a chain of cancels may be as long.

use tokio_postgres::Row;
use uuid::Uuid;
use wasmill_model::{Cause, OnFailure, PluginName, TaskId, TaskState, Timestamp};
use wasmill_store::rules;

use crate::connection::fault::Result;
use crate::dependency::children;
use crate::queue::cancel::{Cancelling, SET_CAUSE, cancel, cancellable};
use crate::queue::cancel_many;
use crate::queue::floors::lowering_floors;
use crate::read::rows::{
    get, limit_key, nanos, on_failure, optional_time, parsed, size, state, task_id, time,
};
use crate::writer::batch::Batch;
use crate::writer::quarantine;

/// Maximum tasks updated per batch.
const RESOLVED_MAX: usize = 500;

const NEXT_END: &str = "SELECT seq, state, at, parent FROM dependency_end ORDER BY seq LIMIT 1";
const REMOVE_END: &str = "DELETE FROM dependency_end WHERE seq = $1";
const AWAITING: &str = "
    SELECT seq, position, id,
        coalesce((SELECT runs_on_failure FROM dependent WHERE dependent.seq = dependency.seq), true),
        coalesce((SELECT pass_results OR files_from IS NOT NULL FROM dependent WHERE dependent.seq = dependency.seq), true),
        (SELECT run_at FROM dependent WHERE dependent.seq = dependency.seq), name IS NOT NULL
    FROM dependency
    WHERE on_seq = $1 AND outcome IS NULL LIMIT $2";
const RECORD_OUTCOME: &str = "
    UPDATE dependency SET outcome = $3, on_seq = CASE WHEN $4 THEN on_seq END WHERE seq = $1 AND position = $2";
const COUNT_DOWN: &str = "
    UPDATE task SET pending_dependencies = pending_dependencies - 1 WHERE seq = $1 AND state = 'blocked'
    RETURNING pending_dependencies, plugin, limit_key";
const RELEASE: &str = lowering_floors!(
    "
    WITH moved AS (UPDATE task SET state = $2, sort_key = sort_key + $3 - ready_at, ready_at = $3 WHERE seq = $1
        RETURNING plugin, task_group, state, sort_key, seq)",
    "SELECT seq FROM moved"
);
#[cfg(test)]
pub(crate) const EXPANDED: [&str; 1] = [RELEASE];

/// The end of a task.
struct TaskEnd {
    seq: i64,
    state: TaskState,
    at: Timestamp,
    /// Its id, if it had children.
    parent: Option<TaskId>,
}

/// An unresolved dependency of a task.
struct PendingDependency {
    seq: i64,
    position: i64,
    on: TaskId,
    on_failure: OnFailure,
    passes_any: bool,
    /// When the dependent may start at the earliest.
    run_at: Option<Timestamp>,
    /// Whether it is a child, of which the dependent is the parent.
    is_child: bool,
}

/// Resolves recorded ends, as far as one batch has time for.
pub(crate) async fn resolve(batch: &mut Batch<'_>) -> Result<()> {
    let mut left = RESOLVED_MAX;
    while batch.writer_state.has_unresolved_ends && left > 0 {
        let Some(row) = batch.connection.optional(NEXT_END, &[]).await? else {
            batch.writer_state.has_unresolved_ends = false;
            break;
        };
        let parent = get::<Option<Uuid>>(&row, 3)?.map(|id| TaskId::from_bytes(id.into_bytes()));
        let end = TaskEnd { seq: get(&row, 0)?, state: state(&row, 1)?, at: time(&row, 2)?, parent };
        let rows = batch.connection.query(AWAITING, &[&end.seq, &size(left)]).await?;
        for row in &rows {
            let one = pending(row)?;
            match record_outcome(batch, &one, &end).await {
                // It would be retried in every batch, and nothing could be written any more.
                Err(error) if error.is_of_value() => {
                    let was = if one.is_child { TaskState::Suspended } else { TaskState::Blocked };
                    quarantine::fail(batch, one.seq, was, &error, end.at).await?;
                }
                recorded => recorded?,
            }
        }
        let mut updated = rows.len();
        if let Some(parent) = end.parent
            && updated < left
        {
            updated += children::cancel_some(batch, parent, end.state, end.at, left - updated).await?;
        }
        if updated < left {
            batch.connection.execute(REMOVE_END, &[&end.seq]).await?;
        }
        left = left.saturating_sub(updated.max(1));
    }
    Ok(())
}

fn pending(row: &Row) -> Result<PendingDependency> {
    Ok(PendingDependency {
        seq: get(row, 0)?,
        position: get(row, 1)?,
        on: task_id(row, 2)?,
        on_failure: on_failure(row, 3)?,
        passes_any: get(row, 4)?,
        run_at: optional_time(row, 5)?,
        is_child: get(row, 6)?,
    })
}

/// Records the outcome of one dependency and releases the dependent if it was the last.
async fn record_outcome(batch: &mut Batch<'_>, pending: &PendingDependency, end: &TaskEnd) -> Result<()> {
    let PendingDependency { seq, position, passes_any, .. } = *pending;
    let keeps = if pending.is_child {
        rules::children::is_kept(end.state)
    } else {
        rules::dependency::is_kept(end.state, passes_any)
    };
    batch.connection.execute(RECORD_OUTCOME, &[&seq, &position, &end.state.as_str(), &keeps]).await?;
    if pending.is_child {
        return children::ended(batch, seq, end.at).await;
    }
    if rules::dependency::cancels(end.state, pending.on_failure) {
        return cancel_dependent(batch, pending, end).await;
    }
    let Some(row) = batch.connection.optional(COUNT_DOWN, &[&seq]).await? else { return Ok(()) };
    if get::<i64>(&row, 0)? == 0 {
        let plugin: PluginName = parsed(&row, 1)?;
        let (state, ready_at) = rules::dependency::released(pending.run_at, end.at);
        batch.connection.one(RELEASE, &[&seq, &state.as_str(), &nanos(ready_at)]).await?;
        batch.record_move(&plugin, limit_key(&row, 2)?.as_ref(), Some(TaskState::Blocked), Some(state));
        batch.effects.wait_for_ready = true;
    }
    Ok(())
}

/// Cancels a dependent because a dependency did not complete.
async fn cancel_dependent(batch: &mut Batch<'_>, pending: &PendingDependency, end: &TaskEnd) -> Result<()> {
    let Some(row) = batch.connection.optional(cancel_many::FIND, &[&pending.seq]).await? else {
        return Ok(());
    };
    // Another dependency may have cancelled it already.
    let (seq, was @ TaskState::Blocked, of, has_webhook) = cancellable(&row)? else { return Ok(()) };
    let message = rules::dependency::cancel_message(pending.on, end.state);
    let cause = Cause::Dependency.to_string();
    batch.connection.execute(SET_CAUSE, &[&seq, &cause, &message.as_bytes()]).await?;
    cancel(batch, Cancelling { seq, of, was, has_webhook, run: None }, end.at).await
}

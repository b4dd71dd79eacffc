//! Resolves dependencies when they finish: releases their dependents, or cancels them, and resumes parents. Cancels the
//! children of tasks that have ended.
//!
//! [`resolve`] updates at most 500 tasks per batch; the rest follow in later batches, since a task may
//! have a million dependents and a chain of cancels may be as long.

use std::sync::Arc;

use chrono::DateTime;
use rusqlite::{OptionalExtension, params};
use wasmill_model::{Cause, Group, OnFailure, PluginName, TaskId, TaskState, Timestamp};
use wasmill_store::rules;

use crate::dependency::children;
use crate::file::fault::is_of_value;
use crate::queue::cancel::{self, Cancelling, cancel};
use crate::queue::cancel_many;
use crate::read::rows::{group, nanos, on_failure, parsed, size, state};
use crate::writer::batch::Batch;
use crate::writer::quarantine;

/// Maximum tasks updated per batch: a few milliseconds that other writes wait for.
const RESOLVED_MAX: usize = 500;

pub(crate) const NEXT_END: &str = "SELECT seq, state, at, parent FROM dependency_end ORDER BY seq LIMIT 1";
pub(crate) const REMOVE_END: &str = "DELETE FROM dependency_end WHERE seq = ?1";
pub(crate) const AWAITING: &str = "
    SELECT dependency.seq, position, id, on_failure, pass_results OR files_from IS NOT NULL, run_at, name IS NOT NULL
    FROM dependency INDEXED BY dependency_on LEFT JOIN dependent ON dependent.seq = dependency.seq
    WHERE on_seq = ?1 AND outcome IS NULL LIMIT ?2";
pub(crate) const RECORD_OUTCOME: &str = "
    UPDATE dependency SET outcome = ?3, on_seq = iif(?4, on_seq, NULL) WHERE seq = ?1 AND position = ?2";
pub(crate) const COUNT_DOWN: &str = "
    UPDATE task SET pending_dependencies = pending_dependencies - 1 WHERE seq = ?1 AND state = 'blocked'
    RETURNING pending_dependencies, plugin, task_group, limit_key";
pub(crate) const RELEASE: &str = "
    UPDATE task SET state = ?2, sort_key = sort_key + ?3 - ready_at, ready_at = ?3 WHERE seq = ?1";

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
    place: i64,
    on: TaskId,
    on_failure: OnFailure,
    passes_any: bool,
    /// When the dependent may start at the earliest.
    run_at: Option<Timestamp>,
    /// Whether it is a child, of which the dependent is the parent.
    is_child: bool,
}

/// A task whose dependencies have all finished.
struct Released {
    plugin: PluginName,
    group: Option<Group>,
    limit_key: Option<Arc<str>>,
}

/// Resolves recorded ends, as far as one batch has time for.
pub(crate) fn resolve(batch: &mut Batch<'_>) -> rusqlite::Result<()> {
    let mut left = RESOLVED_MAX;
    while batch.writer_state.has_unresolved_ends && left > 0 {
        let Some(end) = next_end(batch)? else {
            batch.writer_state.has_unresolved_ends = false;
            break;
        };
        let pending = pending(batch, end.seq, left)?;
        for one in &pending {
            match record_outcome(batch, one, &end) {
                // It would be retried in every batch, and nothing could be written any more.
                Err(error) if is_of_value(&error) => {
                    let was = if one.is_child { TaskState::Suspended } else { TaskState::Blocked };
                    quarantine::fail(batch, one.seq, was, &error, end.at)?;
                }
                recorded => recorded?,
            }
        }
        let mut updated = pending.len();
        if let Some(parent) = end.parent
            && updated < left
        {
            updated += children::cancel_some(batch, parent, end.state, end.at, left - updated)?;
        }
        if updated < left {
            batch.connection.prepare_cached(REMOVE_END)?.execute([end.seq])?;
        }
        left = left.saturating_sub(updated.max(1));
    }
    Ok(())
}

fn next_end(batch: &Batch<'_>) -> rusqlite::Result<Option<TaskEnd>> {
    let mut next = batch.connection.prepare_cached(NEXT_END)?;
    let end = next.query_row([], |row| {
        let at = DateTime::from_timestamp_nanos(row.get(2)?);
        let parent = row.get::<_, Option<_>>(3)?.map(TaskId::from_bytes);
        Ok(TaskEnd { seq: row.get(0)?, state: state(row, 1)?, at, parent })
    });
    end.optional()
}

fn pending(batch: &Batch<'_>, seq: i64, limit: usize) -> rusqlite::Result<Vec<PendingDependency>> {
    let mut statement = batch.connection.prepare_cached(AWAITING)?;
    let pending = statement.query_map(params![seq, size(limit)], |row| {
        let is_child = row.get(6)?;
        Ok(PendingDependency {
            seq: row.get(0)?,
            place: row.get(1)?,
            on: TaskId::from_bytes(row.get(2)?),
            // A parent need not have dependencies of its own.
            on_failure: if is_child { OnFailure::Run } else { on_failure(row, 3)? },
            passes_any: is_child || row.get(4)?,
            run_at: row.get::<_, Option<i64>>(5)?.map(DateTime::from_timestamp_nanos),
            is_child,
        })
    })?;
    pending.collect()
}

/// Records the outcome of one dependency and releases the dependent if it was the last.
fn record_outcome(batch: &mut Batch<'_>, pending: &PendingDependency, end: &TaskEnd) -> rusqlite::Result<()> {
    let PendingDependency { seq, place, passes_any, .. } = *pending;
    let mut record_outcome = batch.connection.prepare_cached(RECORD_OUTCOME)?;
    let keeps = if pending.is_child {
        rules::children::is_kept(end.state)
    } else {
        rules::dependency::is_kept(end.state, passes_any)
    };
    record_outcome.execute(params![seq, place, end.state.as_str(), keeps])?;
    drop(record_outcome);
    if pending.is_child {
        return children::ended(batch, seq, end.at);
    }
    if rules::dependency::cancels(end.state, pending.on_failure) {
        return cancel_dependent(batch, pending, end);
    }
    let mut count = batch.connection.prepare_cached(COUNT_DOWN)?;
    let left = count.query_row([seq], |row| {
        let (pending, plugin, group) = (row.get::<_, i64>(0)?, parsed(row, 1)?, group(row, 2)?);
        Ok((pending, Released { plugin, group, limit_key: row.get(3)? }))
    });
    if let Some((0, released)) = left.optional()? {
        release(batch, pending, &released, end.at)?;
    }
    Ok(())
}

/// Releases a dependent whose dependencies have all finished.
fn release(
    batch: &mut Batch<'_>,
    pending: &PendingDependency,
    released: &Released,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let (state, ready_at) = rules::dependency::released(pending.run_at, at);
    let mut release = batch.connection.prepare_cached(RELEASE)?;
    release.execute(params![pending.seq, state.as_str(), nanos(ready_at)])?;
    let Released { plugin, group, limit_key } = released;
    if let Some(group) = group
        && state == TaskState::Available
    {
        batch.fair_queue.add(plugin, group);
    }
    batch.record_move(plugin, limit_key.as_ref(), Some(TaskState::Blocked), Some(state));
    batch.effects.wait_for_ready = true;
    Ok(())
}

/// Cancels a dependent because a dependency did not complete.
fn cancel_dependent(
    batch: &mut Batch<'_>,
    pending: &PendingDependency,
    end: &TaskEnd,
) -> rusqlite::Result<()> {
    let mut find = batch.connection.prepare_cached(cancel_many::FIND)?;
    let found = find.query_row([pending.seq], cancel::cancellable).optional()?;
    drop(find);
    // Another dependency may have cancelled it already.
    let Some((seq, was @ TaskState::Blocked, of, has_webhook)) = found else { return Ok(()) };
    let message = rules::dependency::cancel_message(pending.on, end.state);
    let mut blame = batch.connection.prepare_cached(cancel::SET_CAUSE)?;
    blame.execute(params![seq, Cause::Dependency.to_string(), message])?;
    drop(blame);
    cancel(batch, Cancelling { seq, of, was, has_webhook, run: None }, end.at)
}

//! Dependencies: stored with their dependents, and resolved when they finish.
//!
//! Whatever finishes a task calls [`ended`], which is free while no task has dependents and records the end
//! in the same transaction. [`resolve`] updates at most 500 dependents per batch; the rest follow in later
//! batches, since a task may have a million dependents and a chain of cancels may be as long.

use std::collections::HashMap;

use chrono::DateTime;
use rusqlite::{OptionalExtension, params};
use wasmill_model::{
    Cause, Group, NewDependencies, NewTask, OnFailure, PluginName, TaskId, TaskState, Timestamp,
};

use super::batch::Batch;
use super::cancel::{self, Cancelling, cancel};
use super::cancel_many;
use super::fault::is_of_value;
use super::quarantine;
use super::rows::{group, nanos, parsed, size, state};
use crate::StoreError;

/// Maximum dependents updated per batch: a few milliseconds that other writes wait for.
const RESOLVED_MAX: usize = 500;

pub(super) const FIND: &str = "SELECT seq, state FROM task WHERE id = ?1";
pub(super) const ADD_DEPENDENT: &str =
    "INSERT INTO dependent (seq, on_failure, pass_results, run_at) VALUES (?1, ?2, ?3, ?4)";
pub(super) const ADD_DEPENDENCY: &str =
    "INSERT INTO dependency (seq, position, id, on_seq) VALUES (?1, ?2, ?3, ?4)";
pub(super) const ADD_END: &str = "INSERT OR IGNORE INTO dependency_end (seq, state, at) VALUES (?1, ?2, ?3)";
pub(super) const ADD_END_IF_AWAITED: &str = "
    INSERT OR IGNORE INTO dependency_end (seq, state, at) SELECT ?1, ?2, ?3 WHERE EXISTS (
        SELECT 1 FROM dependency INDEXED BY dependency_on WHERE on_seq = ?1 AND outcome IS NULL)";
/// Keeps the outcomes of dependencies that have finished, even if unresolved or removed by now.
pub(super) const DROP_DEPENDENCIES: &str = "
    UPDATE dependency SET on_seq = NULL, outcome = coalesce(outcome,
        (SELECT state FROM task WHERE task.seq = on_seq AND finished_at IS NOT NULL),
        (SELECT state FROM dependency_end WHERE dependency_end.seq = on_seq))
    WHERE seq = ?1 AND on_seq IS NOT NULL";
pub(super) const NEXT_END: &str = "SELECT seq, state, at FROM dependency_end ORDER BY seq LIMIT 1";
pub(super) const REMOVE_END: &str = "DELETE FROM dependency_end WHERE seq = ?1";
pub(super) const AWAITING: &str = "
    SELECT dependency.seq, position, id, on_failure, pass_results, run_at
    FROM dependency INDEXED BY dependency_on CROSS JOIN dependent ON dependent.seq = dependency.seq
    WHERE on_seq = ?1 AND outcome IS NULL LIMIT ?2";
pub(super) const RECORD_OUTCOME: &str = "
    UPDATE dependency SET outcome = ?3, on_seq = iif(?4, on_seq, NULL) WHERE seq = ?1 AND position = ?2";
pub(super) const COUNT_DOWN: &str = "
    UPDATE task SET pending_dependencies = pending_dependencies - 1 WHERE seq = ?1 AND state = 'blocked'
    RETURNING pending_dependencies, plugin, task_group";
pub(super) const RELEASE: &str = "
    UPDATE task SET state = ?2, sort_key = sort_key + ?3 - ready_at, ready_at = ?3 WHERE seq = ?1";
pub(super) const SET_CAUSE: &str = "UPDATE task SET cause = ?2, message = ?3 WHERE seq = ?1";

/// A dependency of a new task.
pub(super) struct DependencyTarget {
    id: TaskId,
    seq: i64,
    state: TaskState,
}

/// Finds the dependencies of a new task, or returns the one that does not exist. `index` is the index of the
/// task; `held` maps tasks that were not stored to the holders of their unique keys.
pub(super) fn find(
    batch: &Batch<'_>,
    index: usize,
    dependencies: &NewDependencies,
    held: &HashMap<TaskId, TaskId>,
) -> rusqlite::Result<Result<Vec<DependencyTarget>, StoreError>> {
    let mut find = batch.connection.prepare_cached(FIND)?;
    let mut targets = Vec::with_capacity(dependencies.on.len());
    for (place, id) in dependencies.on.iter().enumerate() {
        let id = *held.get(id).unwrap_or(id);
        let found = find.query_row([id.as_bytes()], |row| Ok((row.get(0)?, state(row, 1)?)));
        match found.optional()? {
            Some((seq, state)) => targets.push(DependencyTarget { id, seq, state }),
            None => return Ok(Err(StoreError::UnknownDependency { index, dependency_index: place, id })),
        }
    }
    Ok(Ok(targets))
}

/// Stores the dependencies of a new task. One that has finished is resolved at the end of the batch, like one
/// that finishes a moment later.
pub(super) fn add(
    batch: &mut Batch<'_>,
    seq: i64,
    task: &NewTask,
    targets: &[DependencyTarget],
) -> rusqlite::Result<()> {
    let Some(dependencies) = &task.dependencies else { return Ok(()) };
    let run_at = task.run_at.filter(|run_at| *run_at > task.created_at).map(nanos);
    let runs = dependencies.on_failure == OnFailure::Run;
    let mut dependant = batch.connection.prepare_cached(ADD_DEPENDENT)?;
    dependant.execute(params![seq, runs, dependencies.pass_results, run_at])?;
    let mut dependency = batch.connection.prepare_cached(ADD_DEPENDENCY)?;
    for (place, on) in targets.iter().enumerate() {
        dependency.execute(params![seq, size(place), on.id.as_bytes(), on.seq])?;
        if on.state.is_final() {
            let mut add_end = batch.connection.prepare_cached(ADD_END)?;
            add_end.execute(params![on.seq, on.state.as_str(), nanos(task.created_at)])?;
            batch.writer_state.has_unresolved_ends = true;
        }
    }
    batch.writer_state.has_dependents = true;
    Ok(())
}

/// Records the end of a task, finished or removed, for its dependents, and drops its own dependencies.
pub(super) fn ended(
    batch: &mut Batch<'_>,
    seq: i64,
    state: TaskState,
    at: Timestamp,
) -> rusqlite::Result<()> {
    if !batch.writer_state.has_dependents {
        return Ok(());
    }
    batch.writer_state.observe_time(nanos(at));
    batch.connection.prepare_cached(DROP_DEPENDENCIES)?.execute([seq])?;
    let mut add_end = batch.connection.prepare_cached(ADD_END_IF_AWAITED)?;
    batch.writer_state.has_unresolved_ends |= add_end.execute(params![seq, state.as_str(), nanos(at)])? > 0;
    Ok(())
}

/// The end of a task.
struct TaskEnd {
    seq: i64,
    state: TaskState,
    at: Timestamp,
}

/// An unresolved dependency of a task.
struct PendingDependency {
    seq: i64,
    place: i64,
    on: TaskId,
    runs_on_failure: bool,
    pass_results: bool,
    /// When the dependent may start at the earliest.
    run_at: Option<i64>,
}

/// Resolves recorded ends, as far as one batch has time for.
pub(super) fn resolve(batch: &mut Batch<'_>) -> rusqlite::Result<()> {
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
                    quarantine::fail(batch, one.seq, TaskState::Blocked, &error, end.at)?;
                }
                recorded => recorded?,
            }
        }
        if pending.len() < left {
            batch.connection.prepare_cached(REMOVE_END)?.execute([end.seq])?;
        }
        left = left.saturating_sub(pending.len().max(1));
    }
    Ok(())
}

fn next_end(batch: &Batch<'_>) -> rusqlite::Result<Option<TaskEnd>> {
    let mut next = batch.connection.prepare_cached(NEXT_END)?;
    let end = next.query_row([], |row| {
        let at = DateTime::from_timestamp_nanos(row.get(2)?);
        Ok(TaskEnd { seq: row.get(0)?, state: state(row, 1)?, at })
    });
    end.optional()
}

fn pending(batch: &Batch<'_>, seq: i64, limit: usize) -> rusqlite::Result<Vec<PendingDependency>> {
    let mut statement = batch.connection.prepare_cached(AWAITING)?;
    let pending = statement.query_map(params![seq, size(limit)], |row| {
        Ok(PendingDependency {
            seq: row.get(0)?,
            place: row.get(1)?,
            on: TaskId::from_bytes(row.get(2)?),
            runs_on_failure: row.get(3)?,
            pass_results: row.get(4)?,
            run_at: row.get(5)?,
        })
    })?;
    pending.collect()
}

/// Records the outcome of one dependency and releases the dependent if it was the last.
fn record_outcome(batch: &mut Batch<'_>, pending: &PendingDependency, end: &TaskEnd) -> rusqlite::Result<()> {
    let PendingDependency { seq, place, pass_results, .. } = *pending;
    let mut record_outcome = batch.connection.prepare_cached(RECORD_OUTCOME)?;
    // Only a completed dependency has a result to pass.
    let keeps = pass_results && end.state == TaskState::Completed;
    record_outcome.execute(params![seq, place, end.state.as_str(), keeps])?;
    drop(record_outcome);
    if end.state != TaskState::Completed && !pending.runs_on_failure {
        return cancel_dependent(batch, pending, end);
    }
    let mut count = batch.connection.prepare_cached(COUNT_DOWN)?;
    let left = count.query_row([seq], |row| {
        let (pending, plugin, group) = (row.get::<_, i64>(0)?, parsed(row, 1)?, group(row, 2)?);
        Ok((pending, plugin, group))
    });
    if let Some((0, plugin, group)) = left.optional()? {
        release(batch, pending, &plugin, group.as_ref(), end.at)?;
    }
    Ok(())
}

/// Releases a dependent whose dependencies have all finished: it is available, or scheduled if it has a start time
/// that is still to come.
fn release(
    batch: &mut Batch<'_>,
    pending: &PendingDependency,
    plugin: &PluginName,
    group: Option<&Group>,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let at = nanos(at);
    let (state, ready_at) = match pending.run_at {
        Some(run_at) if run_at > at => (TaskState::Scheduled, run_at),
        _ => (TaskState::Available, at),
    };
    let mut release = batch.connection.prepare_cached(RELEASE)?;
    release.execute(params![pending.seq, state.as_str(), ready_at])?;
    if let Some(group) = group
        && state == TaskState::Available
    {
        batch.fair_queue.add(plugin, group);
    }
    batch.record_move(plugin, Some(TaskState::Blocked), Some(state));
    batch.wait_for_ready = true;
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
    let how = if end.state == TaskState::Failed { "failed" } else { "was cancelled" };
    let message = format!("it depends on task {}, which {how}", pending.on);
    let mut blame = batch.connection.prepare_cached(SET_CAUSE)?;
    blame.execute(params![seq, Cause::Dependency.to_string(), message])?;
    drop(blame);
    cancel(batch, Cancelling { seq, of, was, has_webhook, run: None }, end.at)
}

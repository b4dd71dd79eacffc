//! Dependencies: stored with their dependents, and resolved when a task ends.
//!
//! Whatever finishes a task calls [`ended`], which is free while no task has dependents and records the end
//! in the same transaction. The resolution of dependents follows at the end of the batch.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, params};
use wasmill_model::{FilesFrom, NewDependencies, NewTask, OnFailure, TaskId, TaskState, Timestamp};
use wasmill_store::StoreError;

use crate::read::rows::{nanos, size, state};
use crate::writer::batch::Batch;

pub(crate) const FIND: &str = "SELECT seq, state FROM task WHERE id = ?1";
pub(crate) const ADD_DEPENDENT: &str =
    "INSERT INTO dependent (seq, on_failure, pass_results, run_at, files_from) VALUES (?1, ?2, ?3, ?4, ?5)";
pub(crate) const ADD_DEPENDENCY: &str =
    "INSERT INTO dependency (seq, position, id, on_seq) VALUES (?1, ?2, ?3, ?4)";
pub(crate) const ADD_END: &str = "INSERT OR IGNORE INTO dependency_end (seq, state, at) VALUES (?1, ?2, ?3)";
pub(crate) const ADD_END_IF_AWAITED: &str = "
    INSERT OR IGNORE INTO dependency_end (seq, state, at, parent)
    SELECT ?1, ?2, ?3, (SELECT id FROM task WHERE seq = ?1 AND children > 0)
    WHERE EXISTS (SELECT 1 FROM dependency INDEXED BY dependency_on WHERE on_seq = ?1 AND outcome IS NULL)
        OR EXISTS (SELECT 1 FROM task WHERE seq = ?1 AND children > 0)";
/// Keeps the outcomes of dependencies that have finished, even if unresolved or removed by now.
pub(crate) const DROP_DEPENDENCIES: &str = "
    UPDATE dependency SET on_seq = NULL, outcome = coalesce(outcome,
        (SELECT state FROM task WHERE task.seq = on_seq AND finished_at IS NOT NULL),
        (SELECT state FROM dependency_end WHERE dependency_end.seq = on_seq))
    WHERE seq = ?1 AND on_seq IS NOT NULL";

/// A dependency of a new task.
pub(crate) struct DependencyTarget {
    id: TaskId,
    seq: i64,
    state: TaskState,
}

/// Finds the dependencies of a new task, or returns the one that does not exist. `index` is the index of the
/// task; `held` maps tasks that were not stored to the holders of their unique keys.
pub(crate) fn find(
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
pub(crate) fn add(
    batch: &mut Batch<'_>,
    seq: i64,
    task: &NewTask,
    targets: &[DependencyTarget],
) -> rusqlite::Result<()> {
    let Some(dependencies) = &task.dependencies else { return Ok(()) };
    let run_at = task.run_at.filter(|run_at| *run_at > task.created_at).map(nanos);
    let runs = dependencies.on_failure == OnFailure::Run;
    let mut dependant = batch.connection.prepare_cached(ADD_DEPENDENT)?;
    let files_from = dependencies.files_from.map(FilesFrom::as_str);
    dependant.execute(params![seq, runs, dependencies.pass_results, run_at, files_from])?;
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

/// Records the end of a task, finished or about to be removed, for its dependents and its children, and drops its own
/// dependencies.
pub(crate) fn ended(
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

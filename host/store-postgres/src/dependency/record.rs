//! Stores dependencies with their dependents, and the ends of tasks that others depend on.
//!
//! Whatever finishes a task calls [`ended`], which is free while no task has dependents and records the end
//! in the same transaction. The resolution of dependents follows at the end of the batch.

use std::collections::HashMap;

use wasmill_model::{FilesFrom, NewDependencies, NewTask, OnFailure, TaskId, TaskState, Timestamp};
use wasmill_store::StoreError;

use crate::connection::fault::Result;
use crate::read::rows::{get, nanos, size, state, uuid};
use crate::writer::batch::Batch;

const FIND: &str = "SELECT seq, state FROM task WHERE id = $1";
const ADD_DEPENDENT: &str = "INSERT INTO dependent (seq, runs_on_failure, pass_results, run_at, files_from) VALUES ($1, $2, $3, $4, $5)";
const ADD_DEPENDENCY: &str = "INSERT INTO dependency (seq, position, id, on_seq) VALUES ($1, $2, $3, $4)";
const ADD_END: &str =
    "INSERT INTO dependency_end (seq, state, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
const ADD_END_IF_AWAITED: &str = "
    INSERT INTO dependency_end (seq, state, at, parent)
    SELECT $1::bigint, $2::text, $3::bigint, (SELECT id FROM task WHERE seq = $1 AND children > 0)
    WHERE EXISTS (SELECT FROM dependency WHERE on_seq = $1 AND outcome IS NULL)
        OR EXISTS (SELECT FROM task WHERE seq = $1 AND children > 0)
    ON CONFLICT DO NOTHING";
/// Keeps the outcomes of dependencies that have finished, even if unresolved or removed by now.
const DROP_DEPENDENCIES: &str = "
    UPDATE dependency SET on_seq = NULL, outcome = coalesce(outcome,
        (SELECT state FROM task WHERE task.seq = on_seq AND finished_at IS NOT NULL),
        (SELECT state FROM dependency_end WHERE dependency_end.seq = on_seq))
    WHERE seq = $1 AND on_seq IS NOT NULL";

/// A dependency of a new task.
pub(crate) struct DependencyTarget {
    id: TaskId,
    seq: i64,
    state: TaskState,
}

/// Finds the dependencies of a new task, or returns the one that does not exist. `index` is the index of the
/// task; `held` maps tasks that were not stored to the holders of their unique keys.
pub(crate) async fn find(
    batch: &Batch<'_>,
    index: usize,
    dependencies: &NewDependencies,
    held: &HashMap<TaskId, TaskId>,
) -> Result<std::result::Result<Vec<DependencyTarget>, StoreError>> {
    let mut targets = Vec::with_capacity(dependencies.on.len());
    for (dependency_index, id) in dependencies.on.iter().enumerate() {
        let id = *held.get(id).unwrap_or(id);
        match batch.connection.optional(FIND, &[&uuid(id)]).await? {
            Some(row) => targets.push(DependencyTarget { id, seq: get(&row, 0)?, state: state(&row, 1)? }),
            None => return Ok(Err(StoreError::UnknownDependency { index, dependency_index, id })),
        }
    }
    Ok(Ok(targets))
}

/// Stores the dependencies of a new task. One that has finished is resolved at the end of the batch, like one
/// that finishes a moment later.
pub(crate) async fn add(
    batch: &mut Batch<'_>,
    seq: i64,
    task: &NewTask,
    targets: &[DependencyTarget],
) -> Result<()> {
    let Some(dependencies) = &task.dependencies else { return Ok(()) };
    let run_at = task.run_at.filter(|run_at| *run_at > task.created_at).map(nanos);
    let runs = dependencies.on_failure == OnFailure::Run;
    let files_from = dependencies.files_from.map(FilesFrom::as_str);
    let passes = dependencies.pass_results;
    batch.connection.execute(ADD_DEPENDENT, &[&seq, &runs, &passes, &run_at, &files_from]).await?;
    for (position, on) in targets.iter().enumerate() {
        batch.connection.execute(ADD_DEPENDENCY, &[&seq, &size(position), &uuid(on.id), &on.seq]).await?;
        if on.state.is_final() {
            let at = nanos(task.created_at);
            batch.connection.execute(ADD_END, &[&on.seq, &on.state.as_str(), &at]).await?;
            batch.writer_state.has_unresolved_ends = true;
        }
    }
    batch.writer_state.has_dependents = true;
    Ok(())
}

/// Records the end of a task, finished or about to be removed, for its dependents and its children, and drops its own
/// dependencies.
pub(crate) async fn ended(batch: &mut Batch<'_>, seq: i64, state: TaskState, at: Timestamp) -> Result<()> {
    if !batch.writer_state.has_dependents {
        return Ok(());
    }
    batch.writer_state.observe_time(nanos(at));
    batch.connection.execute(DROP_DEPENDENCIES, &[&seq]).await?;
    let ended = batch.connection.execute(ADD_END_IF_AWAITED, &[&seq, &state.as_str(), &nanos(at)]).await?;
    batch.writer_state.has_unresolved_ends |= ended > 0;
    Ok(())
}

//! Queries about dependencies: their status, and their results for a run.

use rusqlite::{Connection, Row, params};
use wasmill_model::{
    DEPENDENCY_FILES_MAX, DEPENDENCY_RESULTS_BYTES_MAX, DependencyFiles, DependencyResult, FileDirection,
    NewDependencies, TaskId, TaskResult, TaskState,
};
use wasmill_store::rules::dependency::stays_in_retry;
use wasmill_store::{Claim, Dependency, DependencyResults, DependencyStatus, HandedFiles};

use crate::content::task_files;
use crate::read::filtered_list::ListScan;
use crate::read::rows::{on_failure, optional, seq, size, state};

pub(crate) const DEPENDS: &str = "
    SELECT on_failure, pass_results, dependency.id, outcome, files_from
    FROM task CROSS JOIN dependent ON dependent.seq = task.seq
        CROSS JOIN dependency ON dependency.seq = task.seq
    WHERE task.id = ?1 AND dependency.name IS NULL ORDER BY position";
/// One row for a task that names the other twice.
pub(crate) const DEPENDENTS: &str = "SELECT DISTINCT seq FROM dependency WHERE id = ?1 AND seq < ?2 AND name IS NULL ORDER BY seq DESC LIMIT ?3";
pub(crate) const RESULTS: &str = "
    SELECT dependency.id, outcome, other.seq IS NOT NULL, coalesce(octet_length(other.result), 0), other.seq
    FROM task CROSS JOIN dependency ON dependency.seq = task.seq
        LEFT JOIN task AS other ON other.seq = on_seq AND other.id = dependency.id
    WHERE task.seq = ?1 AND task.id = ?2 AND task.claim_token = ?3 AND task.state = 'running'
        AND dependency.name IS NULL ORDER BY position";
pub(crate) const WITH_FILES: &str = "
    SELECT dependency.id, outcome, other.seq IS NOT NULL, iif(other.files_out IS NULL, NULL, other.seq)
    FROM task CROSS JOIN dependency ON dependency.seq = task.seq
        LEFT JOIN task AS other ON other.seq = on_seq AND other.id = dependency.id
    WHERE task.seq = ?1 AND task.id = ?2 AND task.claim_token = ?3 AND task.state = 'running'
        AND dependency.name IS NULL ORDER BY position";
pub(crate) const RESULT: &str = "SELECT result, result_type FROM task WHERE seq = ?1";
pub(crate) const AGAIN: &str = "
    SELECT on_failure, pass_results, dependency.id, outcome,
        EXISTS (SELECT 1 FROM task WHERE task.id = dependency.id), files_from
    FROM dependent CROSS JOIN dependency ON dependency.seq = dependent.seq
    WHERE dependent.seq = ?1 AND dependency.name IS NULL ORDER BY position";

fn outcome(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<TaskState>> {
    row.get_ref(column)?.as_str_or_null()?.map(|_| state(row, column)).transpose()
}

/// Reads the dependencies of a task; `None` if it has none.
pub(crate) fn dependencies(
    connection: &Connection,
    id: TaskId,
) -> rusqlite::Result<Option<DependencyStatus>> {
    let mut statement = connection.prepare_cached(DEPENDS)?;
    let mut rows = statement.query([id.as_bytes()])?;
    let mut dependencies: Option<DependencyStatus> = None;
    while let Some(row) = rows.next()? {
        let (on_failure, pass_results, files_from) = (on_failure(row, 0)?, row.get(1)?, optional(row, 4)?);
        let on = Dependency { id: TaskId::from_bytes(row.get(2)?), outcome: outcome(row, 3)? };
        let first = DependencyStatus { on: Vec::new(), on_failure, pass_results, files_from };
        dependencies.get_or_insert(first).on.push(on);
    }
    Ok(dependencies)
}

/// Finds up to `limit` tasks before this row that depend on a task.
pub(crate) fn dependents(
    connection: &Connection,
    id: TaskId,
    before: i64,
    limit: usize,
) -> rusqlite::Result<ListScan> {
    let mut statement = connection.prepare_cached(DEPENDENTS)?;
    // One more than requested shows whether another page follows.
    let values = params![id.as_bytes(), before, size(limit.saturating_add(1))];
    let mut seqs = statement.query_map(values, |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
    let has_more = seqs.len() > limit;
    seqs.truncate(limit);
    let stopped = if has_more { seqs.last().copied() } else { None };
    Ok(ListScan { seqs, stopped })
}

/// Reads outcomes and results of the dependencies of a claimed task, unless they are too large.
pub(crate) fn dependency_results(
    connection: &Connection,
    claim: &Claim,
) -> rusqlite::Result<DependencyResults> {
    let snapshot = connection.unchecked_transaction()?;
    let mut statement = snapshot.prepare_cached(RESULTS)?;
    let mut rows = statement.query(params![seq(claim.task_ref()), claim.id.as_bytes(), claim.token()])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let id = TaskId::from_bytes(row.get(0)?);
        let outcome = outcome(row, 1)?.unwrap_or(TaskState::Cancelled);
        let (is_there, seq): (bool, Option<i64>) = (row.get(2)?, row.get(4)?);
        if outcome == TaskState::Completed && !is_there {
            return Ok(DependencyResults::Gone(id));
        }
        bytes += row.get::<_, i64>(3)?.unsigned_abs();
        found.push((id, outcome, seq.filter(|_| outcome == TaskState::Completed)));
    }
    drop(rows);
    if bytes > DEPENDENCY_RESULTS_BYTES_MAX {
        return Ok(DependencyResults::TooLarge { bytes });
    }
    let mut results = Vec::with_capacity(found.len());
    let mut statement = snapshot.prepare_cached(RESULT)?;
    for (id, outcome, seq) in found {
        let result = seq.map(|seq| statement.query_one([seq], result)).transpose()?.flatten();
        results.push(DependencyResult { id, outcome, result });
    }
    Ok(DependencyResults::Results(results))
}

/// Reads the files that the dependencies of a claimed task left, unless they are too many.
pub(crate) fn dependency_files(connection: &Connection, claim: &Claim) -> rusqlite::Result<HandedFiles> {
    let snapshot = connection.unchecked_transaction()?;
    let mut statement = snapshot.prepare_cached(WITH_FILES)?;
    let mut rows = statement.query(params![seq(claim.task_ref()), claim.id.as_bytes(), claim.token()])?;
    let (mut all, mut count) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let id = TaskId::from_bytes(row.get(0)?);
        let is_completed = outcome(row, 1)? == Some(TaskState::Completed);
        if is_completed && !row.get(2)? {
            return Ok(HandedFiles::Gone(id));
        }
        let with_files = row.get::<_, Option<i64>>(3)?.filter(|_| is_completed);
        let mut files = with_files.map_or(Ok(Vec::new()), |seq| task_files::of_row(&snapshot, seq))?;
        files.retain(|file| file.direction == FileDirection::Output);
        count += files.len();
        if count > DEPENDENCY_FILES_MAX {
            return Ok(HandedFiles::TooMany);
        }
        all.push(DependencyFiles { id, files });
    }
    Ok(HandedFiles::Files(all))
}

fn result(row: &Row<'_>) -> rusqlite::Result<Option<TaskResult>> {
    let Some(text) = row.get(0)? else { return Ok(None) };
    Ok(Some(TaskResult { text, r#type: optional(row, 1)? }))
}

/// Reads the dependencies for the retry of a task.
pub(crate) fn again(connection: &Connection, seq: i64) -> rusqlite::Result<Option<NewDependencies>> {
    let mut statement = connection.prepare_cached(AGAIN)?;
    let mut rows = statement.query([seq])?;
    let mut again: Option<NewDependencies> = None;
    while let Some(row) = rows.next()? {
        let empty = NewDependencies {
            on: Vec::new(),
            on_failure: on_failure(row, 0)?,
            pass_results: row.get(1)?,
            files_from: optional(row, 5)?,
        };
        if stays_in_retry(row.get(4)?, outcome(row, 3)?, empty.on_failure, empty.passes_any()) {
            again.get_or_insert(empty).on.push(TaskId::from_bytes(row.get(2)?));
        }
    }
    Ok(again)
}

//! Queries about dependencies: their status, and their results for a run.

use wasmill_model::{
    DEPENDENCY_FILES_MAX, DEPENDENCY_RESULTS_BYTES_MAX, DependencyFiles, DependencyResult, FileDirection,
    NewDependencies, TaskId, TaskResult, TaskState,
};
use wasmill_store::rules::dependency::stays_in_retry;
use wasmill_store::{Claim, Dependency, DependencyResults, DependencyStatus, HandedFiles};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::content::task_files;
use crate::read::filtered_list::ListScan;
use crate::read::rows::{
    get, host, number, on_failure, optional, optional_state, seq, size, task_id, text, uuid,
};

const DEPENDS: &str = "
    SELECT runs_on_failure, pass_results, dependency.id, outcome, files_from
    FROM task JOIN dependent ON dependent.seq = task.seq JOIN dependency ON dependency.seq = task.seq
    WHERE task.id = $1 AND dependency.name IS NULL ORDER BY position";
/// One row for a task that names the other twice.
const DEPENDENTS: &str = "
    SELECT DISTINCT seq FROM dependency WHERE id = $1 AND seq < $2 AND name IS NULL ORDER BY seq DESC LIMIT $3";
/// The results themselves only if they are not too large together.
const RESULTS: &str = "
    WITH found AS (
        SELECT position, dependency.id, outcome, other.seq IS NOT NULL AS is_there, other.seq AS other,
            sum(coalesce(length(other.result), 0)) OVER ()::bigint AS bytes
        FROM task JOIN dependency ON dependency.seq = task.seq
            LEFT JOIN task AS other ON other.seq = on_seq AND other.id = dependency.id
        WHERE task.seq = $1 AND task.id = $2 AND task.claim_token = $3 AND task.host = $5
            AND task.state = 'running' AND dependency.name IS NULL)
    SELECT found.id, found.outcome, is_there, bytes, result, result_type
    FROM found LEFT JOIN task ON task.seq = other AND outcome = 'completed' AND bytes <= $4
    ORDER BY position";
const WITH_FILES: &str = "
    SELECT dependency.id, outcome, other.seq IS NOT NULL, CASE WHEN other.files_out IS NOT NULL THEN other.seq END
    FROM task JOIN dependency ON dependency.seq = task.seq
        LEFT JOIN task AS other ON other.seq = on_seq AND other.id = dependency.id
    WHERE task.seq = $1 AND task.id = $2 AND task.claim_token = $3 AND task.host = $4 AND task.state = 'running'
        AND dependency.name IS NULL ORDER BY position";
const AGAIN: &str = "
    SELECT runs_on_failure, pass_results, dependency.id, outcome,
        EXISTS (SELECT FROM task WHERE task.id = dependency.id), files_from
    FROM dependent JOIN dependency ON dependency.seq = dependent.seq
    WHERE dependent.seq = $1 AND dependency.name IS NULL ORDER BY position";

/// Reads the dependencies of a task; `None` if it has none.
pub(crate) async fn dependencies(connection: &Connection, id: TaskId) -> Result<Option<DependencyStatus>> {
    let mut dependencies: Option<DependencyStatus> = None;
    for row in connection.query(DEPENDS, &[&uuid(id)]).await? {
        let (on_failure, pass_results, files_from) =
            (on_failure(&row, 0)?, get(&row, 1)?, optional(&row, 4)?);
        let on = Dependency { id: task_id(&row, 2)?, outcome: optional_state(&row, 3)? };
        let first = DependencyStatus { on: Vec::new(), on_failure, pass_results, files_from };
        dependencies.get_or_insert(first).on.push(on);
    }
    Ok(dependencies)
}

/// Finds up to `limit` tasks before this row that depend on a task.
pub(crate) async fn dependents(
    connection: &Connection,
    id: TaskId,
    before: i64,
    limit: usize,
) -> Result<ListScan> {
    // One more than requested shows whether another page follows.
    let rows = connection.query(DEPENDENTS, &[&uuid(id), &before, &size(limit.saturating_add(1))]).await?;
    let mut seqs = rows.iter().map(|row| get(row, 0)).collect::<Result<Vec<i64>>>()?;
    let has_more = seqs.len() > limit;
    seqs.truncate(limit);
    let stopped = if has_more { seqs.last().copied() } else { None };
    Ok(ListScan { seqs, stopped })
}

/// Reads outcomes and results of the dependencies of a claimed task, unless they are too large.
pub(crate) async fn dependency_results(connection: &Connection, claim: &Claim) -> Result<DependencyResults> {
    let bytes_max = i64::try_from(DEPENDENCY_RESULTS_BYTES_MAX).unwrap_or(i64::MAX);
    let rows = connection
        .query(
            RESULTS,
            &[&seq(claim.task_ref()), &uuid(claim.id), &claim.token(), &bytes_max, &host(claim.task_ref())],
        )
        .await?;
    let mut results = Vec::with_capacity(rows.len());
    for row in &rows {
        let id = task_id(row, 0)?;
        let outcome = optional_state(row, 1)?.unwrap_or(TaskState::Cancelled);
        if outcome == TaskState::Completed && !get::<bool>(row, 2)? {
            return Ok(DependencyResults::Gone(id));
        }
        let result_type = optional(row, 5)?;
        let result = text(row, 4)?.map(|text| TaskResult { text, r#type: result_type });
        results.push(DependencyResult { id, outcome, result });
    }
    let bytes: u64 = rows.first().map_or(Ok(0), |row| number(row, 3))?;
    if bytes > DEPENDENCY_RESULTS_BYTES_MAX {
        return Ok(DependencyResults::TooLarge { bytes });
    }
    Ok(DependencyResults::Results(results))
}

/// Reads the files that the dependencies of a claimed task left, unless they are too many.
pub(crate) async fn dependency_files(connection: &Connection, claim: &Claim) -> Result<HandedFiles> {
    let of_claim = seq(claim.task_ref());
    let rows = connection
        .query(WITH_FILES, &[&of_claim, &uuid(claim.id), &claim.token(), &host(claim.task_ref())])
        .await?;
    let (mut all, mut count) = (Vec::new(), 0);
    for row in &rows {
        let id = task_id(row, 0)?;
        let is_completed = optional_state(row, 1)? == Some(TaskState::Completed);
        if is_completed && !get::<bool>(row, 2)? {
            return Ok(HandedFiles::Gone(id));
        }
        let mut files = match get::<Option<i64>>(row, 3)?.filter(|_| is_completed) {
            Some(seq) => task_files::of_row(connection, seq).await?,
            None => Vec::new(),
        };
        files.retain(|file| file.direction == FileDirection::Output);
        // Deleted since the other statement.
        if files.is_empty() && get::<Option<i64>>(row, 3)?.is_some_and(|_| is_completed) {
            return Ok(HandedFiles::Gone(id));
        }
        count += files.len();
        if count > DEPENDENCY_FILES_MAX {
            return Ok(HandedFiles::TooMany);
        }
        all.push(DependencyFiles { id, files });
    }
    Ok(HandedFiles::Files(all))
}

/// Reads the dependencies for the retry of a task.
pub(crate) async fn again(connection: &Connection, seq: i64) -> Result<Option<NewDependencies>> {
    let mut again: Option<NewDependencies> = None;
    for row in connection.query(AGAIN, &[&seq]).await? {
        let empty = NewDependencies {
            on: Vec::new(),
            on_failure: on_failure(&row, 0)?,
            pass_results: get(&row, 1)?,
            files_from: optional(&row, 5)?,
        };
        let end = optional_state(&row, 3)?;
        if stays_in_retry(get(&row, 4)?, end, empty.on_failure, empty.passes_any()) {
            again.get_or_insert(empty).on.push(task_id(&row, 2)?);
        }
    }
    Ok(again)
}

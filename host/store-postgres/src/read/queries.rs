//! Queries of single tasks and of pages.

use std::collections::HashSet;

use tokio_postgres::Row;
use wasmill_model::{
    FileDirection, KeySpace, NewTask, OnConflict, PluginName, Reach, Task, TaskId, TaskState, Timestamp,
    Unique, UniqueKey, Webhook,
};
use wasmill_store::{Attempt, Claim, Cursor, Filter, ListQuery, Page};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::content::task_files;
use crate::delivery::deliveries;
use crate::dependency::results;
use crate::live::reports::AllReports;
use crate::read::filtered_list::scan;
use crate::read::rows::{
    backoff, cause, duration, get, group, host, number, optional, optional_time, parsed, priority, seq, size,
    state, tags, task_id, task_ref, text, time, uuid,
};
use crate::read::task_row::{TaskRow, select_tasks, task_row};

/// Bytes of results after which a page ends early, to bound the response.
const PAGE_BYTES: usize = 4 << 20;

const TASK: &str = select_tasks!("WHERE id = $1");
const ROWS: &str = select_tasks!("WHERE seq = ANY ($1) ORDER BY seq DESC");
const PAGE: &str = select_tasks!("WHERE seq < $1 ORDER BY seq DESC LIMIT $2");
#[cfg(test)]
pub(crate) const EXPANDED: [&str; 3] = [TASK, ROWS, PAGE];
const IDS: &str = "SELECT id FROM task WHERE seq = ANY ($1) ORDER BY seq DESC";
const ATTEMPTS: &str = "
    SELECT attempt.attempt, outcome, attempt.message, attempt.started_at, attempt.finished_at, attempt.plugin_digest
    FROM task JOIN attempt USING (seq) WHERE task.id = $1 ORDER BY attempt.attempt";
const AGAIN: &str = "
    SELECT plugin, task.state, timeout_ms, attempts_max, backoff_first_ms, backoff_factor, backoff_max_ms,
        backoff_jitter, priority, tags, unique_key, input.body, pending_dependencies IS NOT NULL, task.seq,
        webhook_on, url, origin, task_group, key_space, files_in IS NOT NULL
    FROM task LEFT JOIN input USING (seq) LEFT JOIN webhook USING (seq) WHERE task.id = $1";
const LABELS: &str = "SELECT id, plugin, task_group, tags FROM task WHERE id = ANY ($1)";
const INPUT: &str = "SELECT input.body FROM task LEFT JOIN input USING (seq) WHERE task.id = $1";
const WAITING: &str = "
    SELECT count(*) FROM (SELECT 1 FROM task
        WHERE state IN ('available', 'scheduled', 'suspended', 'blocked') AND plugin = $1 LIMIT $2) AS counted";
const CLAIMED: &str = "SELECT 1 FROM task WHERE id = $1 AND claim_token = $2 AND state = 'running'";
const CHECKPOINT_OF: &str =
    "SELECT checkpoint.body FROM task LEFT JOIN checkpoint USING (seq) WHERE task.id = $1";
const CHECKPOINT: &str = "
    SELECT checkpoint.body FROM task JOIN checkpoint USING (seq)
    WHERE task.seq = $1 AND task.id = $2 AND task.claim_token = $3 AND task.host = $4
        AND task.state = 'running'";

/// Returns true if a task runs under this claim.
pub(crate) async fn is_claimed(connection: &Connection, id: TaskId, token: i64) -> Result<bool> {
    Ok(connection.optional(CLAIMED, &[&uuid(id), &token]).await?.is_some())
}

pub(crate) async fn task(connection: &Connection, id: TaskId, reports: &AllReports) -> Result<Option<Task>> {
    let Some(row) = connection.optional(TASK, &[&uuid(id)]).await? else { return Ok(None) };
    let mut rows = [task_row(&row)?];
    reports.add(connection, &mut rows).await?;
    let [TaskRow { task, .. }] = rows;
    Ok(Some(task))
}

pub(crate) async fn page(
    connection: &Connection,
    query: &ListQuery,
    waiting: u64,
    reports: &AllReports,
) -> Result<Page> {
    let before = position(query.before);
    if query.limit == 0 && !query.filter.is_empty() {
        return Ok(Page { tasks: Vec::new(), next: None });
    }
    let (rows, stopped) = if query.filter.is_empty() {
        // One more than requested shows whether another page follows.
        (connection.query(PAGE, &[&before, &size(query.limit.saturating_add(1))]).await?, None)
    } else {
        let walked = scan(connection, &query.filter, before, query.limit, waiting).await?;
        (connection.query(ROWS, &[&walked.seqs]).await?, walked.stopped)
    };
    page_of(connection, &rows, query, stopped, reports).await
}

/// Reads a page of the tasks that depend on a task.
pub(crate) async fn dependents(
    connection: &Connection,
    id: TaskId,
    before: Option<Cursor>,
    limit: usize,
    reports: &AllReports,
) -> Result<Page> {
    let walked = results::dependents(connection, id, position(before), limit).await?;
    let rows = connection.query(ROWS, &[&walked.seqs]).await?;
    let query = ListQuery { limit, filter: Filter::default(), before };
    page_of(connection, &rows, &query, walked.stopped, reports).await
}

/// Returns the page of these rows, with what their runs report.
async fn page_of(
    connection: &Connection,
    rows: &[Row],
    query: &ListQuery,
    stopped: Option<i64>,
    reports: &AllReports,
) -> Result<Page> {
    let (mut rows, next) = filled(rows, query, position(query.before), stopped);
    reports.add(connection, &mut rows).await?;
    Ok(Page { tasks: rows.into_iter().map(|row| row.task).collect(), next })
}

/// Takes the rows of a page, as far as their results fit, and tells where the next begins. Leaves out a task with a
/// damaged row, and one that has changed since it was found.
fn filled(
    rows: &[Row],
    query: &ListQuery,
    before: i64,
    stopped: Option<i64>,
) -> (Vec<TaskRow>, Option<Cursor>) {
    let (mut tasks, mut next) = (Vec::new(), stopped.map(cursor));
    let (mut last, mut bytes) = (before, 0);
    for row in rows {
        let row = match task_row(row) {
            Ok(row) => row,
            Err(error) => {
                tracing::warn!(%error, "left a task out of a list: its row in the database is damaged");
                continue;
            }
        };
        if tasks.len() == query.limit || bytes > PAGE_BYTES {
            next = (!tasks.is_empty()).then(|| cursor(last));
            break;
        }
        last = row.seq;
        if !query.filter.has(row.task.state) {
            continue;
        }
        bytes += row.task.result.as_ref().map_or(0, String::len);
        tasks.push(row);
    }
    (tasks, next)
}

/// Reads the input of a task; `None` if the task does not exist, `Some(None)` if it has none.
pub(crate) async fn input(connection: &Connection, id: TaskId) -> Result<Option<Option<String>>> {
    let row = connection.optional(INPUT, &[&uuid(id)]).await?;
    row.map(|row| text(&row, 0)).transpose()
}

/// Reads the newest checkpoint of a task; `None` if the task does not exist, `Some(None)` if it has none.
pub(crate) async fn checkpoint_of(connection: &Connection, id: TaskId) -> Result<Option<Option<Vec<u8>>>> {
    let row = connection.optional(CHECKPOINT_OF, &[&uuid(id)]).await?;
    row.map(|row| get(&row, 0)).transpose()
}

/// Reads the attempts of a task that were followed by another one, oldest first.
pub(crate) async fn attempts(connection: &Connection, id: TaskId) -> Result<Vec<Attempt>> {
    let rows = connection.query(ATTEMPTS, &[&uuid(id)]).await?;
    let attempt = |row: &Row| {
        Ok(Attempt {
            attempt: number(row, 0)?,
            cause: cause(row, 1)?.0,
            message: text(row, 2)?,
            started_at: optional_time(row, 3)?,
            finished_at: time(row, 4)?,
            plugin_digest: get::<Option<&str>>(row, 5)?.map(Into::into),
        })
    };
    rows.iter().map(attempt).collect()
}

/// Finds matching tasks and the cursor of the next page.
pub(crate) async fn find(
    connection: &Connection,
    filter: &Filter,
    before: Option<Cursor>,
    limit: usize,
    waiting: u64,
) -> Result<(Vec<TaskId>, Option<Cursor>)> {
    let walked = scan(connection, filter, position(before), limit, waiting).await?;
    let rows = connection.query(IDS, &[&walked.seqs]).await?;
    let ids = rows.iter().map(|row| task_id(row, 0)).collect::<Result<_>>()?;
    Ok((ids, walked.stopped.map(cursor)))
}

/// Returns those of these tasks that exist within this reach.
pub(crate) async fn within(
    connection: &Connection,
    ids: &[TaskId],
    reach: &Reach,
) -> Result<HashSet<TaskId>> {
    let ids: Vec<_> = ids.iter().map(|id| uuid(*id)).collect();
    let mut within = HashSet::new();
    for row in connection.query(LABELS, &[&ids]).await? {
        let group = get::<&str>(&row, 2)?;
        let group = (!group.is_empty()).then_some(group);
        if reach.covers(get(&row, 1)?, group, &tags(&row, 3)?) {
            within.insert(task_id(&row, 0)?);
        }
    }
    Ok(within)
}

/// Reads a task as a new one to run again from now on. The plugin's current limit of waiting tasks applies.
pub(crate) async fn again(
    connection: &Connection,
    id: TaskId,
    new: TaskId,
    now: Timestamp,
) -> Result<Option<(TaskState, NewTask)>> {
    let Some(row) = connection.optional(AGAIN, &[&uuid(id)]).await? else { return Ok(None) };
    let key: Option<UniqueKey> = optional(&row, 10)?;
    let dependencies = if get(&row, 12)? { results::again(connection, get(&row, 13)?).await? } else { None };
    let space = KeySpace::new(get(&row, 18)?);
    // The same contents: a retry has the files that came with the original, and not those that a run left.
    let mut files =
        if get(&row, 19)? { task_files::of_row(connection, get(&row, 13)?).await? } else { Vec::new() };
    files.retain(|file| file.direction == FileDirection::Input);
    // All fields are named, so that nobody forgets to decide on a new one.
    let task = NewTask {
        id: new,
        plugin: parsed(&row, 0)?,
        input: text(&row, 11)?,
        files,
        created_at: now,
        timeout: duration(&row, 2)?,
        attempts_max: number(&row, 3)?,
        backoff: backoff(&row, 4)?,
        run_at: None,
        is_delayed: false,
        priority: priority(&row, 8)?,
        tags: tags(&row, 9)?,
        unique: key.map(|key| Unique { key, on_conflict: OnConflict::Refuse, space }),
        retry_of: Some(id),
        schedule: None,
        dependencies,
        // The task that submitted the one before waits for that one.
        child_of: None,
        webhook: webhook(&row, 14)?,
        // It belongs to the trace of its own request.
        trace: None,
        group: group(&row, 17)?,
        // It belongs to the key of its own request.
        submitted_by: None,
        limited_by: None,
        waiting_max: None,
    };
    Ok(Some((state(&row, 1)?, task)))
}

/// Reads a webhook from three columns.
fn webhook(row: &Row, column: usize) -> Result<Option<Webhook>> {
    let Some(bits) = get(row, column)? else { return Ok(None) };
    let (url, origin) = (get(row, column + 1)?, get(row, column + 2)?);
    Ok(Some(Webhook { url, origin, on: deliveries::ends(bits) }))
}

pub(crate) async fn checkpoint(connection: &Connection, claim: &Claim) -> Result<Option<Vec<u8>>> {
    let row = connection
        .optional(
            CHECKPOINT,
            &[&seq(claim.task_ref()), &uuid(claim.id), &claim.token(), &host(claim.task_ref())],
        )
        .await?;
    row.map(|row| get(&row, 0)).transpose()
}

/// Counts waiting tasks per plugin.
pub(crate) async fn waiting(
    connection: &Connection,
    plugins: &[PluginName],
    limit: usize,
) -> Result<Vec<u64>> {
    let mut counts = Vec::with_capacity(plugins.len());
    for plugin in plugins {
        counts.push(number(&connection.one(WAITING, &[&plugin.as_str(), &size(limit)]).await?, 0)?);
    }
    Ok(counts)
}

fn cursor(seq: i64) -> Cursor {
    Cursor(task_ref(seq).0)
}

/// Returns the row before which a page begins.
fn position(before: Option<Cursor>) -> i64 {
    before.map_or(i64::MAX, |cursor| i64::try_from(cursor.0).unwrap_or(i64::MAX))
}

//! Queries. Each is one statement or one transaction, so it sees one snapshot.

use std::collections::HashSet;

use chrono::DateTime;
use rusqlite::{Connection, OptionalExtension, Row, params};
use wasmill_model::{
    FileDirection, KeySpace, NewTask, OnConflict, PluginName, Reach, Task, TaskId, TaskState, Timestamp,
    Unique, UniqueKey, Webhook,
};
use wasmill_store::live::LiveRuns;
use wasmill_store::{Attempt, Claim, Cursor, Filter, ListQuery, Page};

use crate::content::task_files;
use crate::delivery::deliveries;
use crate::dependency::results;
use crate::file::fault::is_of_value;
use crate::read::filtered_list::{ListScan, scan};
use crate::read::rows::{
    backoff, cause, group, is_later, parsed, priority, seq, size, state, tags, task_ref, timeout,
};
use crate::read::task_row::{TaskRow, select_tasks, task_row};

/// Bytes of results after which a page ends early, to bound the response.
const PAGE_BYTES: usize = 4 << 20;

pub(crate) const TASK: &str = select_tasks!("WHERE id = ?1");
pub(crate) const ROW: &str = select_tasks!("WHERE seq = ?1");
pub(crate) const PAGE: &str = select_tasks!("WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2");
pub(crate) const ID: &str = "SELECT id FROM task WHERE seq = ?1";
pub(crate) const ATTEMPTS: &str = "
        SELECT attempt.attempt, outcome, attempt.message, attempt.started_at, attempt.finished_at,
            attempt.plugin_digest
        FROM task JOIN attempt USING (seq) WHERE task.id = ?1 ORDER BY attempt.attempt";
pub(crate) const AGAIN: &str = "
        SELECT plugin, task.state, timeout_ms, attempts_max, backoff_first_ms, backoff_factor, backoff_max_ms,
            backoff_jitter, priority, tags, unique_key, input.body, pending_dependencies IS NOT NULL, task.seq,
            webhook_on, url, origin, task_group, key_space, files_in IS NOT NULL
        FROM task LEFT JOIN input USING (seq) LEFT JOIN webhook USING (seq) WHERE task.id = ?1";
pub(crate) const LABELS: &str = "SELECT plugin, task_group, tags FROM task WHERE id = ?1";
pub(crate) const INPUT: &str = "SELECT input.body FROM task LEFT JOIN input USING (seq) WHERE task.id = ?1";
pub(crate) const CHECKPOINT_OF: &str =
    "SELECT checkpoint.body FROM task LEFT JOIN checkpoint USING (seq) WHERE task.id = ?1";
pub(crate) const WAITING: &str = concat!(
    "SELECT count(*) FROM (
        SELECT 1 FROM task INDEXED BY task_available WHERE state = 'available' AND plugin = ?1 UNION ALL
        SELECT 1 FROM task INDEXED BY task_later WHERE (",
    is_later!(),
    ") AND plugin = ?1 LIMIT ?2)"
);
pub(crate) const CHECKPOINT: &str = "
        SELECT checkpoint.body FROM task JOIN checkpoint USING (seq)
        WHERE task.seq = ?1 AND task.id = ?2 AND task.claim_token = ?3 AND task.state = 'running'";
pub(crate) const LOG: &str = "
        SELECT task.seq, claim_token, state, body
        FROM task LEFT JOIN log USING (seq) WHERE task.id = ?1";

pub(crate) fn task(
    connection: &Connection,
    id: TaskId,
    live_runs: &LiveRuns,
) -> rusqlite::Result<Option<Task>> {
    let mut statement = connection.prepare_cached(TASK)?;
    let row = statement.query_row([id.as_bytes()], task_row).optional()?;
    Ok(row.map(|row| with_report(row, live_runs)))
}

pub(crate) fn page(
    connection: &Connection,
    query: &ListQuery,
    waiting: u64,
    live_runs: &LiveRuns,
) -> rusqlite::Result<Page> {
    if !query.filter.is_empty() {
        return filtered_page(connection, query, waiting, live_runs);
    }
    let before = position(query.before);
    let mut statement = connection.prepare_cached(PAGE)?;
    // One more than requested shows whether another page follows.
    let rows = statement.query_map(params![before, size(query.limit.saturating_add(1))], task_row)?;
    let mut page = Page { tasks: Vec::new(), next: None };
    let (mut last, mut bytes) = (before, 0);
    for row in rows {
        let Some(row) = readable(row)? else { continue };
        if page.tasks.len() == query.limit || bytes > PAGE_BYTES {
            page.next = (!page.tasks.is_empty()).then_some(cursor(last));
            break;
        }
        last = row.seq;
        bytes += row.task.result.as_ref().map_or(0, String::len);
        page.tasks.push(with_report(row, live_runs));
    }
    Ok(page)
}

/// Leaves a task with a damaged row out of a page; all others are still returned.
fn readable(row: rusqlite::Result<TaskRow>) -> rusqlite::Result<Option<TaskRow>> {
    match row {
        Err(error) if is_of_value(&error) => {
            tracing::warn!(%error, "left a task out of a list: its row in the database is damaged");
            Ok(None)
        }
        row => row.map(Some),
    }
}

/// Reads a page of matching tasks; it may end before it is full.
fn filtered_page(
    connection: &Connection,
    query: &ListQuery,
    waiting: u64,
    live_runs: &LiveRuns,
) -> rusqlite::Result<Page> {
    if query.limit == 0 {
        return Ok(Page { tasks: Vec::new(), next: None });
    }
    // Both statements need the same snapshot.
    let snapshot = connection.unchecked_transaction()?;
    let before = position(query.before);
    let walked = scan(&snapshot, &query.filter, before, query.limit, waiting)?;
    rows_page(&snapshot, walked, before, live_runs)
}

/// Reads a page of the tasks that depend on a task.
pub(crate) fn dependents(
    connection: &Connection,
    id: TaskId,
    before: Option<Cursor>,
    limit: usize,
    live_runs: &LiveRuns,
) -> rusqlite::Result<Page> {
    let snapshot = connection.unchecked_transaction()?;
    let before = position(before);
    let walked = results::dependents(&snapshot, id, before, limit)?;
    rows_page(&snapshot, walked, before, live_runs)
}

/// Reads the tasks that were found before this row, as far as their results fit.
fn rows_page(
    snapshot: &Connection,
    walked: ListScan,
    before: i64,
    live_runs: &LiveRuns,
) -> rusqlite::Result<Page> {
    let mut page = Page { tasks: Vec::new(), next: walked.stopped.map(cursor) };
    let mut statement = snapshot.prepare_cached(ROW)?;
    let (mut last, mut bytes) = (before, 0);
    for seq in walked.seqs {
        if bytes > PAGE_BYTES {
            page.next = Some(cursor(last));
            break;
        }
        last = seq;
        let Some(row) = readable(statement.query_one([seq], task_row))? else { continue };
        bytes += row.task.result.as_ref().map_or(0, String::len);
        page.tasks.push(with_report(row, live_runs));
    }
    Ok(page)
}

/// Reads the input of a task; `None` if the task does not exist, `Some(None)` if it has none.
pub(crate) fn input(connection: &Connection, id: TaskId) -> rusqlite::Result<Option<Option<String>>> {
    connection.prepare_cached(INPUT)?.query_row([id.as_bytes()], |row| row.get(0)).optional()
}

/// Reads the newest checkpoint of a task; `None` if the task does not exist, `Some(None)` if it has none.
pub(crate) fn checkpoint_of(
    connection: &Connection,
    id: TaskId,
) -> rusqlite::Result<Option<Option<Vec<u8>>>> {
    connection.prepare_cached(CHECKPOINT_OF)?.query_row([id.as_bytes()], |row| row.get(0)).optional()
}

/// Reads the attempts of a task that were followed by another one, oldest first.
pub(crate) fn attempts(connection: &Connection, id: TaskId) -> rusqlite::Result<Vec<Attempt>> {
    let mut statement = connection.prepare_cached(ATTEMPTS)?;
    let attempts = statement.query_map([id.as_bytes()], |row| {
        Ok(Attempt {
            attempt: row.get(0)?,
            cause: cause(row, 1)?.0,
            message: row.get(2)?,
            started_at: row.get::<_, Option<_>>(3)?.map(DateTime::from_timestamp_nanos),
            finished_at: DateTime::from_timestamp_nanos(row.get(4)?),
            plugin_digest: row.get(5)?,
        })
    })?;
    attempts.collect()
}

/// Finds matching tasks and the cursor of the next page.
pub(crate) fn find(
    connection: &Connection,
    filter: &Filter,
    before: Option<Cursor>,
    limit: usize,
    waiting: u64,
) -> rusqlite::Result<(Vec<TaskId>, Option<Cursor>)> {
    let snapshot = connection.unchecked_transaction()?;
    let before = position(before);
    let walked = scan(&snapshot, filter, before, limit, waiting)?;
    let mut statement = snapshot.prepare_cached(ID)?;
    let id = |seq: &i64| statement.query_one([seq], |row| Ok(TaskId::from_bytes(row.get(0)?)));
    let ids = walked.seqs.iter().take(limit).map(id).collect::<rusqlite::Result<_>>()?;
    Ok((ids, walked.stopped.map(cursor)))
}

/// Returns those of these tasks that exist within this reach. Damaged tags are no tags.
pub(crate) fn within(
    connection: &Connection,
    ids: &[TaskId],
    reach: &Reach,
) -> rusqlite::Result<HashSet<TaskId>> {
    let mut statement = connection.prepare_cached(LABELS)?;
    let mut within = HashSet::new();
    for id in ids {
        let covers = statement.query_row([id.as_bytes()], |row| {
            let (plugin, group) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str_or_null()?);
            Ok(reach.covers(plugin, group, &tags(row, 2).unwrap_or_default()))
        });
        if covers.optional()? == Some(true) {
            within.insert(*id);
        }
    }
    Ok(within)
}

/// Reads a task as a new one to run again from now on. The plugin's current limit of waiting tasks applies.
pub(crate) fn again(
    connection: &Connection,
    id: TaskId,
    new: TaskId,
    now: Timestamp,
) -> rusqlite::Result<Option<(TaskState, NewTask)>> {
    // If it were pruned between the statements, it would seem to have no dependencies.
    let snapshot = connection.unchecked_transaction()?;
    let mut statement = snapshot.prepare_cached(AGAIN)?;
    let again = statement.query_row([id.as_bytes()], |row| {
        let key: Option<UniqueKey> =
            row.get_ref(10)?.as_str_or_null()?.map(|_| parsed(row, 10)).transpose()?;
        let space = KeySpace::new(row.get_ref(18)?.as_str()?);
        // All fields are named, so that nobody forgets to decide on a new one.
        let task = NewTask {
            id: new,
            plugin: parsed(row, 0)?,
            input: row.get(11)?,
            files: Vec::new(),
            created_at: now,
            timeout: timeout(row, 2)?,
            attempts_max: row.get(3)?,
            backoff: backoff(row, 4)?,
            run_at: None,
            is_delayed: false,
            priority: priority(row, 8)?,
            tags: tags(row, 9)?,
            unique: key.map(|key| Unique { key, on_conflict: OnConflict::Refuse, space }),
            retry_of: Some(id),
            schedule: None,
            dependencies: None,
            // The task that submitted the one before waits for that one.
            child_of: None,
            webhook: webhook(row, 14)?,
            // It belongs to the trace of its own request.
            trace: None,
            group: group(row, 17)?,
            // It belongs to the key of its own request.
            submitted_by: None,
            limited_by: None,
            waiting_max: None,
        };
        let seq = row.get::<_, i64>(13)?;
        let dependant = row.get::<_, bool>(12)?.then_some(seq);
        let with_files = row.get::<_, bool>(19)?.then_some(seq);
        Ok((state(row, 1)?, task, dependant, with_files))
    });
    let Some((state, mut task, dependant, with_files)) = again.optional()? else { return Ok(None) };
    if let Some(seq) = with_files {
        // The same contents: a retry has the files that came with the original, and not those that a run left.
        task.files = task_files::of_row(&snapshot, seq)?;
        task.files.retain(|file| file.direction == FileDirection::Input);
    }
    if let Some(seq) = dependant {
        task.dependencies = results::again(&snapshot, seq)?;
    }
    Ok(Some((state, task)))
}

/// Reads a webhook from three columns.
fn webhook(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Webhook>> {
    let Some(bits) = row.get(column)? else { return Ok(None) };
    let (url, origin) = (row.get(column + 1)?, row.get(column + 2)?);
    Ok(Some(Webhook { url, origin, on: deliveries::ends(bits) }))
}

pub(crate) fn checkpoint(connection: &Connection, claim: &Claim) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut statement = connection.prepare_cached(CHECKPOINT)?;
    let values = params![seq(claim.task_ref()), claim.id.as_bytes(), claim.token()];
    statement.query_row(values, |row| row.get(0)).optional()
}

/// Counts waiting tasks per plugin, from the index alone.
pub(crate) fn waiting(
    connection: &Connection,
    plugins: &[PluginName],
    limit: usize,
) -> rusqlite::Result<Vec<u64>> {
    let mut statement = connection.prepare_cached(WAITING)?;
    let count = |plugin: &PluginName| {
        statement
            .query_row(params![plugin.as_str(), size(limit)], |row| Ok(row.get::<_, i64>(0)?.cast_unsigned()))
    };
    plugins.iter().map(count).collect()
}

fn with_report(row: TaskRow, live_runs: &LiveRuns) -> Task {
    let TaskRow { token, mut task, .. } = row;
    if task.state == TaskState::Running
        && let Some(run) = live_runs.live(task.id, token)
    {
        task.usage = run.usage().or(task.usage);
        let report = run.report();
        task.progress = report.progress;
        task.plugin_digest = report.digest.or(task.plugin_digest);
    }
    task
}

fn cursor(seq: i64) -> Cursor {
    Cursor(task_ref(seq).0)
}

/// Returns the row before which a page begins.
fn position(before: Option<Cursor>) -> i64 {
    before.map_or(i64::MAX, |cursor| i64::try_from(cursor.0).unwrap_or(i64::MAX))
}

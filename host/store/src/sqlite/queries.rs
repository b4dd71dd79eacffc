//! What is read. Each query is one statement, so it sees one moment of the database.

use rusqlite::{Connection, OptionalExtension, params};
use wasmill_model::{Task, TaskId, TaskState};

use super::rows::{TaskRow, select_tasks, size, task_row};
use crate::progress::ProgressBoard;
use crate::{Claim, Cursor, ListQuery, Page};

/// Bytes of results after which a page ends early: results may be large, answers may not grow with them.
const PAGE_BYTES: usize = 4 << 20;

pub(super) fn task(
    connection: &Connection,
    id: TaskId,
    progress: &ProgressBoard,
) -> rusqlite::Result<Option<Task>> {
    let mut statement = connection.prepare_cached(select_tasks!("WHERE id = ?1"))?;
    let row = statement.query_row([id.as_bytes()], task_row).optional()?;
    Ok(row.map(|row| with_progress(row, progress)))
}

pub(super) fn page(
    connection: &Connection,
    query: ListQuery,
    progress: &ProgressBoard,
) -> rusqlite::Result<Page> {
    let before = query.before.map_or(i64::MAX, |cursor| cursor.0);
    let mut statement =
        connection.prepare_cached(select_tasks!("WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2"))?;
    // One more than asked for shows whether another page follows.
    let rows = statement.query_map(params![before, size(query.limit.saturating_add(1))], task_row)?;
    let mut page = Page { tasks: Vec::new(), next: None };
    let (mut last, mut bytes) = (before, 0);
    for row in rows {
        let row = row?;
        if page.tasks.len() == query.limit || bytes > PAGE_BYTES {
            page.next = (!page.tasks.is_empty()).then_some(Cursor(last));
            break;
        }
        last = row.seq;
        bytes += row.task.result.as_ref().map_or(0, String::len);
        page.tasks.push(with_progress(row, progress));
    }
    Ok(page)
}

pub(super) fn log(connection: &Connection, id: TaskId) -> rusqlite::Result<Option<String>> {
    const LOG: &str = "SELECT body FROM log JOIN task USING (seq) WHERE task.id = ?1";
    connection.prepare_cached(LOG)?.query_row([id.as_bytes()], |row| row.get(0)).optional()
}

pub(super) fn checkpoint(connection: &Connection, claim: &Claim) -> rusqlite::Result<Option<Vec<u8>>> {
    const CHECKPOINT: &str = "
        SELECT checkpoint.state FROM task JOIN checkpoint USING (seq)
        WHERE task.seq = ?1 AND task.id = ?2 AND task.claims = ?3 AND task.state = 1";
    let mut statement = connection.prepare_cached(CHECKPOINT)?;
    let Claim { id, seq, token, .. } = claim;
    statement.query_row(params![seq, id.as_bytes(), token], |row| row.get(0)).optional()
}

fn with_progress(row: TaskRow, progress: &ProgressBoard) -> Task {
    let TaskRow { seq, token, mut task } = row;
    if task.state == TaskState::Running {
        task.progress = progress.latest(seq, token);
    }
    task
}

//! Children of a task: what their ends mean for it, what its end means for them, and how it reads them.

use rusqlite::{Connection, OptionalExtension, Row, params};
use wasmill_model::{CHILDREN_READ_MAX, Cause, Child, TaskId, TaskState, Timestamp, WakeOn};
use wasmill_store::rules::children::{self as rules, ChildrenRead};
use wasmill_store::stored::wake_on;
use wasmill_store::{Claim, StopRequest};

use crate::file::fault::is_of_value;
use crate::queue::cancel::{Cancelling, SET_CAUSE, cancel, cancellable, request_stop};
use crate::queue::post_event::{self, SuspendedTask};
use crate::read::rows::{group, parsed, seq, size, state};
use crate::writer::batch::Batch;
use crate::writer::quarantine;

pub(crate) const COUNT_ENDED: &str = "
    UPDATE task SET children_ended = children_ended + 1 WHERE seq = ?1
    RETURNING state, wake_on, children_ended >= children, plugin, task_group, limit_key";
pub(crate) const HAVE_ENDED: &str = "
    SELECT (?2 AND children_ended > children_seen) OR (?3 AND children_ended >= children) FROM task WHERE seq = ?1";
/// Children that are not asked to stop yet; those that are run within the slots.
pub(crate) const UNFINISHED: &str = "
    SELECT seq, state, claim_token, id, plugin, attempt, trace, created_at, started_at, webhook_on IS NOT NULL, limit_key
    FROM task INDEXED BY task_unfinished_child
    WHERE parent = ?1 AND finished_at IS NULL AND (state <> 'running' OR stop_requested_at IS NULL) LIMIT ?2";
pub(crate) const CHILDREN: &str = "
    SELECT dependency.name, dependency.id, outcome, other.message, other.result, other.seq IS NOT NULL
    FROM task CROSS JOIN dependency ON dependency.seq = task.seq
        LEFT JOIN task AS other ON other.seq = on_seq AND other.id = dependency.id
    WHERE task.seq = ?1 AND task.id = ?2 AND task.claim_token = ?3 AND task.state = 'running'
        AND dependency.name IS NOT NULL AND position >= ?4
    ORDER BY position LIMIT ?5";

/// Counts the end of a child, and resumes its parent if that waits for it.
pub(crate) fn ended(batch: &mut Batch<'_>, parent: i64, at: Timestamp) -> rusqlite::Result<()> {
    let mut count = batch.connection.prepare_cached(COUNT_ENDED)?;
    let counted = count.query_row([parent], |row| {
        let wakes = rules::wakes(state(row, 0)?, wake_on::read(row.get(1)?), row.get(2)?);
        let (plugin, group) = (parsed(row, 3)?, group(row, 4)?);
        Ok((wakes, SuspendedTask { seq: parent, plugin, group, limit_key: row.get(5)? }))
    });
    let counted = counted.optional()?;
    drop(count);
    match counted {
        Some((true, task)) => post_event::wake(batch, &task, at),
        _ => Ok(()),
    }
}

/// Returns true if the children of a running task that is about to be suspended have done what it waits for.
pub(crate) fn have_ended(batch: &Batch<'_>, seq: i64, wake_on: WakeOn) -> rusqlite::Result<bool> {
    let mut have_ended = batch.connection.prepare_cached(HAVE_ENDED)?;
    have_ended.query_one(params![seq, wake_on.any_child, wake_on.all_children], |row| row.get(0))
}

/// Cancels up to this many unfinished children of a task that has ended in this state; returns how many.
pub(crate) fn cancel_some(
    batch: &mut Batch<'_>,
    parent: TaskId,
    end: TaskState,
    at: Timestamp,
    limit: usize,
) -> rusqlite::Result<usize> {
    let mut unfinished = batch.connection.prepare_cached(UNFINISHED)?;
    let rows = unfinished.query_map(params![parent.as_bytes(), size(limit)], |row| {
        Ok((row.get(0)?, state(row, 1), cancellable(row)))
    })?;
    let found = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    drop(unfinished);
    let message = rules::cancel_message(parent, end);
    let count = found.len();
    for (seq, was, child) in found {
        match child {
            Ok((_, was, of, has_webhook)) => {
                let mut blame = batch.connection.prepare_cached(SET_CAUSE)?;
                blame.execute(params![seq, Cause::Parent.to_string(), message])?;
                drop(blame);
                if was == TaskState::Running {
                    request_stop(batch, seq, false, at)?;
                    batch.effects.stops.push(StopRequest { task: of.task, token: of.token, kill_at: at });
                } else {
                    cancel(batch, Cancelling { seq, of, was, has_webhook, run: None }, at)?;
                }
            }
            // It would be the first one of every batch.
            Err(error) if is_of_value(&error) => {
                quarantine::fail(batch, seq, was.unwrap_or(TaskState::Available), &error, at)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// Reads the children of a claimed task from this number on.
pub(crate) fn read(connection: &Connection, claim: &Claim, start: u64) -> rusqlite::Result<Vec<Child>> {
    let mut statement = connection.prepare_cached(CHILDREN)?;
    let mut rows = statement.query(params![
        seq(claim.task_ref()),
        claim.id.as_bytes(),
        claim.token(),
        rules::position(start),
        size(CHILDREN_READ_MAX),
    ])?;
    let mut read = ChildrenRead::default();
    while let Some(row) = rows.next()? {
        if !read.add(child(row)?) {
            break;
        }
    }
    Ok(read.into_children())
}

fn child(row: &Row<'_>) -> rusqlite::Result<Child> {
    let outcome = row.get_ref(2)?.as_str_or_null()?.map(|_| state(row, 2)).transpose()?;
    let is_there: bool = row.get(5)?;
    let outcome = outcome.map(|outcome| if is_there { outcome } else { TaskState::Cancelled });
    let text = match outcome {
        Some(TaskState::Completed) => row.get::<_, Option<String>>(4)?,
        Some(TaskState::Failed) => row.get(3)?,
        _ => None,
    };
    let (name, id) = (row.get(0)?, TaskId::from_bytes(row.get(1)?));
    Ok(Child { name, id, outcome, text: text.unwrap_or_default() })
}

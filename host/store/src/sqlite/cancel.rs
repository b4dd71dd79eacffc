//! Cancels a task that has not ended.

use rusqlite::{OptionalExtension, params};
use wasmill_model::{TaskId, TaskState, Timestamp};

use super::batch::{Batch, Operation};
use super::finish::drop_checkpoint;
use super::rows::{code, nanos, state};
use crate::Cancelled;
use crate::report::Turn;

pub(super) const FIND: &str = "SELECT seq, state, claims FROM task WHERE id = ?1";
pub(super) const CANCEL: &str = "
    UPDATE task SET state = ?2, finished_at = ?3, plugin_digest = coalesce(?4, plugin_digest)
    WHERE seq = ?1";

#[derive(Debug)]
pub(super) struct Cancel {
    pub(super) id: TaskId,
    pub(super) now: Timestamp,
}

impl Operation for Cancel {
    type Answer = Cancelled;
    const DURABLE: bool = true;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Cancelled> {
        let mut find = batch.connection.prepare_cached(FIND)?;
        let found = find
            .query_row([self.id.as_bytes()], |row| Ok((row.get::<_, i64>(0)?, state(row, 1)?, row.get(2)?)))
            .optional()?;
        let Some((seq, was, token)) = found else { return Ok(Cancelled::NotFound) };
        if !was.may_become(TaskState::Cancelled) {
            return Ok(Cancelled::AlreadyFinal(was));
        }
        cancel(batch, seq, token, was, self.now)?;
        Ok(Cancelled::Cancelled { was })
    }
}

/// Cancels a task that may be cancelled.
pub(super) fn cancel(
    batch: &mut Batch<'_>,
    seq: i64,
    token: i64,
    was: TaskState,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let mut cancel = batch.connection.prepare_cached(CANCEL)?;
    let digest = batch.reports.latest(seq, token).and_then(|report| report.digest);
    cancel.execute(params![seq, code(TaskState::Cancelled), nanos(now), digest])?;
    drop_checkpoint(batch, seq)?;
    batch.line.moved(Some(was), Some(TaskState::Cancelled));
    batch.turns.push(Turn::Ended { seq });
    Ok(())
}

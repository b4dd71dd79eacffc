//! Removes a task in any state; the tables beside it follow by their foreign keys.

use rusqlite::OptionalExtension;
use wasmill_model::{TaskId, TaskState, Timestamp};

use super::batch::{Batch, Operation};
use super::cancel::found;
use super::depend;
use crate::Change;
use crate::report::Turn;
use crate::traced::RunEnd;

pub(super) const REMOVE: &str = "
    DELETE FROM task WHERE id = ?1
    RETURNING seq, state, claims, id, plugin, attempt, trace, created_at, started_at";

#[derive(Debug)]
pub(super) struct Remove {
    pub(super) id: TaskId,
    pub(super) now: Timestamp,
}

impl Operation for Remove {
    type Answer = Option<TaskState>;
    const DURABLE: bool = true;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Option<TaskState>> {
        let mut statement = batch.connection.prepare_cached(REMOVE)?;
        let removed = statement.query_row([self.id.as_bytes()], found).optional()?;
        let Some((seq, was, of)) = removed else { return Ok(None) };
        drop(statement);
        if was == TaskState::Running && of.trace.is_some() {
            let outcome = "deleted".to_owned();
            let end = RunEnd { at: self.now, outcome, failure: None, usage: None, digest: None };
            batch.spans.extend(of.run_span(&batch.reports.tracer, end));
        }
        // One that had ended was told of then.
        if !was.is_final() {
            batch.spans.extend(of.task_span(&batch.reports.tracer, "deleted", None, self.now));
            depend::ended(batch, seq, TaskState::Cancelled, self.now)?;
        }
        batch.moved(&of.plugin, Some(was), None);
        batch.turns.push(Turn::Ended { seq });
        batch.news.push(of.news(Change::Deleted, self.now));
        Ok(Some(was))
    }
}

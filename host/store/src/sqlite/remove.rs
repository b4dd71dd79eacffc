//! Removes a task in any state; the tables beside it follow by their foreign keys.

use rusqlite::OptionalExtension;
use wasmill_model::{TaskId, TaskState, Timestamp};

use super::batch::{Batch, Operation};
use super::cancel::found;
use super::depend;
use crate::Change;
use crate::report::Turn;

pub(super) const REMOVE: &str =
    "DELETE FROM task WHERE id = ?1 RETURNING seq, state, claims, id, plugin, attempt";

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
        if !was.is_final() {
            depend::ended(batch, seq, TaskState::Cancelled, self.now)?;
        }
        batch.moved(&of.plugin, Some(was), None);
        batch.turns.push(Turn::Ended { seq });
        batch.news.push(of.news(Change::Deleted, self.now));
        Ok(Some(was))
    }
}

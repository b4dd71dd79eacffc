//! Cancels tasks found earlier, if they still match.

use rusqlite::OptionalExtension;
use wasmill_model::{TaskState, Timestamp};
use wasmill_store::{CancelledMany, Filter, Stopping, TaskRef};

use crate::queue::cancel::{Cancelling, cancel, cancellable, request_stop};
use crate::read::rows::seq;
use crate::writer::batch::{Batch, Operation};

pub(crate) const FIND: &str = "
    SELECT seq, state, claim_token, id, plugin, attempt, trace, created_at, started_at, webhook_on IS NOT NULL,
        limit_key, stop_requested_at IS NOT NULL
    FROM task WHERE seq = ?1";

#[derive(Debug)]
pub(crate) struct CancelMany {
    pub(crate) found: Vec<TaskRef>,
    pub(crate) filter: Filter,
    pub(crate) now: Timestamp,
}

impl Operation for CancelMany {
    type Answer = CancelledMany;
    const DURABLE: bool = true;

    fn cost(&self) -> u64 {
        self.found.len() as u64
    }

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<CancelledMany> {
        let mut cancelled = CancelledMany::default();
        for task in &self.found {
            let mut find = batch.connection.prepare_cached(FIND)?;
            let found =
                find.query_row([seq(*task)], |row| Ok((cancellable(row)?, row.get(11)?))).optional()?;
            drop(find);
            let Some(((seq, was, of, has_webhook), was_requested)) = found else { continue };
            if !self.filter.has(was) || !was.may_become(TaskState::Cancelled) {
                continue;
            }
            if was == TaskState::Running {
                request_stop(batch, seq, false, self.now)?;
                cancelled.running.push(Stopping { id: of.task, token: of.token, was_requested });
            } else {
                cancel(batch, Cancelling { seq, of, was, has_webhook, run: None }, self.now)?;
                cancelled.waiting += 1;
            }
        }
        Ok(cancelled)
    }
}

//! Cancels tasks that were found before, as far as they are still as they were meant.

use rusqlite::OptionalExtension;
use wasmill_model::{TaskState, Timestamp};

use super::batch::{Batch, Operation};
use super::cancel::{cancel, cancellable};
use crate::{CancelledMany, Filter, Found};

pub(super) const FIND: &str = "
    SELECT seq, state, claims, id, plugin, attempt, trace, created_at, started_at, webhook IS NOT NULL
    FROM task WHERE seq = ?1";

#[derive(Debug)]
pub(super) struct CancelMany {
    pub(super) found: Vec<Found>,
    pub(super) filter: Filter,
    pub(super) now: Timestamp,
}

impl Operation for CancelMany {
    type Answer = CancelledMany;
    const DURABLE: bool = true;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<CancelledMany> {
        let mut cancelled = CancelledMany::default();
        for Found(seq) in &self.found {
            let mut find = batch.connection.prepare_cached(FIND)?;
            let found = find.query_row([seq], cancellable).optional()?;
            drop(find);
            let Some((seq, was, of, has_webhook)) = found else { continue };
            let id = of.task;
            if !self.filter.has(was) || !was.may_become(TaskState::Cancelled) {
                continue;
            }
            cancel(batch, seq, of, was, has_webhook, self.now)?;
            match was {
                TaskState::Running => cancelled.running.push(id),
                _ => cancelled.waiting += 1,
            }
        }
        Ok(cancelled)
    }
}

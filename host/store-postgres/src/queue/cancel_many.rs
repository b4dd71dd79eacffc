//! Cancels tasks found earlier, if they still match.

use std::time::Duration;

use async_trait::async_trait;
use wasmill_model::{TaskState, Timestamp};
use wasmill_store::{CancelledMany, Filter, Stopping, TaskRef};

use crate::connection::fault::Result;
use crate::queue::cancel::{Cancelling, cancel, cancellable, request_stop};
use crate::read::rows::{get, seq};
use crate::writer::batch::{Batch, Operation};

pub(crate) const FIND: &str = "
    SELECT seq, state, claim_token, id, plugin, attempt, trace, created_at, started_at, webhook_on IS NOT NULL,
        limit_key, stop_requested_at IS NOT NULL
    FROM task WHERE seq = $1";

#[derive(Debug)]
pub(crate) struct CancelMany {
    pub(crate) found: Vec<TaskRef>,
    pub(crate) filter: Filter,
    pub(crate) grace: Duration,
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Operation for CancelMany {
    type Answer = CancelledMany;
    const DURABLE: bool = true;

    fn cost(&self) -> u64 {
        self.found.len() as u64
    }

    async fn run(&self, batch: &mut Batch<'_>) -> Result<CancelledMany> {
        let mut cancelled = CancelledMany::default();
        for task in &self.found {
            let Some(row) = batch.connection.optional(FIND, &[&seq(*task)]).await? else { continue };
            let ((seq, was, of, has_webhook), was_requested) = (cancellable(&row)?, get(&row, 11)?);
            if !self.filter.has(was) || !was.may_become(TaskState::Cancelled) {
                continue;
            }
            if was == TaskState::Running {
                request_stop(batch, seq, false, self.grace, self.now).await?;
                cancelled.running.push(Stopping { id: of.task, token: of.token, was_requested });
            } else {
                cancel(batch, Cancelling { seq, of, was, has_webhook, run: None }, self.now).await?;
                cancelled.waiting += 1;
            }
        }
        Ok(cancelled)
    }
}

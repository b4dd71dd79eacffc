//! Removes a task: a running one when its run ends, others at once.

use std::time::Duration;

use async_trait::async_trait;
use wasmill_model::{TaskId, TaskState, Timestamp};
use wasmill_store::live::{LiveChange, LiveRun, RunRef};
use wasmill_store::{EventKind, RemoveOutcome};

use crate::connection::fault::Result;
use crate::dependency::record;
use crate::queue::cancel::{self, cancellable, request_stop};
use crate::read::rows::uuid;
use crate::writer::batch::{Batch, Operation};
use crate::writer::key_usage;

/// Removes a task with its rows in all tables.
pub(crate) const REMOVE: &str = "
    WITH gone AS (DELETE FROM task WHERE seq = $1 RETURNING seq),
        a AS (DELETE FROM input USING gone WHERE input.seq = gone.seq),
        b AS (DELETE FROM log USING gone WHERE log.seq = gone.seq),
        c AS (DELETE FROM checkpoint USING gone WHERE checkpoint.seq = gone.seq),
        d AS (DELETE FROM tag USING gone, task
            WHERE task.seq = gone.seq AND tag.name = ANY (task.tags) AND tag.seq = gone.seq),
        e AS (DELETE FROM attempt USING gone WHERE attempt.seq = gone.seq),
        f AS (DELETE FROM dependent USING gone WHERE dependent.seq = gone.seq),
        g AS (DELETE FROM dependency USING gone WHERE dependency.seq = gone.seq),
        h AS (DELETE FROM webhook USING gone WHERE webhook.seq = gone.seq),
        i AS (DELETE FROM webhook_attempt USING gone WHERE webhook_attempt.seq = gone.seq),
        j AS (DELETE FROM posted_event USING gone WHERE posted_event.seq = gone.seq),
        k AS (DELETE FROM task_file USING gone WHERE task_file.seq = gone.seq RETURNING task_file.content),
        l AS (INSERT INTO unused_content (content, at) SELECT DISTINCT content, 0 FROM k ON CONFLICT (content) DO NOTHING)
    SELECT count(*) FROM gone";

#[derive(Debug)]
pub(crate) struct Remove {
    pub(crate) id: TaskId,
    pub(crate) grace: Duration,
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Operation for Remove {
    type Answer = RemoveOutcome;
    const DURABLE: bool = true;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<RemoveOutcome> {
        let Some(row) = batch.connection.optional(cancel::FIND, &[&uuid(self.id)]).await? else {
            return Ok(RemoveOutcome::NotFound);
        };
        let (seq, was, of, _) = cancellable(&row)?;
        if was == TaskState::Running {
            request_stop(batch, seq, true, self.grace, self.now).await?;
            return Ok(RemoveOutcome::Stopping { token: of.token });
        }
        remove(batch, seq, of, was, None, self.now).await?;
        Ok(RemoveOutcome::Removed { was })
    }
}

/// Removes a task. If it was running, its run has ended, and this is its live run.
pub(crate) async fn remove(
    batch: &mut Batch<'_>,
    seq: i64,
    of: RunRef,
    was: TaskState,
    run: Option<&LiveRun>,
    now: Timestamp,
) -> Result<()> {
    key_usage::removing(batch, seq).await?;
    // A finished task has resolved its dependents already. While its row is there: it tells whether there are children.
    if !was.is_final() {
        batch.effects.spans.extend(of.stop_spans(&batch.live_runs.tracer, run, "deleted", now));
        record::ended(batch, seq, TaskState::Cancelled, now).await?;
    }
    batch.connection.one(REMOVE, &[&seq]).await?;
    batch.record_move(&of.plugin, of.limit_key.as_ref(), Some(was), None);
    batch.effects.live_changes.push(LiveChange::Ended(of.task));
    batch.effects.events.push(of.event(EventKind::Deleted, now));
    Ok(())
}

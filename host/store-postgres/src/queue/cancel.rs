//! Cancels an unfinished task: a waiting one at once, a running one when its run ends.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Row;
use wasmill_model::{TaskId, TaskState, Timestamp};
use wasmill_store::live::{LiveChange, LiveRun, RunRef};
use wasmill_store::stored::usage;
use wasmill_store::{CancelOutcome, EventKind};

use crate::connection::fault::Result;
use crate::delivery::deliveries;
use crate::dependency::record;
use crate::queue::save::drop_checkpoint;
use crate::read::rows::{get, limit_key, nanos, number, parsed, state, task_id, traced, uuid};
use crate::writer::batch::{Batch, Operation};
use crate::writer::key_usage;

pub(crate) const FIND: &str = "
    SELECT seq, state, claim_token, id, plugin, attempt, trace, created_at, started_at, webhook_on IS NOT NULL, limit_key
    FROM task WHERE id = $1";
const CANCEL: &str = "
    UPDATE task SET state = 'cancelled', finished_at = $2, plugin_digest = coalesce($3, plugin_digest),
        usage = coalesce($4, usage)
    WHERE seq = $1";
/// Why a task is cancelled that nobody cancels.
pub(crate) const SET_CAUSE: &str = "UPDATE task SET cause = $2, message = $3 WHERE seq = $1";
/// The first stop request counts, and a removal is never downgraded to a cancel.
const REQUEST_STOP: &str = "
    UPDATE task SET stop_requested_at = coalesce(stop_requested_at, $2), stop_removes = stop_removes OR $3,
        kill_at = least(kill_at, $4)
    WHERE seq = $1 RETURNING host";

#[derive(Debug)]
pub(crate) struct Cancel {
    pub(crate) id: TaskId,
    pub(crate) grace: Duration,
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Operation for Cancel {
    type Answer = CancelOutcome;
    const DURABLE: bool = true;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<CancelOutcome> {
        let Some(row) = batch.connection.optional(FIND, &[&uuid(self.id)]).await? else {
            return Ok(CancelOutcome::NotFound);
        };
        let (seq, was, of, has_webhook) = cancellable(&row)?;
        if !was.may_become(TaskState::Cancelled) {
            return Ok(CancelOutcome::AlreadyFinal(was));
        }
        if was == TaskState::Running {
            request_stop(batch, seq, false, self.grace, self.now).await?;
            return Ok(CancelOutcome::Stopping { token: of.token });
        }
        cancel(batch, Cancelling { seq, of, was, has_webhook, run: None }, self.now).await?;
        Ok(CancelOutcome::Cancelled { was })
    }
}

/// Stores a stop request for a running task: the end of its run, or the next recovery, cancels or removes it
/// whatever its outcome. The host that runs it is told.
pub(crate) async fn request_stop(
    batch: &mut Batch<'_>,
    seq: i64,
    removes: bool,
    grace: Duration,
    now: Timestamp,
) -> Result<()> {
    batch.writer_state.observe_time(nanos(now));
    let kill_at = nanos(now).saturating_add(i64::try_from(grace.as_nanos()).unwrap_or(i64::MAX));
    let stopped = batch.connection.optional(REQUEST_STOP, &[&seq, &nanos(now), &removes, &kill_at]).await?;
    let host = stopped.map(|row| get::<Option<i64>>(&row, 0)).transpose()?.flatten();
    batch.stops_at.extend(host.filter(|host| *host != batch.host));
    Ok(())
}

/// Reads the first columns of a task that is to stop; the last value is whether the task has a webhook.
pub(crate) fn cancellable(row: &Row) -> Result<(i64, TaskState, RunRef, bool)> {
    let of = RunRef {
        task: task_id(row, 3)?,
        plugin: parsed(row, 4)?,
        limit_key: limit_key(row, 10)?,
        attempt: number(row, 5)?,
        token: get(row, 2)?,
        trace: traced(row, 6)?,
    };
    Ok((get(row, 0)?, state(row, 1)?, of, get(row, 9)?))
}

/// A task to cancel now.
pub(crate) struct Cancelling<'a> {
    pub(crate) seq: i64,
    pub(crate) of: RunRef,
    pub(crate) was: TaskState,
    pub(crate) has_webhook: bool,
    /// Its live run, if it was running.
    pub(crate) run: Option<&'a LiveRun>,
}

/// Cancels a task in a cancellable state. If it was running, its run has ended.
pub(crate) async fn cancel(batch: &mut Batch<'_>, cancelling: Cancelling<'_>, now: Timestamp) -> Result<()> {
    let Cancelling { seq, of, was, has_webhook, run } = cancelling;
    let digest = run.and_then(LiveRun::digest);
    let used = run.and_then(|run| run.usage_at_end(now)).map(|used| usage::text(&used));
    batch.connection.execute(CANCEL, &[&seq, &nanos(now), &digest.as_deref(), &used]).await?;
    drop_checkpoint(batch, seq).await?;
    if has_webhook {
        deliveries::begin(batch, seq, TaskState::Cancelled, now).await?;
    }
    record::ended(batch, seq, TaskState::Cancelled, now).await?;
    batch.effects.spans.extend(of.stop_spans(&batch.live_runs.tracer, run, "cancelled", now));
    key_usage::ended(batch, seq, of.limit_key.as_ref()).await?;
    batch.record_move(&of.plugin, of.limit_key.as_ref(), Some(was), Some(TaskState::Cancelled));
    batch.effects.live_changes.push(LiveChange::Ended(of.task));
    batch.effects.events.push(of.event(EventKind::Cancelled, now));
    Ok(())
}

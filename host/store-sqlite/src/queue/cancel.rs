//! Cancels an unfinished task: a waiting one at once, a running one when its run ends.

use rusqlite::{OptionalExtension, Row, params};
use wasmill_model::{TaskId, TaskState, Timestamp};
use wasmill_store::live::{LiveChange, LiveRun, RunRef};
use wasmill_store::{CancelOutcome, EventKind, stored};

use crate::delivery::deliveries;
use crate::dependency::record;
use crate::queue::save::drop_leftovers;
use crate::read::rows::{nanos, parsed, state, traced};
use crate::writer::batch::{Batch, Operation};
use crate::writer::key_usage;

pub(crate) const FIND: &str = "
    SELECT seq, state, claim_token, id, plugin, attempt, trace, created_at, started_at, webhook_on IS NOT NULL, limit_key
    FROM task WHERE id = ?1";
pub(crate) const CANCEL: &str = "
    UPDATE task SET state = ?2, finished_at = ?3, plugin_digest = coalesce(?4, plugin_digest),
        usage = coalesce(?5, usage)
    WHERE seq = ?1";
/// Why a task is cancelled that nobody cancels.
pub(crate) const SET_CAUSE: &str = "UPDATE task SET cause = ?2, message = ?3 WHERE seq = ?1";
/// The first stop request counts, and a removal is never downgraded to a cancel.
pub(crate) const REQUEST_STOP: &str = "
    UPDATE task SET stop_requested_at = coalesce(stop_requested_at, ?2), stop_removes = max(stop_removes, ?3)
    WHERE seq = ?1";

#[derive(Debug)]
pub(crate) struct Cancel {
    pub(crate) id: TaskId,
    pub(crate) now: Timestamp,
}

impl Operation for Cancel {
    type Answer = CancelOutcome;
    const DURABLE: bool = true;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<CancelOutcome> {
        let mut find = batch.connection.prepare_cached(FIND)?;
        let found = find.query_row([self.id.as_bytes()], cancellable).optional()?;
        drop(find);
        let Some((seq, was, of, has_webhook)) = found else { return Ok(CancelOutcome::NotFound) };
        if !was.may_become(TaskState::Cancelled) {
            return Ok(CancelOutcome::AlreadyFinal(was));
        }
        if was == TaskState::Running {
            request_stop(batch, seq, false, self.now)?;
            return Ok(CancelOutcome::Stopping { token: of.token });
        }
        cancel(batch, Cancelling { seq, of, was, has_webhook, run: None }, self.now)?;
        Ok(CancelOutcome::Cancelled { was })
    }
}

/// Stores a stop request for a running task: the end of its run, or the next recovery, cancels or removes it
/// whatever its outcome.
pub(crate) fn request_stop(
    batch: &mut Batch<'_>,
    seq: i64,
    removes: bool,
    now: Timestamp,
) -> rusqlite::Result<()> {
    batch.writer_state.observe_time(nanos(now));
    batch.connection.prepare_cached(REQUEST_STOP)?.execute(params![seq, nanos(now), removes])?;
    Ok(())
}

/// Reads a row of [`FIND`]; the last value is whether the task has a webhook.
pub(crate) fn cancellable(row: &Row<'_>) -> rusqlite::Result<(i64, TaskState, RunRef, bool)> {
    let (seq, state, of) = found(row)?;
    Ok((seq, state, of, row.get(9)?))
}

/// Reads the first columns of a task that is to stop.
pub(crate) fn found(row: &Row<'_>) -> rusqlite::Result<(i64, TaskState, RunRef)> {
    let of = RunRef {
        task: TaskId::from_bytes(row.get(3)?),
        plugin: parsed(row, 4)?,
        limit_key: row.get(10)?,
        attempt: row.get(5)?,
        token: row.get(2)?,
        trace: traced(row, 6)?,
    };
    Ok((row.get(0)?, state(row, 1)?, of))
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
pub(crate) fn cancel(
    batch: &mut Batch<'_>,
    cancelling: Cancelling<'_>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let Cancelling { seq, of, was, has_webhook, run } = cancelling;
    let mut cancel = batch.connection.prepare_cached(CANCEL)?;
    let digest = run.and_then(LiveRun::digest);
    let used = run.and_then(|run| run.usage_at_end(now)).map(|used| stored::usage::text(&used));
    cancel.execute(params![seq, TaskState::Cancelled.as_str(), nanos(now), digest.as_deref(), used])?;
    drop(cancel);
    drop_leftovers(batch, seq)?;
    if has_webhook {
        deliveries::begin(batch, seq, TaskState::Cancelled, now)?;
    }
    record::ended(batch, seq, TaskState::Cancelled, now)?;
    batch.effects.spans.extend(of.stop_spans(&batch.live_runs.tracer, run, "cancelled", now));
    key_usage::ended(batch, seq, of.limit_key.as_ref())?;
    batch.record_move(&of.plugin, of.limit_key.as_ref(), Some(was), Some(TaskState::Cancelled));
    batch.effects.live_changes.push(LiveChange::Ended(of.task));
    batch.effects.events.push(of.event(EventKind::Cancelled, now));
    Ok(())
}

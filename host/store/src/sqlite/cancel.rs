//! Cancels an unfinished task: a waiting one at once, a running one when its run ends.

use rusqlite::{OptionalExtension, Row, params};
use wasmill_model::{TaskId, TaskState, Timestamp};

use super::batch::{Batch, Operation};
use super::dependency;
use super::rows::{nanos, parsed, state, traced};
use super::save::drop_checkpoint;
use super::{usage, webhooks};
use crate::live_runs::{LiveChange, LiveRun};
use crate::run_ref::RunRef;
use crate::task_spans::RunEnd;
use crate::{CancelOutcome, EventKind};

pub(super) const FIND: &str = "
    SELECT seq, state, claim_token, id, plugin, attempt, trace, created_at, started_at, webhook_on IS NOT NULL
    FROM task WHERE id = ?1";
pub(super) const CANCEL: &str = "
    UPDATE task SET state = ?2, finished_at = ?3, plugin_digest = coalesce(?4, plugin_digest),
        usage = coalesce(?5, usage)
    WHERE seq = ?1";
/// The first stop request counts, and a removal is never downgraded to a cancel.
pub(super) const REQUEST_STOP: &str = "
    UPDATE task SET stop_requested_at = coalesce(stop_requested_at, ?2), stop_removes = max(stop_removes, ?3)
    WHERE seq = ?1";

#[derive(Debug)]
pub(super) struct Cancel {
    pub(super) id: TaskId,
    pub(super) now: Timestamp,
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
pub(super) fn request_stop(
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
pub(super) fn cancellable(row: &Row<'_>) -> rusqlite::Result<(i64, TaskState, RunRef, bool)> {
    let (seq, state, of) = found(row)?;
    Ok((seq, state, of, row.get(9)?))
}

/// Reads the first columns of a task that is to stop.
pub(super) fn found(row: &Row<'_>) -> rusqlite::Result<(i64, TaskState, RunRef)> {
    let of = RunRef {
        task: TaskId::from_bytes(row.get(3)?),
        plugin: parsed(row, 4)?,
        attempt: row.get(5)?,
        token: row.get(2)?,
        trace: traced(row, 6)?,
    };
    Ok((row.get(0)?, state(row, 1)?, of))
}

/// A task to cancel now.
pub(super) struct Cancelling<'a> {
    pub(super) seq: i64,
    pub(super) of: RunRef,
    pub(super) was: TaskState,
    pub(super) has_webhook: bool,
    /// Its live run, if it was running.
    pub(super) run: Option<&'a LiveRun>,
}

/// Cancels a task in a cancellable state. If it was running, its run has ended.
pub(super) fn cancel(
    batch: &mut Batch<'_>,
    cancelling: Cancelling<'_>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let Cancelling { seq, of, was, has_webhook, run } = cancelling;
    let mut cancel = batch.connection.prepare_cached(CANCEL)?;
    let digest = run.and_then(LiveRun::digest);
    let used = run.and_then(|run| run.usage_at_end(now)).map(|used| usage::text(&used));
    cancel.execute(params![seq, TaskState::Cancelled.as_str(), nanos(now), digest.as_deref(), used])?;
    drop(cancel);
    drop_checkpoint(batch, seq)?;
    if has_webhook {
        webhooks::begin(batch, seq, TaskState::Cancelled, now)?;
    }
    dependency::ended(batch, seq, TaskState::Cancelled, now)?;
    if was == TaskState::Running && of.trace.is_some() {
        let end = RunEnd {
            at: now,
            outcome: "cancelled".to_owned(),
            failure: None,
            usage: run.and_then(|run| run.usage_of_run(now)),
            digest: digest.as_deref(),
        };
        batch.spans.extend(of.run_span(&batch.live_runs.tracer, end));
    }
    batch.spans.extend(of.task_span(&batch.live_runs.tracer, "cancelled", None, now));
    batch.record_move(&of.plugin, Some(was), Some(TaskState::Cancelled));
    batch.events.push(of.event(EventKind::Cancelled, now));
    batch.turns.push(LiveChange::Ended { seq });
    Ok(())
}

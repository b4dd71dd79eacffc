//! Removes a task: a running one when its run ends, others at once. Rows of other tables follow by foreign
//! keys.

use rusqlite::OptionalExtension;
use wasmill_model::{TaskId, TaskState, Timestamp};
use wasmill_store::live::{LiveChange, LiveRun, RunRef};
use wasmill_store::{EventKind, RemoveOutcome};

use crate::dependency::record;
use crate::queue::cancel::{self, cancellable, request_stop};
use crate::writer::batch::{Batch, Operation};
use crate::writer::key_usage;

pub(crate) const REMOVE: &str = "DELETE FROM task WHERE seq = ?1";

#[derive(Debug)]
pub(crate) struct Remove {
    pub(crate) id: TaskId,
    pub(crate) now: Timestamp,
}

impl Operation for Remove {
    type Answer = RemoveOutcome;
    const DURABLE: bool = true;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<RemoveOutcome> {
        let mut find = batch.connection.prepare_cached(cancel::FIND)?;
        let found = find.query_row([self.id.as_bytes()], cancellable).optional()?;
        drop(find);
        let Some((seq, was, of, _)) = found else { return Ok(RemoveOutcome::NotFound) };
        if was == TaskState::Running {
            request_stop(batch, seq, true, self.now)?;
            return Ok(RemoveOutcome::Stopping { token: of.token });
        }
        remove(batch, seq, of, was, None, self.now)?;
        Ok(RemoveOutcome::Removed { was })
    }
}

/// Removes a task. If it was running, its run has ended, and this is its live run.
pub(crate) fn remove(
    batch: &mut Batch<'_>,
    seq: i64,
    of: RunRef,
    was: TaskState,
    run: Option<&LiveRun>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    if let Some((key, bytes)) = key_usage::of_task(batch, seq)? {
        batch.effects.key_delta.record_bytes(&key, -bytes);
    }
    // A finished task has resolved its dependents already. While its row is there: it tells whether there are children.
    if !was.is_final() {
        batch.effects.spans.extend(of.stop_spans(&batch.live_runs.tracer, run, "deleted", now));
        record::ended(batch, seq, TaskState::Cancelled, now)?;
    }
    batch.connection.prepare_cached(REMOVE)?.execute([seq])?;
    batch.record_move(&of.plugin, of.limit_key.as_ref(), Some(was), None);
    batch.effects.live_changes.push(LiveChange::Ended(of.task));
    batch.effects.events.push(of.event(EventKind::Deleted, now));
    Ok(())
}

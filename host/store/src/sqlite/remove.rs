//! Removes a task: a running one when its run ends, others at once. Rows of other tables follow by foreign
//! keys.

use rusqlite::OptionalExtension;
use wasmill_model::{TaskId, TaskState, Timestamp};

use super::batch::{Batch, Operation};
use super::cancel::{self, cancellable, request_stop};
use super::dependency;
use crate::live_runs::{LiveChange, LiveRun};
use crate::run_ref::RunRef;
use crate::task_spans::RunEnd;
use crate::{EventKind, RemoveOutcome};

pub(super) const REMOVE: &str = "DELETE FROM task WHERE seq = ?1";

#[derive(Debug)]
pub(super) struct Remove {
    pub(super) id: TaskId,
    pub(super) now: Timestamp,
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
pub(super) fn remove(
    batch: &mut Batch<'_>,
    seq: i64,
    of: RunRef,
    was: TaskState,
    run: Option<&LiveRun>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    batch.connection.prepare_cached(REMOVE)?.execute([seq])?;
    if was == TaskState::Running && of.trace.is_some() {
        let digest = run.and_then(LiveRun::digest);
        let end = RunEnd {
            at: now,
            outcome: "deleted".to_owned(),
            failure: None,
            usage: run.and_then(|run| run.usage_of_run(now)),
            digest: digest.as_deref(),
        };
        batch.spans.extend(of.run_span(&batch.live_runs.tracer, end));
    }
    // A finished task has resolved its dependents already.
    if !was.is_final() {
        batch.spans.extend(of.task_span(&batch.live_runs.tracer, "deleted", None, now));
        dependency::ended(batch, seq, TaskState::Cancelled, now)?;
    }
    batch.record_move(&of.plugin, Some(was), None);
    batch.turns.push(LiveChange::Ended { seq });
    batch.events.push(of.event(EventKind::Deleted, now));
    Ok(())
}

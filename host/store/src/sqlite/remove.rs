//! Removes a task: one that runs when its guest is gone, others at once. The tables beside it follow by their
//! foreign keys.

use rusqlite::OptionalExtension;
use wasmill_model::{TaskId, TaskState, Timestamp};

use super::batch::{Batch, Operation};
use super::cancel::{self, cancellable, request_stop};
use super::depend;
use crate::report::{ReportCell, Reporter, Turn};
use crate::traced::RunEnd;
use crate::{Change, Removed};

pub(super) const REMOVE: &str = "DELETE FROM task WHERE seq = ?1";

#[derive(Debug)]
pub(super) struct Remove {
    pub(super) id: TaskId,
    pub(super) now: Timestamp,
}

impl Operation for Remove {
    type Answer = Removed;
    const DURABLE: bool = true;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Removed> {
        let mut find = batch.connection.prepare_cached(cancel::FIND)?;
        let found = find.query_row([self.id.as_bytes()], cancellable).optional()?;
        drop(find);
        let Some((seq, was, of, _)) = found else { return Ok(Removed::NotFound) };
        if was == TaskState::Running {
            request_stop(batch, seq, true, self.now)?;
            return Ok(Removed::Stopping { token: of.token });
        }
        remove(batch, seq, of, was, None, self.now)?;
        Ok(Removed::Removed { was })
    }
}

/// Removes a task. If it ran, its guest is gone, and this is what its run has reported.
pub(super) fn remove(
    batch: &mut Batch<'_>,
    seq: i64,
    of: Reporter,
    was: TaskState,
    run: Option<&ReportCell>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    batch.connection.prepare_cached(REMOVE)?.execute([seq])?;
    if was == TaskState::Running && of.trace.is_some() {
        let digest = run.and_then(ReportCell::digest);
        let end = RunEnd {
            at: now,
            outcome: "deleted".to_owned(),
            failure: None,
            usage: run.and_then(|run| run.usage_of_run(now)),
            digest: digest.as_deref(),
        };
        batch.spans.extend(of.run_span(&batch.reports.tracer, end));
    }
    // One that had ended was told of then.
    if !was.is_final() {
        batch.spans.extend(of.task_span(&batch.reports.tracer, "deleted", None, now));
        depend::ended(batch, seq, TaskState::Cancelled, now)?;
    }
    batch.moved(&of.plugin, Some(was), None);
    batch.turns.push(Turn::Ended { seq });
    batch.news.push(of.news(Change::Deleted, now));
    Ok(())
}

//! Finishes a run, if its claim still holds. A task with a stop request is then cancelled or removed.

use rusqlite::{OptionalExtension, params};
use wasmill_model::{Cause, Failure, LogLine, TaskState, Timestamp, Transition};

use super::batch::{Batch, Operation, large};
use super::cancel::{Cancelling, cancel, cancellable};
use super::dependency;
use super::remove::remove;
use super::rows::{group, nanos};
use super::save::{drop_checkpoint, save};
use super::{usage, webhooks};
use crate::live_runs::LiveChange;
use crate::log::Body;
use crate::task_spans::RunEnd;
use crate::{Claim, EventKind, LogPart};

pub(super) const END: &str = "
    UPDATE task SET state = ?4, finished_at = ?5, cause = ?6, message = ?7, result = ?8,
        plugin_digest = coalesce(?9, plugin_digest), host_crashes = host_crashes + ?10,
        usage = coalesce(?11, usage)
    WHERE seq = ?1 AND id = ?2 AND claim_token = ?3 AND state = 'running' AND stop_requested_at IS NULL";
pub(super) const WAIT: &str = "
    UPDATE task SET state = ?14, sort_key = sort_key + coalesce(?4, ready_at) - ready_at,
        ready_at = coalesce(?4, ready_at), wait_ns = ?12,
        started_at = iif(?11 OR (?7 AND suspensions > 0), started_at, NULL),
        suspensions = CASE WHEN ?11 THEN suspensions + 1 WHEN ?7 THEN suspensions ELSE 0 END,
        cause = coalesce(?5, cause), message = coalesce(?6, message),
        attempt = attempt - iif(suspensions = 0, ?7, 0), host_crashes = host_crashes + ?8,
        plugin_digest = coalesce(?9, plugin_digest), usage = coalesce(?10, usage),
        log_lines = coalesce(?13, log_lines)
    WHERE seq = ?1 AND id = ?2 AND claim_token = ?3 AND state = 'running' AND stop_requested_at IS NULL
    RETURNING task_group";
pub(super) const LINES_GIVEN: &str = "SELECT log_lines FROM task WHERE seq = ?1";
pub(super) const LEAVE_OUT_LINES: &str = "UPDATE task SET log_lines = ?2 WHERE seq = ?1";
pub(super) const KEPT: &str = "SELECT body FROM log WHERE seq = ?1";
pub(super) const ATTEMPT: &str = "
    INSERT OR REPLACE INTO attempt (seq, attempt, outcome, message, started_at, finished_at, plugin_digest)
    SELECT seq, attempt, ?4, ?5, started_at, ?6, ?7
    FROM task WHERE seq = ?1 AND id = ?2 AND claim_token = ?3 AND state = 'running' AND stop_requested_at IS NULL";
/// A task with a stop request under this claim.
pub(super) const STOPPING: &str = "
    SELECT seq, state, claim_token, id, plugin, attempt, trace, created_at, started_at, webhook_on IS NOT NULL,
        stop_removes
    FROM task WHERE seq = ?1 AND id = ?2 AND claim_token = ?3 AND state = 'running' AND stop_requested_at IS NOT NULL";
pub(super) const KEEP: &str = "
    INSERT INTO log (seq, body) VALUES (?1, ?2)
    ON CONFLICT (seq) DO UPDATE SET body = excluded.body";

/// Bytes kept of the message of an attempt that was retried; a task has about a hundred at most.
const MESSAGE_BYTES_MAX: usize = 1 << 10;

#[derive(Debug)]
pub(super) struct Finish {
    pub(super) claim: Claim,
    pub(super) next: Transition,
    pub(super) log: Option<LogPart>,
    pub(super) now: Timestamp,
}

/// How a run counts when its task waits again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    /// As one step of an attempt that continues.
    Step,
    /// As an attempt.
    Attempt,
    /// As an attempt that a host crash ended.
    Crash,
    /// Not at all.
    Not,
}

/// How finishing a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finished {
    /// The transition was applied.
    Moved,
    /// The task had a stop request: it is cancelled or removed.
    Stopped,
    /// The claim was revoked; nothing changed.
    Lost,
}

impl Operation for Finish {
    type Answer = bool;
    const DURABLE: bool = true;

    fn cost(&self) -> u64 {
        let bytes = match &self.next {
            Transition::Completed(result) => result.len(),
            Transition::Suspended(_, state) => state.len(),
            _ => 0,
        };
        1 + large(bytes)
    }

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<bool> {
        Ok(self.finish(batch)? == Finished::Moved)
    }
}

/// Finishes a stopped run. Not durable: the stop request is, so recovery does it again after a power cut.
#[derive(Debug)]
pub(super) struct FinishStopped(pub(super) Finish);

impl Operation for FinishStopped {
    type Answer = bool;
    const DURABLE: bool = false;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<bool> {
        self.0.run(batch)
    }
}

impl Finish {
    /// Applies the transition, or the stop request if there is one.
    pub(super) fn finish(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Finished> {
        let to = self.next.state();
        if !TaskState::Running.may_become(to) {
            return Ok(Finished::Lost);
        }
        if !self.move_task(batch)? {
            return self.stop(batch);
        }
        batch.writer_state.observe_time(nanos(self.now));
        self.keep_log(batch, self.next != Transition::Requeued && !self.is_step())?;
        if to.is_final() {
            drop_checkpoint(batch, self.claim.seq)?;
            dependency::ended(batch, self.claim.seq, to, self.now)?;
            if self.claim.has_webhook {
                webhooks::begin(batch, self.claim.seq, to, self.now)?;
            }
        }
        batch.record_move(&self.claim.plugin, Some(TaskState::Running), Some(to));
        batch.turns.push(LiveChange::Ended { seq: self.claim.seq });
        self.trace(batch);
        batch.events.push(self.claim.report.event(self.change(), self.now));
        Ok(Finished::Moved)
    }

    /// Cancels or removes a task with a stop request.
    fn stop(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Finished> {
        let Claim { id, seq, token, .. } = &self.claim;
        let mut stopping = batch.connection.prepare_cached(STOPPING)?;
        let found = stopping
            .query_row(params![seq, id.as_bytes(), token], |row| Ok((cancellable(row)?, row.get(10)?)))
            .optional()?;
        drop(stopping);
        let Some(((seq, was, of, has_webhook), removes)) = found else { return Ok(Finished::Lost) };
        batch.writer_state.observe_time(nanos(self.now));
        let run = Some(&self.claim.report);
        if removes {
            remove(batch, seq, of, was, run, self.now)?;
        } else {
            self.keep_log(batch, !self.claim.report.is_resumed())?;
            cancel(batch, Cancelling { seq, of, was, has_webhook, run }, self.now)?;
        }
        Ok(Finished::Stopped)
    }

    /// Applies the transition; false if the claim was revoked or the task has a stop request.
    fn move_task(&self, batch: &mut Batch<'_>) -> rusqlite::Result<bool> {
        match &self.next {
            Transition::Completed(result) => self.end(batch, None, Some(result)),
            Transition::Failed(failure) => self.end(batch, Some(failure), None),
            Transition::Suspended(at, state) => {
                Ok(save(batch, &self.claim, state)? && self.wait(batch, Some(*at), None, Counted::Step)?)
            }
            Transition::RetryAt(at, failure) => {
                self.keep_attempt(batch, failure.cause, Some(&failure.message))?;
                self.wait(batch, Some(*at), Some(failure), Counted::Attempt)
            }
            Transition::Requeued => self.wait(batch, None, None, Counted::Not),
            Transition::Recovered => {
                self.keep_attempt(batch, Cause::HostCrash, None)?;
                self.wait(batch, None, None, Counted::Crash)
            }
        }
    }

    fn end(
        &self,
        batch: &Batch<'_>,
        failure: Option<&Failure>,
        result: Option<&String>,
    ) -> rusqlite::Result<bool> {
        let mut statement = batch.connection.prepare_cached(END)?;
        // The crash that fails a task counts like those before it.
        let last_crash = failure.is_some_and(|failure| failure.cause == Cause::HostCrash);
        let rows = statement.execute(params![
            self.claim.seq,
            self.claim.id.as_bytes(),
            self.claim.token,
            self.next.state().as_str(),
            nanos(self.now),
            failure.map(|failure| failure.cause.to_string()),
            failure.map(|failure| &failure.message),
            result,
            self.claim.report.digest(),
            last_crash,
            self.usage(),
        ])?;
        Ok(rows == 1)
    }

    /// Stores how the attempt ended, as the next one replaces it in the task.
    fn keep_attempt(&self, batch: &Batch<'_>, cause: Cause, message: Option<&str>) -> rusqlite::Result<()> {
        let message = message.map(|message| &message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)]);
        batch.connection.prepare_cached(ATTEMPT)?.execute(params![
            self.claim.seq,
            self.claim.id.as_bytes(),
            self.claim.token,
            cause.to_string(),
            message,
            nanos(self.now),
            self.claim.report.digest(),
        ])?;
        Ok(())
    }

    /// Makes the task wait: until a time, or at its old position in the queue; with a failure if it failed.
    fn wait(
        &self,
        batch: &mut Batch<'_>,
        until: Option<Timestamp>,
        failure: Option<&Failure>,
        counted: Counted,
    ) -> rusqlite::Result<bool> {
        let mut statement = batch.connection.prepare_cached(WAIT)?;
        let values = params![
            self.claim.seq,
            self.claim.id.as_bytes(),
            self.claim.token,
            until.map(nanos),
            failure.map(|failure| failure.cause.to_string()),
            failure.map(|failure| &failure.message),
            counted == Counted::Not,
            counted == Counted::Crash,
            self.claim.report.digest(),
            self.usage(),
            counted == Counted::Step,
            until.map(|until| nanos(until).saturating_sub(nanos(self.now)).max(0)),
            self.log.as_ref().map(|part| part.given().cast_signed()),
            self.next.state().as_str(),
        ];
        let waits = statement.query_row(values, |row| group(row, 0)).optional()?;
        drop(statement);
        if counted == Counted::Crash && waits.is_some() {
            self.leave_out_lines(batch)?;
        }
        if let Some(Some(group)) = &waits
            && self.next.state() == TaskState::Available
        {
            batch.fair_queue.add(&self.claim.plugin, group);
        }
        Ok(waits.is_some())
    }

    /// Skips the line numbers that may have been used by a host that died.
    fn leave_out_lines(&self, batch: &Batch<'_>) -> rusqlite::Result<()> {
        let connection = batch.connection;
        let given: i64 =
            connection.prepare_cached(LINES_GIVEN)?.query_one([self.claim.seq], |row| row.get(0))?;
        let after = LogLine::given_after_crash(given.unsigned_abs()).cast_signed();
        connection.prepare_cached(LEAVE_OUT_LINES)?.execute(params![self.claim.seq, after])?;
        Ok(())
    }

    /// Returns the usage of the attempt in stored form; none if the run does not count.
    fn usage(&self) -> Option<String> {
        if self.next == Transition::Requeued {
            return None;
        }
        self.claim.report.usage_at_end(self.now).map(|usage| usage::text(&usage))
    }

    /// Returns the event of this transition.
    fn change(&self) -> EventKind {
        match &self.next {
            Transition::Completed(_) => EventKind::Completed,
            Transition::Failed(failure) => EventKind::Failed(failure.cause),
            Transition::Suspended(at, _) => EventKind::Suspended(*at),
            Transition::RetryAt(at, _) => EventKind::Retrying(*at),
            Transition::Requeued | Transition::Recovered => EventKind::Retrying(self.now),
        }
    }

    /// Returns true if the run was one of several steps of its attempt, which share a log.
    fn is_step(&self) -> bool {
        matches!(self.next, Transition::Suspended(..)) || self.claim.report.is_resumed()
    }

    /// Records the span of the run, and of the task if it finished.
    fn trace(&self, batch: &mut Batch<'_>) {
        let of = self.claim.report.run_ref();
        if of.trace.is_none() {
            return;
        }
        let (outcome, failure) = match &self.next {
            Transition::Completed(_) => ("completed".to_owned(), None),
            Transition::Failed(failure) | Transition::RetryAt(_, failure) => {
                (failure.cause.to_string(), Some(failure.message.as_str()))
            }
            Transition::Suspended(..) => ("suspended".to_owned(), None),
            Transition::Requeued => ("requeued".to_owned(), None),
            Transition::Recovered => (Cause::HostCrash.to_string(), Some("the host died during the run")),
        };
        let digest = self.claim.report.digest();
        let end = RunEnd {
            at: self.now,
            outcome,
            failure,
            usage: self.claim.report.usage_of_run(self.now),
            digest: digest.as_deref(),
        };
        let tracer = &batch.live_runs.tracer;
        batch.spans.extend(of.run_span(tracer, end));
        let to = self.next.state();
        if to.is_final() {
            let failure = if let Transition::Failed(failure) = &self.next { Some(failure) } else { None };
            batch.spans.extend(of.task_span(tracer, to.as_str(), failure, self.now));
        }
    }

    /// Stores the log of the run. An empty one is recorded after earlier runs, whose text would pass for its
    /// own otherwise, but not for a run that does not count.
    fn keep_log(&self, batch: &Batch<'_>, counts: bool) -> rusqlite::Result<()> {
        let Claim { seq, token, .. } = self.claim;
        match &self.log {
            Some(part) => keep_log(batch, seq, token, part),
            None if token > 1 && counts => keep_log(batch, seq, token, &self.claim.report.empty_log()),
            None => Ok(()),
        }
    }
}

/// Appends the log of a run to that of the task.
pub(super) fn keep_log(batch: &Batch<'_>, seq: i64, token: i64, part: &LogPart) -> rusqlite::Result<()> {
    let mut kept = None;
    if token > 1 {
        let mut statement = batch.connection.prepare_cached(KEPT)?;
        kept = statement.query_row([seq], |row| row.get::<_, Vec<u8>>(0)).optional()?;
        if kept.is_none() && part.is_silent() {
            return Ok(());
        }
    }
    let body = Body(kept.as_deref().unwrap_or_default()).with(part);
    batch.connection.prepare_cached(KEEP)?.execute(params![seq, body])?;
    Ok(())
}

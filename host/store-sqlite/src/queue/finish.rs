//! Finishes a run, if its claim still holds. A task with a stop request is then cancelled or removed.

use rusqlite::{OptionalExtension, params};
use wasmill_model::{LogLine, ResultType, TaskState, Transition, WakeOn};
use wasmill_store::live::{Body, LiveChange};
use wasmill_store::rules::finish::{Finish, Finished, RunCount};
use wasmill_store::stored::wake_on;
use wasmill_store::{Claim, LogPart, stored};

use crate::content::task_files;
use crate::delivery::deliveries;
use crate::dependency::{children, record};
use crate::queue::cancel::{Cancelling, cancel, cancellable};
use crate::queue::post_event;
use crate::queue::remove::remove;
use crate::queue::save::{drop_leftovers, save};
use crate::read::rows::{group, nanos, seq};
use crate::writer::batch::{Batch, Operation, large};
use crate::writer::key_usage;

pub(crate) const END: &str = "
    UPDATE task SET state = ?4, finished_at = ?5, cause = ?6, message = ?7, result = ?8,
        plugin_digest = coalesce(?9, plugin_digest), host_crashes = host_crashes + ?10,
        usage = coalesce(?11, usage), result_type = ?12
    WHERE seq = ?1 AND id = ?2 AND claim_token = ?3 AND state = 'running' AND stop_requested_at IS NULL";
pub(crate) const WAIT: &str = "
    UPDATE task SET state = ?14, sort_key = sort_key + coalesce(?4, ready_at) - ready_at,
        ready_at = coalesce(?4, ready_at), wait_ns = ?12,
        started_at = iif(?11 OR (?7 AND suspensions > 0), started_at, NULL),
        suspensions = CASE WHEN ?11 THEN suspensions + 1 WHEN ?7 THEN suspensions ELSE 0 END,
        cause = coalesce(?5, cause), message = coalesce(?6, message),
        attempt = attempt - iif(suspensions = 0, ?7, 0), host_crashes = host_crashes + ?8,
        plugin_digest = coalesce(?9, plugin_digest), usage = coalesce(?10, usage),
        log_lines = coalesce(?13, log_lines), wake_on = ?15
    WHERE seq = ?1 AND id = ?2 AND claim_token = ?3 AND state = 'running' AND stop_requested_at IS NULL
    RETURNING task_group";
pub(crate) const LINES_GIVEN: &str = "SELECT log_lines FROM task WHERE seq = ?1";
pub(crate) const LEAVE_OUT_LINES: &str = "UPDATE task SET log_lines = ?2 WHERE seq = ?1";
pub(crate) const KEPT: &str = "SELECT body FROM log WHERE seq = ?1";
pub(crate) const ATTEMPT: &str = "
    INSERT OR REPLACE INTO attempt (seq, attempt, outcome, message, started_at, finished_at, plugin_digest)
    SELECT seq, attempt, ?4, ?5, started_at, ?6, ?7
    FROM task WHERE seq = ?1 AND id = ?2 AND claim_token = ?3 AND state = 'running' AND stop_requested_at IS NULL";
/// A task with a stop request under this claim.
pub(crate) const STOPPING: &str = "
    SELECT seq, state, claim_token, id, plugin, attempt, trace, created_at, started_at, webhook_on IS NOT NULL,
        limit_key, stop_removes
    FROM task WHERE seq = ?1 AND id = ?2 AND claim_token = ?3 AND state = 'running' AND stop_requested_at IS NOT NULL";
pub(crate) const KEEP: &str = "
    INSERT INTO log (seq, body) VALUES (?1, ?2)
    ON CONFLICT (seq) DO UPDATE SET body = excluded.body";

impl Operation for Finish {
    type Answer = bool;
    const DURABLE: bool = true;

    fn cost(&self) -> u64 {
        let bytes = match &self.next {
            Transition::Completed(result) => result.text.len(),
            Transition::Suspended(_, suspension) => suspension.state.len(),
            _ => 0,
        };
        1 + large(bytes)
    }

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<bool> {
        Ok(finish(batch, self)? == Finished::Moved)
    }
}

/// Finishes a stopped run. Not durable: the stop request is, so recovery does it again after a power cut.
#[derive(Debug)]
pub(crate) struct FinishStopped(pub(crate) Finish);

impl Operation for FinishStopped {
    type Answer = bool;
    const DURABLE: bool = false;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<bool> {
        self.0.run(batch)
    }
}

/// Applies the transition, or the stop request if there is one.
pub(crate) fn finish(batch: &mut Batch<'_>, run: &Finish) -> rusqlite::Result<Finished> {
    let (claim, to) = (&run.claim, run.next.state());
    if !TaskState::Running.may_become(to) {
        return Ok(Finished::Lost);
    }
    if !move_task(batch, run)? {
        return stop(batch, run);
    }
    let seq = seq(claim.task_ref());
    batch.writer_state.observe_time(nanos(run.now));
    if let Some(part) = run.log_to_keep() {
        keep_log(batch, claim, &part)?;
    }
    if to.is_final() {
        task_files::add_outputs(batch, claim, &run.outputs())?;
        drop_leftovers(batch, seq)?;
        record::ended(batch, seq, to, run.now)?;
        if claim.has_webhook() {
            deliveries::begin(batch, seq, to, run.now)?;
        }
    }
    let limit_key = claim.run().run_ref().limit_key.as_ref();
    if to.is_final() {
        key_usage::ended(batch, seq, limit_key)?;
    }
    batch.record_move(claim.plugin(), limit_key, Some(TaskState::Running), Some(to));
    batch.effects.live_changes.push(LiveChange::Ended(claim.id));
    batch.effects.spans.extend(run.spans(&batch.live_runs.tracer));
    batch.effects.events.push(claim.run().event(run.event(), run.now));
    Ok(Finished::Moved)
}

/// Cancels or removes a task with a stop request.
fn stop(batch: &mut Batch<'_>, finish: &Finish) -> rusqlite::Result<Finished> {
    let Finish { claim, now, .. } = finish;
    let mut stopping = batch.connection.prepare_cached(STOPPING)?;
    let found = stopping
        .query_row(params![seq(claim.task_ref()), claim.id.as_bytes(), claim.token()], |row| {
            Ok((cancellable(row)?, row.get(11)?))
        })
        .optional()?;
    drop(stopping);
    let Some(((seq, was, of, has_webhook), removes)) = found else { return Ok(Finished::Lost) };
    batch.writer_state.observe_time(nanos(*now));
    let run = Some(claim.run());
    if removes {
        remove(batch, seq, of, was, run, *now)?;
    } else {
        if let Some(part) = finish.log_to_keep_when_cancelled() {
            keep_log(batch, claim, &part)?;
        }
        cancel(batch, Cancelling { seq, of, was, has_webhook, run }, *now)?;
    }
    Ok(Finished::Stopped)
}

/// Applies the transition; false if the claim was revoked or the task has a stop request.
fn move_task(batch: &mut Batch<'_>, finish: &Finish) -> rusqlite::Result<bool> {
    let Some(count) = finish.count() else { return end(batch, finish) };
    if let Transition::Suspended(_, suspension) = &finish.next
        && !save(batch, &finish.claim, &suspension.state)?
    {
        return Ok(false);
    }
    keep_attempt(batch, finish)?;
    wait(batch, finish, count)
}

fn end(batch: &Batch<'_>, finish: &Finish) -> rusqlite::Result<bool> {
    let claim = &finish.claim;
    let (cause, message) = finish.failure().unzip();
    let result = if let Transition::Completed(result) = &finish.next { Some(result) } else { None };
    let result_type = result.and_then(|result| result.r#type.as_ref());
    let rows = batch.connection.prepare_cached(END)?.execute(params![
        seq(claim.task_ref()),
        claim.id.as_bytes(),
        claim.token(),
        finish.next.state().as_str(),
        nanos(finish.now),
        cause.map(|cause| cause.to_string()),
        message,
        result.map(|result| &result.text),
        claim.run().digest(),
        finish.is_crash(),
        finish.usage().map(|usage| stored::usage::text(&usage)),
        result_type.map(ResultType::to_string),
    ])?;
    Ok(rows == 1)
}

/// Stores how the attempt ended, if another one replaces it in the task.
fn keep_attempt(batch: &Batch<'_>, finish: &Finish) -> rusqlite::Result<()> {
    let Some((cause, message)) = finish.attempt_to_keep() else { return Ok(()) };
    let claim = &finish.claim;
    batch.connection.prepare_cached(ATTEMPT)?.execute(params![
        seq(claim.task_ref()),
        claim.id.as_bytes(),
        claim.token(),
        cause.to_string(),
        message,
        nanos(finish.now),
        claim.run().digest(),
    ])?;
    Ok(())
}

/// Makes the task wait: until a time, or at its old position in the queue.
fn wait(batch: &mut Batch<'_>, finish: &Finish, count: RunCount) -> rusqlite::Result<bool> {
    let claim = &finish.claim;
    let to = finish.next.state();
    let until = if is_awaited(batch, seq(claim.task_ref()), finish.wake_on())? {
        Some(finish.now)
    } else {
        finish.until()
    };
    let (cause, message) = finish.failure().unzip();
    let mut statement = batch.connection.prepare_cached(WAIT)?;
    let values = params![
        seq(claim.task_ref()),
        claim.id.as_bytes(),
        claim.token(),
        until.map(nanos),
        cause.map(|cause| cause.to_string()),
        message,
        count == RunCount::Not,
        finish.is_crash(),
        claim.run().digest(),
        finish.usage().map(|usage| stored::usage::text(&usage)),
        count == RunCount::Step,
        until.map(|until| nanos(until).saturating_sub(nanos(finish.now)).max(0)),
        finish.log.as_ref().map(|part| part.given().cast_signed()),
        to.as_str(),
        wake_on::bits(finish.wake_on()),
    ];
    let waits = statement.query_row(values, |row| group(row, 0)).optional()?;
    drop(statement);
    if count == RunCount::Crash && waits.is_some() {
        leave_out_lines(batch, seq(claim.task_ref()))?;
    }
    if let Some(Some(group)) = &waits
        && to == TaskState::Available
    {
        batch.fair_queue.add(claim.plugin(), group);
    }
    Ok(waits.is_some())
}

/// Returns true if a task is about to be suspended until what is there already.
fn is_awaited(batch: &Batch<'_>, seq: i64, wake_on: WakeOn) -> rusqlite::Result<bool> {
    if wake_on.event && post_event::has_any(batch, seq)? {
        return Ok(true);
    }
    Ok((wake_on.any_child || wake_on.all_children) && children::have_ended(batch, seq, wake_on)?)
}

/// Skips the line numbers that may have been used by a host that died.
fn leave_out_lines(batch: &Batch<'_>, seq: i64) -> rusqlite::Result<()> {
    let connection = batch.connection;
    let given: i64 = connection.prepare_cached(LINES_GIVEN)?.query_one([seq], |row| row.get(0))?;
    let after = LogLine::given_after_crash(given.unsigned_abs()).cast_signed();
    connection.prepare_cached(LEAVE_OUT_LINES)?.execute(params![seq, after])?;
    Ok(())
}

/// Appends the log of a run to that of its task.
fn keep_log(batch: &Batch<'_>, claim: &Claim, part: &LogPart) -> rusqlite::Result<()> {
    let seq = seq(claim.task_ref());
    let mut kept = None;
    if claim.token() > 1 {
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

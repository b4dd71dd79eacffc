//! Finishes a run, if its claim still holds. A task with a stop request is then cancelled or removed.

use async_trait::async_trait;
use wasmill_model::{LogLine, TaskState, Transition, WakeOn};
use wasmill_store::commit::large;
use wasmill_store::live::{Body, LiveChange};
use wasmill_store::rules::finish::{Finish, Finished, RunCount};
use wasmill_store::stored::{usage, wake_on};
use wasmill_store::{Claim, LogPart};

use crate::connection::fault::Result;
use crate::content::task_files;
use crate::delivery::deliveries;
use crate::dependency::{children, record};
use crate::queue::cancel::{Cancelling, cancel, cancellable};
use crate::queue::end_rows::EndRows;
use crate::queue::floors::lowering_floors;
use crate::queue::post_event;
use crate::queue::remove::remove;
use crate::queue::save::save;
use crate::read::rows::{get, host, nanos, seq, uuid};
use crate::writer::batch::{Batch, Operation};
use crate::writer::gathered::Gathered;
use crate::writer::key_usage;

const WAIT: &str = lowering_floors!(
    "
    WITH moved AS (UPDATE task SET state = $14, sort_key = sort_key + coalesce($4, ready_at) - ready_at,
        ready_at = coalesce($4, ready_at), wait_ns = $12,
        started_at = CASE WHEN $11 OR ($7 AND suspensions > 0) THEN started_at END,
        suspensions = CASE WHEN $11 THEN suspensions + 1 WHEN $7 THEN suspensions ELSE 0 END,
        cause = coalesce($5, cause), message = coalesce($6, message),
        attempt = attempt - CASE WHEN suspensions = 0 AND $7 THEN 1 ELSE 0 END, host_crashes = host_crashes + $8,
        plugin_digest = coalesce($9, plugin_digest), usage = coalesce($10, usage), log_lines = coalesce($13, log_lines),
        wake_on = $16
    WHERE seq = $1 AND id = $2 AND claim_token = $3 AND host = $15 AND state = 'running' AND stop_requested_at IS NULL
    RETURNING log_lines, plugin, task_group, state, sort_key, seq)",
    "SELECT log_lines FROM moved"
);
#[cfg(test)]
pub(crate) const EXPANDED: [&str; 1] = [WAIT];
const LEAVE_OUT_LINES: &str = "UPDATE task SET log_lines = $2 WHERE seq = $1";
const KEPT: &str = "SELECT body FROM log WHERE seq = $1";
const ATTEMPT: &str = "
    INSERT INTO attempt (seq, attempt, outcome, message, started_at, finished_at, plugin_digest)
    SELECT seq, attempt, $4, $5, started_at, $6, $7
    FROM task
    WHERE seq = $1 AND id = $2 AND claim_token = $3 AND host = $8 AND state = 'running' AND stop_requested_at IS NULL
    ON CONFLICT (seq, attempt) DO UPDATE SET outcome = excluded.outcome, message = excluded.message,
        started_at = excluded.started_at, finished_at = excluded.finished_at, plugin_digest = excluded.plugin_digest";
/// A task with a stop request under this claim.
const STOPPING: &str = "
    SELECT seq, state, claim_token, id, plugin, attempt, trace, created_at, started_at, webhook_on IS NOT NULL,
        limit_key, stop_removes
    FROM task
    WHERE seq = $1 AND id = $2 AND claim_token = $3 AND host = $4 AND state = 'running'
        AND stop_requested_at IS NOT NULL";
const KEEP: &str = "
    INSERT INTO log (seq, body) VALUES ($1, $2) ON CONFLICT (seq) DO UPDATE SET body = excluded.body";

#[async_trait]
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

    fn gather<'a>(&'a self, rows: &mut Gathered<'a>) {
        rows.ends.push(self);
    }

    async fn run(&self, batch: &mut Batch<'_>) -> Result<bool> {
        Ok(finish(batch, self).await? == Finished::Moved)
    }
}

/// Finishes a stopped run. Durable, though the stop request is: a crash of the server does not end this host, so
/// nobody would do it again.
#[derive(Debug)]
pub(crate) struct FinishStopped(pub(crate) Finish);

#[async_trait]
impl Operation for FinishStopped {
    type Answer = bool;
    const DURABLE: bool = true;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<bool> {
        self.0.run(batch).await
    }
}

/// Applies the transition, or the stop request if there is one.
pub(crate) async fn finish(batch: &mut Batch<'_>, run: &Finish) -> Result<Finished> {
    let (claim, to) = (&run.claim, run.next.state());
    if !TaskState::Running.may_become(to) {
        return Ok(Finished::Lost);
    }
    let seq = seq(claim.task_ref());
    let is_written = to.is_final() && batch.written.ended.remove(&seq);
    if !is_written && !move_task(batch, run).await? {
        return stop(batch, run).await;
    }
    batch.writer_state.observe_time(nanos(run.now));
    // The end of a first run has its log with it.
    if let Some(part) = run.log_to_keep().filter(|_| !(to.is_final() && EndRows::writes_log(run))) {
        keep_log(batch, claim, &part).await?;
    }
    if to.is_final() {
        task_files::add_outputs(batch, claim, &run.outputs()).await?;
        record::ended(batch, seq, to, run.now).await?;
        if claim.has_webhook() {
            deliveries::begin(batch, seq, to, run.now).await?;
        }
    }
    let limit_key = claim.run().run_ref().limit_key.as_ref();
    if to.is_final() {
        key_usage::ended(batch, seq, limit_key).await?;
    }
    batch.record_move(claim.plugin(), limit_key, Some(TaskState::Running), Some(to));
    batch.effects.live_changes.push(LiveChange::Ended(claim.id));
    batch.effects.spans.extend(run.spans(&batch.live_runs.tracer));
    batch.effects.events.push(claim.run().event(run.event(), run.now));
    Ok(Finished::Moved)
}

/// Cancels or removes a task with a stop request.
async fn stop(batch: &mut Batch<'_>, finish: &Finish) -> Result<Finished> {
    let Finish { claim, now, .. } = finish;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&seq(claim.task_ref()), &uuid(claim.id), &claim.token(), &host(claim.task_ref())];
    let Some(row) = batch.connection.optional(STOPPING, &values).await? else { return Ok(Finished::Lost) };
    let ((seq, was, of, has_webhook), removes): (_, bool) = (cancellable(&row)?, get(&row, 11)?);
    batch.writer_state.observe_time(nanos(*now));
    let run = Some(claim.run());
    if removes {
        remove(batch, seq, of, was, run, *now).await?;
    } else {
        if let Some(part) = finish.log_to_keep_when_cancelled() {
            keep_log(batch, claim, &part).await?;
        }
        cancel(batch, Cancelling { seq, of, was, has_webhook, run }, *now).await?;
    }
    Ok(Finished::Stopped)
}

/// Applies the transition; false if the claim was revoked or the task has a stop request.
async fn move_task(batch: &mut Batch<'_>, finish: &Finish) -> Result<bool> {
    let Some(count) = finish.count() else {
        let mut ends = EndRows::default();
        ends.push(finish);
        return Ok(!ends.write(batch.connection).await?.is_empty());
    };
    if let Transition::Suspended(_, suspension) = &finish.next
        && !save(batch, &finish.claim, &suspension.state).await?
    {
        return Ok(false);
    }
    keep_attempt(batch, finish).await?;
    wait(batch, finish, count).await
}

/// Stores how the attempt ended, if another one replaces it in the task.
async fn keep_attempt(batch: &Batch<'_>, finish: &Finish) -> Result<()> {
    let Some((cause, message)) = finish.attempt_to_keep() else { return Ok(()) };
    let claim = &finish.claim;
    batch
        .connection
        .execute(
            ATTEMPT,
            &[
                &seq(claim.task_ref()),
                &uuid(claim.id),
                &claim.token(),
                &cause.to_string(),
                &message.map(str::as_bytes),
                &nanos(finish.now),
                &claim.run().digest().as_deref(),
                &host(claim.task_ref()),
            ],
        )
        .await?;
    Ok(())
}

/// Makes the task wait: until a time, or at its old position in the queue.
async fn wait(batch: &mut Batch<'_>, finish: &Finish, count: RunCount) -> Result<bool> {
    let claim = &finish.claim;
    let is_awaited = is_awaited(batch, seq(claim.task_ref()), finish.wake_on()).await?;
    let until = if is_awaited { Some(finish.now) } else { finish.until() };
    let (cause, message) = finish.failure().unzip();
    let waits = batch
        .connection
        .optional(
            WAIT,
            &[
                &seq(claim.task_ref()),
                &uuid(claim.id),
                &claim.token(),
                &until.map(nanos),
                &cause.map(|cause| cause.to_string()),
                &message.map(str::as_bytes),
                &(count == RunCount::Not),
                &i64::from(finish.is_crash()),
                &claim.run().digest().as_deref(),
                &finish.usage().map(|used| usage::text(&used)),
                &(count == RunCount::Step),
                &until.map(|until| nanos(until).saturating_sub(nanos(finish.now)).max(0)),
                &finish.log.as_ref().map(|part| part.given().cast_signed()),
                &finish.next.state().as_str(),
                &host(claim.task_ref()),
                &wake_on::bits(finish.wake_on()),
            ],
        )
        .await?;
    let Some(row) = waits else { return Ok(false) };
    if count == RunCount::Crash {
        // Skips the line numbers that may have been used by a host that died.
        let given: i64 = get(&row, 0)?;
        let after = LogLine::given_after_crash(given.unsigned_abs()).cast_signed();
        batch.connection.execute(LEAVE_OUT_LINES, &[&seq(claim.task_ref()), &after]).await?;
    }
    Ok(true)
}

/// Returns true if a task is about to be suspended until what is there already.
async fn is_awaited(batch: &Batch<'_>, seq: i64, wake_on: WakeOn) -> Result<bool> {
    if wake_on.event && post_event::has_any(batch, seq).await? {
        return Ok(true);
    }
    Ok((wake_on.any_child || wake_on.all_children) && children::have_ended(batch, seq, wake_on).await?)
}

/// Appends the log of a run to that of its task.
async fn keep_log(batch: &Batch<'_>, claim: &Claim, part: &LogPart) -> Result<()> {
    let seq = seq(claim.task_ref());
    let mut kept: Option<Vec<u8>> = None;
    if claim.token() > 1 {
        if let Some(row) = batch.connection.optional(KEPT, &[&seq]).await? {
            kept = Some(get(&row, 0)?);
        }
        if kept.is_none() && part.is_silent() {
            return Ok(());
        }
    }
    let body = Body(kept.as_deref().unwrap_or_default()).with(part);
    batch.connection.execute(KEEP, &[&seq, &body]).await?;
    Ok(())
}

//! Recovery on open: what happens to tasks that ran when the host died.

use rusqlite::{Connection, Row};
use wasmill_model::{
    AttemptCounts, Backoff, PluginName, RetryOn, RunOutcome, TaskId, TaskState, Timestamp, Tracer,
    Transition, fault_point,
};

use super::batch::Batch;
use super::fault::is_of_value;
use super::finish::{Finish, Finished};
use super::rows::{is_waiting, nanos, parsed, traced};
use super::writer_state::WriterState;
use super::{clock_skew, dependency_resolution, events, plugin_counts, quarantine, webhooks};
use crate::live_runs::LiveRuns;
use crate::run_ref::RunRef;
use crate::{Claim, Recovery};

// Read from indexes of unfinished tasks: finished ones cost an opening nothing.
pub(super) const COUNT_WAITING: &str =
    concat!("SELECT count(*) FROM task INDEXED BY task_waiting WHERE ", is_waiting!());
pub(super) const COUNT_RUNNING: &str =
    "SELECT count(*) FROM task INDEXED BY task_running WHERE state = 'running'";
// The row id of a recorded end must not be reused for another task. Dependents have larger ids than that.
pub(super) const SEQ_NEXT: &str = "
    SELECT max(coalesce((SELECT max(seq) FROM task), 0), coalesce((SELECT max(seq) FROM dependency_end), 0)) + 1";
pub(super) const DEPENDED_ON: &str = "
    SELECT EXISTS (SELECT 1 FROM dependency INDEXED BY dependency_on WHERE on_seq IS NOT NULL)";
pub(super) const SETTLING: &str = "SELECT EXISTS (SELECT 1 FROM dependency_end)";
pub(super) const RUNNING: &str = "
    SELECT id, seq, claim_token, attempt, attempts_max, host_crashes, plugin, trace, created_at, started_at,
        webhook_on IS NOT NULL
    FROM task INDEXED BY task_running WHERE state = 'running'";

/// Finishes the attempt of every running task in one durable transaction, and counts waiting tasks.
pub(super) fn recover(
    connection: &Connection,
    now: Timestamp,
    tracer: &Tracer,
) -> rusqlite::Result<(Recovery, WriterState)> {
    connection.execute_batch("PRAGMA synchronous = FULL")?;
    let transaction = connection.unchecked_transaction()?;
    // Reported progress was lost with the host.
    let live_runs = LiveRuns::new(0, tracer.clone());
    let writer_state = writer_state(&transaction)?;
    // Nobody has subscribed yet, so events are dropped.
    let mut batch = Batch::new(&transaction, writer_state, &live_runs);
    let mut recovery = Recovery::default();
    let (crashed, damaged) = crashed(&transaction, &live_runs, now)?;
    for (seq, error) in damaged {
        quarantine::fail(&mut batch, seq, TaskState::Running, &error, now)?;
        recovery.failed += 1;
    }
    for finish in crashed {
        match (finish.finish(&mut batch)?, &finish.next) {
            (Finished::Moved, Transition::Failed(_)) => recovery.failed += 1,
            (Finished::Moved, _) => recovery.requeued += 1,
            (Finished::Stopped | Finished::Lost, _) => recovery.stopped += 1,
        }
    }
    dependency_resolution::resolve(&mut batch)?;
    events::begin(&mut batch)?;
    plugin_counts::write(&transaction, &batch.count_delta)?;
    let (mut writer_state, spans) = (batch.writer_state, batch.spans);
    writer_state.claimed_at = nanos(now);
    recovery.shortened = clock_skew::open(&transaction, &mut writer_state, nanos(now))? as u64;
    webhooks::shorten_waits(&transaction, nanos(now))?;
    fault_point!("recovered, not committed");
    transaction.commit()?;
    tracer.record(spans);
    fault_point!("recovery committed, nothing serves");
    recovery.waiting = writer_state.waiting;
    Ok((recovery, writer_state))
}

fn writer_state(connection: &Connection) -> rusqlite::Result<WriterState> {
    let read = |sql: &str| connection.query_one(sql, [], |row| row.get::<_, i64>(0));
    Ok(WriterState {
        waiting: read(COUNT_WAITING)?.cast_unsigned(),
        running: read(COUNT_RUNNING)?.cast_unsigned(),
        seq_next: read(SEQ_NEXT)?,
        has_dependents: read(DEPENDED_ON)? > 0,
        has_unresolved_ends: read(SETTLING)? > 0,
        ..WriterState::default()
    })
}

/// Running tasks, and running tasks that cannot be decoded.
type Crashed = (Vec<Finish>, Vec<(i64, rusqlite::Error)>);

fn crashed(connection: &Connection, live_runs: &LiveRuns, now: Timestamp) -> rusqlite::Result<Crashed> {
    let mut statement = connection.prepare(RUNNING)?;
    let (mut finishes, mut damaged) = (Vec::new(), Vec::new());
    let mut rows = statement.query([])?;
    let finish = |row: &Row<'_>| {
        let used = AttemptCounts {
            attempt: row.get(3)?,
            attempts_max: row.get(4)?,
            host_crashes: row.get(5)?,
            // Irrelevant: a host crash is not a failure of the task.
            retry_on: RetryOn::default(),
        };
        let next = Transition::after(RunOutcome::HostCrashed, used, now, Backoff::default(), 0.0);
        let (id, seq, token) = (TaskId::from_bytes(row.get(0)?), row.get(1)?, row.get(2)?);
        let plugin: PluginName = parsed(row, 6)?;
        let of =
            RunRef { task: id, plugin: plugin.clone(), attempt: used.attempt, token, trace: traced(row, 7)? };
        let report = live_runs.run(of, None);
        let claim = Claim { id, seq, plugin, token, report, has_webhook: row.get(10)? };
        Ok(Finish { claim, next, log: None, now })
    };
    while let Some(row) = rows.next()? {
        match finish(row) {
            Ok(one) => finishes.push(one),
            Err(error) if is_of_value(&error) => damaged.push((row.get(1)?, error)),
            Err(error) => return Err(error),
        }
    }
    Ok((finishes, damaged))
}

//! Recovery on open: what happens to tasks that ran when the host died.

use rusqlite::{Connection, Row};
use wasmill_model::{
    AttemptCounts, Backoff, RetryOn, RunOutcome, TaskId, TaskState, Timestamp, Tracer, Transition,
    fault_point,
};
use wasmill_store::commit::WriterState;
use wasmill_store::live::{LiveRuns, RunRef};
use wasmill_store::rules::finish::{Finish, Finished};
use wasmill_store::{Claim, Recovery};

use crate::content::unused;
use crate::delivery::deliveries;
use crate::dependency::resolution;
use crate::file::fault::is_of_value;
use crate::queue::finish;
use crate::read::rows::{is_later, nanos, parsed, task_ref, traced};
use crate::writer::batch::Batch;
use crate::writer::{clock_skew, events, key_usage, plugin_counts, quarantine};

// Read from indexes of unfinished tasks: finished ones cost an opening nothing.
pub(crate) const COUNT_WAITING: &str = concat!(
    "SELECT (SELECT count(*) FROM task INDEXED BY task_available WHERE state = 'available')
        + (SELECT count(*) FROM task INDEXED BY task_later WHERE ",
    is_later!(),
    ")"
);
pub(crate) const COUNT_RUNNING: &str =
    "SELECT count(*) FROM task INDEXED BY task_rare WHERE state = 'running'";
// The row id of a recorded end must not be reused for another task. Dependents have larger ids than that.
pub(crate) const SEQ_NEXT: &str = "
    SELECT max(coalesce((SELECT max(seq) FROM task), 0), coalesce((SELECT max(seq) FROM dependency_end), 0)) + 1";
pub(crate) const DEPENDED_ON: &str = "
    SELECT EXISTS (SELECT 1 FROM dependency INDEXED BY dependency_on WHERE on_seq IS NOT NULL)";
pub(crate) const LEFTOVERS: &str = "
    SELECT EXISTS (SELECT 1 FROM checkpoint) OR EXISTS (SELECT 1 FROM posted_event)";
pub(crate) const SETTLING: &str = "SELECT EXISTS (SELECT 1 FROM dependency_end)";
pub(crate) const RUNNING: &str = "
    SELECT id, seq, claim_token, attempt, attempts_max, host_crashes, plugin, trace, created_at, started_at,
        webhook_on IS NOT NULL, limit_key
    FROM task INDEXED BY task_rare WHERE state = 'running'";

/// Finishes the attempt of every running task in one durable transaction, and counts waiting tasks.
pub(crate) fn recover(
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
    for crash in crashed {
        match (finish::finish(&mut batch, &crash)?, &crash.next) {
            (Finished::Moved, Transition::Failed(_)) => recovery.failed += 1,
            (Finished::Moved, _) => recovery.requeued += 1,
            (Finished::Stopped | Finished::Lost, _) => recovery.stopped += 1,
        }
    }
    resolution::resolve(&mut batch)?;
    events::begin(&mut batch)?;
    plugin_counts::write(&transaction, &batch.effects.count_delta)?;
    key_usage::write(&transaction, &batch.effects.key_delta)?;
    let (mut writer_state, spans) = (batch.writer_state, batch.effects.spans);
    writer_state.claimed_at = nanos(now);
    recovery.shortened = clock_skew::open(&transaction, &mut writer_state, nanos(now))? as u64;
    deliveries::shorten_waits(&transaction, nanos(now))?;
    transaction.execute(unused::RELEASE_ALL, [])?;
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
        has_leftovers: read(LEFTOVERS)? > 0,
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
        let of = RunRef {
            task: TaskId::from_bytes(row.get(0)?),
            plugin: parsed(row, 6)?,
            limit_key: row.get(11)?,
            attempt: used.attempt,
            token: row.get(2)?,
            trace: traced(row, 7)?,
        };
        let claim = Claim::new(task_ref(row.get(1)?), live_runs.run(of, None), row.get(10)?);
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

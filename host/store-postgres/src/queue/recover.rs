//! Recovery on open: what happens to tasks that ran when the host died.

use tokio_postgres::Row;
use wasmill_model::{
    AttemptCounts, Backoff, RetryOn, RunOutcome, TaskState, Timestamp, Tracer, Transition, fault_point,
};
use wasmill_store::commit::WriterState;
use wasmill_store::live::{LiveRuns, RunRef};
use wasmill_store::rules::finish::{Finish, Finished};
use wasmill_store::{Claim, Recovery};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::delivery::deliveries;
use crate::dependency::resolution;
use crate::queue::finish;
use crate::read::rows::{get, nanos, number, parsed, task_id, task_ref, traced};
use crate::writer::batch::Batch;
use crate::writer::{clock_skew, events, plugin_counts, quarantine};

const COUNTS: &str = "
    SELECT (SELECT count(*) FROM task WHERE state IN ('available', 'scheduled', 'suspended', 'blocked')),
        (SELECT count(*) FROM task WHERE state = 'running'),
        EXISTS (SELECT FROM dependency WHERE on_seq IS NOT NULL), EXISTS (SELECT FROM dependency_end)";
const RUNNING: &str = "
    SELECT seq, claim_token, id, plugin, attempt, trace, created_at, started_at, attempts_max, host_crashes,
        webhook_on IS NOT NULL
    FROM task WHERE state = 'running' ORDER BY seq";

/// Finishes the attempt of every running task in the open transaction, and counts waiting tasks.
pub(crate) async fn recover(
    connection: &Connection,
    now: Timestamp,
    tracer: &Tracer,
) -> Result<(Recovery, WriterState)> {
    // Reported progress was lost with the host.
    let live_runs = LiveRuns::new(0, tracer.clone());
    // Nobody has subscribed yet, so events are dropped.
    let mut batch = Batch::new(connection, writer_state(connection).await?, &live_runs);
    let mut recovery = Recovery::default();
    for row in connection.query(RUNNING, &[]).await? {
        let crash = match crashed(&row, &live_runs, now) {
            Err(error) if error.is_of_value() => {
                quarantine::fail(&mut batch, get(&row, 0)?, TaskState::Running, &error, now).await?;
                recovery.failed += 1;
                continue;
            }
            crash => crash?,
        };
        match (finish::finish(&mut batch, &crash).await?, &crash.next) {
            (Finished::Moved, Transition::Failed(_)) => recovery.failed += 1,
            (Finished::Moved, _) => recovery.requeued += 1,
            (Finished::Stopped | Finished::Lost, _) => recovery.stopped += 1,
        }
    }
    resolution::resolve(&mut batch).await?;
    events::begin(&mut batch).await?;
    plugin_counts::write(connection, &batch.effects.count_delta).await?;
    let (mut writer_state, spans) = (batch.writer_state, batch.effects.spans);
    writer_state.claimed_at = nanos(now);
    recovery.shortened = clock_skew::open(connection, &mut writer_state, nanos(now)).await?;
    deliveries::shorten_waits(connection, nanos(now)).await?;
    fault_point!("recovered, not committed");
    connection.batch("COMMIT").await?;
    tracer.record(spans);
    fault_point!("recovery committed, nothing serves");
    recovery.waiting = writer_state.waiting;
    Ok((recovery, writer_state))
}

async fn writer_state(connection: &Connection) -> Result<WriterState> {
    let row = connection.one(COUNTS, &[]).await?;
    Ok(WriterState {
        waiting: number(&row, 0)?,
        running: number(&row, 1)?,
        has_dependents: get(&row, 2)?,
        has_unresolved_ends: get(&row, 3)?,
        ..WriterState::default()
    })
}

fn crashed(row: &Row, live_runs: &LiveRuns, now: Timestamp) -> Result<Finish> {
    let used = AttemptCounts {
        attempt: number(row, 4)?,
        attempts_max: number(row, 8)?,
        host_crashes: number(row, 9)?,
        // Irrelevant: a host crash is not a failure of the task.
        retry_on: RetryOn::default(),
    };
    let next = Transition::after(RunOutcome::HostCrashed, used, now, Backoff::default(), 0.0);
    let of = RunRef {
        task: task_id(row, 2)?,
        plugin: parsed(row, 3)?,
        attempt: used.attempt,
        token: get(row, 1)?,
        trace: traced(row, 5)?,
    };
    let claim = Claim::new(task_ref(get(row, 0)?), live_runs.run(of, None), get(row, 10)?);
    Ok(Finish { claim, next, log: None, now })
}

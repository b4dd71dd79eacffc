//! Recovery: what happens to tasks that ran when their host died.

use tokio_postgres::Row;
use wasmill_model::{AttemptCounts, Backoff, RetryOn, RunOutcome, TaskState, Timestamp, Transition};
use wasmill_store::live::{LiveRuns, RunRef};
use wasmill_store::rules::finish::{Finish, Finished};
use wasmill_store::{Claim, Recovery};

use crate::connection::fault::Result;
use crate::content::unused;
use crate::queue::finish;
use crate::read::rows::{claim_ref, get, limit_key, number, parsed, task_id, traced};
use crate::writer::batch::Batch;
use crate::writer::quarantine;

/// Tasks that run at a host that is not live.
const RUNNING: &str = "
    SELECT seq, claim_token, id, plugin, attempt, trace, created_at, started_at, attempts_max, host_crashes,
        webhook_on IS NOT NULL, coalesce(host, 0), limit_key
    FROM task
    WHERE state = 'running' AND NOT EXISTS (SELECT FROM host WHERE host.id = task.host AND host.is_live)
    ORDER BY seq LIMIT $1";

/// Finishes the attempts of up to `tasks_max` tasks whose host is dead.
pub(crate) async fn recover(batch: &mut Batch<'_>, now: Timestamp, tasks_max: i64) -> Result<Recovery> {
    let mut recovery = Recovery::default();
    unused::release(batch.connection).await?;
    for row in batch.connection.query(RUNNING, &[&tasks_max]).await? {
        let crash = match crashed(&row, batch.live_runs, now) {
            Err(error) if error.is_of_value() => {
                quarantine::fail(batch, get(&row, 0)?, TaskState::Running, &error, now).await?;
                recovery.failed += 1;
                continue;
            }
            crash => crash?,
        };
        match (finish::finish(batch, &crash).await?, &crash.next) {
            (Finished::Moved, Transition::Failed(_)) => recovery.failed += 1,
            (Finished::Moved, _) => recovery.requeued += 1,
            (Finished::Stopped | Finished::Lost, _) => recovery.stopped += 1,
        }
    }
    Ok(recovery)
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
        limit_key: limit_key(row, 12)?,
        attempt: used.attempt,
        token: get(row, 1)?,
        trace: traced(row, 5)?,
    };
    let task_ref = claim_ref(get(row, 0)?, get(row, 11)?);
    let claim = Claim::new(task_ref, live_runs.run(of, None), get(row, 10)?);
    Ok(Finish { claim, next, log: None, now })
}

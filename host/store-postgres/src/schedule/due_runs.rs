//! Starts runs of a schedule: one operation stores their tasks and advances the schedule.

use async_trait::async_trait;
use wasmill_model::{NewTask, ScheduleName, TaskId, Timestamp};
use wasmill_store::{
    DueOutcome, DueRuns, IdempotencyKey, RunNowOutcome, StoreError, Submitted, SubmittedTask,
};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::queue::idempotency;
use crate::queue::insert::Insert;
use crate::read::rows::{nanos, size, task_id, uuid};
use crate::schedule::schedules::{is_key_taken, one};
use crate::writer::batch::{Batch, Operation};

/// An unfinished task of the schedule.
const LIVE: &str = "SELECT id FROM task WHERE schedule = $1 AND finished_at IS NULL LIMIT 1";
const FIRED: &str = "
    UPDATE schedule SET next_at = $2, evaluated_until = $3,
        last_due = CASE WHEN $5::bigint IS NULL THEN last_due ELSE $4 END,
        last_at = coalesce($5, last_at), last_task = coalesce($6, last_task), runs = runs + $7,
        skipped = skipped + $8, last_error = NULL, revision = revision + 1
    WHERE name = $1";
const RAN: &str =
    "UPDATE schedule SET last_due = NULL, last_at = $2, last_task = $3, runs = runs + 1 WHERE name = $1";

/// Starts due runs.
#[derive(Debug)]
pub(crate) struct FireDue {
    pub(crate) run_due: DueRuns,
    pub(crate) waiting_max: u64,
}

#[async_trait]
impl Operation for FireDue {
    type Answer = DueOutcome;
    const DURABLE: bool = true;

    fn cost(&self) -> u64 {
        1 + self.run_due.runs.len() as u64
    }

    async fn run(&self, batch: &mut Batch<'_>) -> Result<DueOutcome> {
        let Self { run_due, waiting_max } = self;
        let schedule = one(batch.connection, &run_due.name).await?;
        let is_same = |revision, created_at| revision == run_due.revision && created_at == run_due.created_at;
        let Some(schedule) =
            schedule.filter(|found| !found.paused && is_same(found.revision, found.created_at))
        else {
            return Ok(DueOutcome::Changed);
        };
        let is_busy = !schedule.overlap && live(batch.connection, &run_due.name).await?.is_some();
        let (mut started, mut skipped) = (Vec::new(), run_due.skipped);
        let (mut reached, mut refused) = (None, None);
        for (due, task) in &run_due.runs {
            if is_busy || (!schedule.overlap && !started.is_empty()) {
                skipped += 1;
            } else {
                match store(batch, task, *waiting_max).await? {
                    Ok(SubmittedTask { holder: None, id, .. }) => started.push((*due, id)),
                    Ok(_) => skipped += 1,
                    Err(refusal) if is_key_taken(&refusal) => skipped += 1,
                    Err(refusal) => {
                        refused = Some((*due, refusal));
                        break;
                    }
                }
            }
            reached = Some(*due);
        }
        let (mut evaluated_until, mut next_at) = (run_due.evaluated_until, run_due.next_at);
        if let Some((due, refusal)) = refused {
            // Counting a refusal as progress would retry it at once, forever.
            let Some(reached) = reached else { return Ok(DueOutcome::Refused(refusal)) };
            (evaluated_until, next_at) = (reached, Some(due));
        }
        let last = started.last();
        batch
            .connection
            .execute(
                FIRED,
                &[
                    &run_due.name.as_str(),
                    &next_at.map(nanos),
                    &nanos(evaluated_until),
                    &last.map(|(due, _)| nanos(*due)),
                    &last.map(|_| nanos(run_due.now)),
                    &last.map(|(_, id)| uuid(*id)),
                    &size(started.len()),
                    &skipped.cast_signed(),
                ],
            )
            .await?;
        Ok(DueOutcome::Started { started, skipped })
    }
}

/// Starts a manual run; the next due time stays as it is.
#[derive(Debug)]
pub(crate) struct RunNow {
    pub(crate) name: ScheduleName,
    pub(crate) task: NewTask,
    /// The idempotency key of the request.
    pub(crate) request: Option<IdempotencyKey>,
    pub(crate) waiting_max: u64,
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Operation for RunNow {
    type Answer = std::result::Result<RunNowOutcome, StoreError>;
    const DURABLE: bool = true;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<Self::Answer> {
        if let Some(request) = &self.request
            && let Some(answered) = idempotency::find(batch.connection, request, self.now).await?
        {
            return Ok(answered.map(RunNowOutcome::Replayed));
        }
        let Some(schedule) = one(batch.connection, &self.name).await? else {
            return Ok(Ok(RunNowOutcome::NotFound));
        };
        if !schedule.overlap
            && let Some(live) = live(batch.connection, &self.name).await?
        {
            return Ok(Ok(RunNowOutcome::Busy(live)));
        }
        let task = match store(batch, &self.task, self.waiting_max).await? {
            Ok(task) => task,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if task.holder.is_none() {
            batch.connection.execute(RAN, &[&self.name.as_str(), &nanos(self.now), &uuid(task.id)]).await?;
        }
        if let Some(request) = &self.request {
            idempotency::keep(batch.connection, request, &[task], self.now).await?;
        }
        Ok(Ok(RunNowOutcome::Started(task)))
    }
}

async fn live(connection: &Connection, name: &ScheduleName) -> Result<Option<TaskId>> {
    let row = connection.optional(LIVE, &[&name.as_str()]).await?;
    row.map(|row| task_id(&row, 0)).transpose()
}

/// Stores one task like a submit.
async fn store(
    batch: &mut Batch<'_>,
    task: &NewTask,
    waiting_max: u64,
) -> Result<std::result::Result<SubmittedTask, StoreError>> {
    let insert = Insert { tasks: vec![task.clone()], waiting_max, request: None };
    let missing = || StoreError::Unavailable { message: "a task was stored without an answer".to_owned() };
    let first = |Submitted { tasks, .. }| tasks.into_iter().next().ok_or_else(missing);
    Ok(insert.run(batch).await?.and_then(first))
}

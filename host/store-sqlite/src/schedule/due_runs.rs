//! Starts runs of a schedule: one operation stores their tasks and advances the schedule.

use rusqlite::{Connection, OptionalExtension, params};
use wasmill_model::{NewTask, ScheduleName, TaskId, Timestamp};
use wasmill_store::{
    DueOutcome, DueRuns, IdempotencyKey, RunNowOutcome, StoreError, Submitted, SubmittedTask,
};

use crate::queue::idempotency;
use crate::queue::insert::Insert;
use crate::read::rows::nanos;
use crate::schedule::schedules::{is_key_taken, one};
use crate::writer::batch::{Batch, Operation};

/// An unfinished task of the schedule.
pub(crate) const LIVE: &str = "
    SELECT id FROM task INDEXED BY task_unfinished_of_schedule
    WHERE schedule = ?1 AND schedule IS NOT NULL AND finished_at IS NULL LIMIT 1";
pub(crate) const FIRED: &str = "
    UPDATE schedule SET next_at = ?2, evaluated_until = ?3, last_due = iif(?5 IS NULL, last_due, ?4),
        last_at = coalesce(?5, last_at), last_task = coalesce(?6, last_task), runs = runs + ?7,
        skipped = skipped + ?8, last_error = NULL, revision = revision + 1
    WHERE name = ?1";
pub(crate) const RAN: &str = "
    UPDATE schedule SET last_due = NULL, last_at = ?2, last_task = ?3, runs = runs + 1 WHERE name = ?1";

/// Starts due runs.
#[derive(Debug)]
pub(crate) struct FireDue {
    pub(crate) run_due: DueRuns,
    pub(crate) waiting_max: u64,
}

impl Operation for FireDue {
    type Answer = DueOutcome;
    const DURABLE: bool = true;

    fn cost(&self) -> u64 {
        1 + self.run_due.runs.len() as u64
    }

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<DueOutcome> {
        let Self { run_due, waiting_max } = self;
        let schedule = one(batch.connection, &run_due.name)?;
        let is_same = |revision, created_at| revision == run_due.revision && created_at == run_due.created_at;
        let Some(schedule) =
            schedule.filter(|found| !found.paused && is_same(found.revision, found.created_at))
        else {
            return Ok(DueOutcome::Changed);
        };
        let is_busy = !schedule.overlap && live(batch.connection, &run_due.name)?.is_some();
        let (mut started, mut skipped) = (Vec::new(), run_due.skipped);
        let (mut reached, mut refused) = (None, None);
        for (due, task) in &run_due.runs {
            if is_busy || (!schedule.overlap && !started.is_empty()) {
                skipped += 1;
            } else {
                match store(batch, task, *waiting_max)? {
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
        batch.connection.prepare_cached(FIRED)?.execute(params![
            run_due.name.as_str(),
            next_at.map(nanos),
            nanos(evaluated_until),
            last.map(|(due, _)| nanos(*due)),
            last.map(|_| nanos(run_due.now)),
            last.map(|(_, id)| *id.as_bytes()),
            started.len() as i64,
            skipped.cast_signed(),
        ])?;
        Ok(DueOutcome::Started { started, skipped })
    }
}

/// Starts a manual run; the next due time stays as it is.
#[derive(Debug)]
pub(crate) struct RunNow {
    pub(crate) name: ScheduleName,
    pub(crate) task: NewTask,
    pub(crate) request: Option<IdempotencyKey>,
    pub(crate) waiting_max: u64,
    pub(crate) now: Timestamp,
}

impl Operation for RunNow {
    type Answer = Result<RunNowOutcome, StoreError>;
    const DURABLE: bool = true;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Self::Answer> {
        if let Some(request) = &self.request
            && let Some(answered) = idempotency::find(batch.connection, request, self.now)?
        {
            return Ok(answered.map(RunNowOutcome::Replayed));
        }
        let Some(schedule) = one(batch.connection, &self.name)? else {
            return Ok(Ok(RunNowOutcome::NotFound));
        };
        if !schedule.overlap
            && let Some(live) = live(batch.connection, &self.name)?
        {
            return Ok(Ok(RunNowOutcome::Busy(live)));
        }
        let task = match store(batch, &self.task, self.waiting_max)? {
            Ok(task) => task,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if task.holder.is_none() {
            let ran = params![self.name.as_str(), nanos(self.now), task.id.as_bytes()];
            batch.connection.prepare_cached(RAN)?.execute(ran)?;
        }
        if let Some(request) = &self.request {
            idempotency::keep(batch.connection, request, &[task], self.now)?;
        }
        Ok(Ok(RunNowOutcome::Started(task)))
    }
}

fn live(connection: &Connection, name: &ScheduleName) -> rusqlite::Result<Option<TaskId>> {
    let mut live = connection.prepare_cached(LIVE)?;
    live.query_row([name.as_str()], |row| Ok(TaskId::from_bytes(row.get(0)?))).optional()
}

/// Stores one task like a submit.
fn store(
    batch: &mut Batch<'_>,
    task: &NewTask,
    waiting_max: u64,
) -> rusqlite::Result<Result<SubmittedTask, StoreError>> {
    let insert = Insert { tasks: vec![task.clone()], waiting_max, request: None };
    let missing = || StoreError::Unavailable { message: "a task was stored without an answer".to_owned() };
    let first = |Submitted { tasks, .. }| tasks.into_iter().next().ok_or_else(missing);
    Ok(insert.run(batch)?.and_then(first))
}

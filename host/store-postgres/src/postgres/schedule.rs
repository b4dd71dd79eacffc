//! The operations of schedules.

use async_trait::async_trait;
use wasmill_model::{NewTask, ScheduleName, Timestamp};
use wasmill_store::{
    DueOutcome, DueRuns, IdempotencyKey, NewSchedule, PutOutcome, RemoveScheduleOutcome, RunNowOutcome,
    Schedule, Schedules, StoreError,
};

use crate::postgres::Postgres;
use crate::schedule::due_runs::{FireDue, RunNow};
use crate::schedule::schedules::{self, PauseSchedule, PutSchedule, RecordScheduleError, RemoveSchedule};

#[async_trait]
impl Schedules for Postgres {
    async fn put_schedule(
        &self,
        new: NewSchedule,
        limit: u64,
        now: Timestamp,
    ) -> Result<PutOutcome, StoreError> {
        self.writer.write(PutSchedule { new, limit, now }).await
    }

    async fn remove_schedule(
        &self,
        name: ScheduleName,
        from_manifest: bool,
    ) -> Result<RemoveScheduleOutcome, StoreError> {
        self.writer.write(RemoveSchedule { name, from_manifest }).await
    }

    async fn pause_schedule(
        &self,
        name: ScheduleName,
        paused: bool,
        now: Timestamp,
    ) -> Result<Option<Schedule>, StoreError> {
        self.writer.write(PauseSchedule { name, paused, now }).await
    }

    async fn schedules(&self) -> Result<Vec<Schedule>, StoreError> {
        self.readers.read(async move |connection| schedules::all(&connection).await).await
    }

    async fn schedule(&self, name: ScheduleName) -> Result<Option<Schedule>, StoreError> {
        self.readers.read(async move |connection| schedules::one(&connection, &name).await).await
    }

    async fn due_schedules(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<ScheduleName>, Option<Timestamp>), StoreError> {
        self.readers.read(async move |connection| schedules::due(&connection, now, limit).await).await
    }

    async fn run_due(&self, run_due: DueRuns) -> Result<DueOutcome, StoreError> {
        self.writer.write(FireDue { run_due, waiting_max: self.waiting_max }).await
    }

    async fn run_now(
        &self,
        name: ScheduleName,
        task: NewTask,
        request: Option<IdempotencyKey>,
        now: Timestamp,
    ) -> Result<RunNowOutcome, StoreError> {
        self.writer.write(RunNow { name, task, request, waiting_max: self.waiting_max, now }).await?
    }

    async fn record_schedule_error(&self, schedule: Schedule, error: String) -> Result<(), StoreError> {
        self.writer.write(RecordScheduleError { schedule, error }).await
    }
}

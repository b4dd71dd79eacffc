//! Schedules and their due runs.

use wasmill_model::{NewTask, ScheduleName, Timestamp};

use crate::{
    DueOutcome, DueRuns, IdempotencyKey, NewSchedule, PutOutcome, RemoveScheduleOutcome, RunNowOutcome,
    Schedule, StoreError,
};

/// Schedules and their due runs. See [`Backend`](crate::Backend) for what holds for every method.
#[async_trait::async_trait]
pub trait Schedules {
    /// Creates a schedule or replaces one of its name that is managed the same way; durable on return. There
    /// may be `limit` schedules, and a tenth of that within one [space](ScheduleName::space). A replacement with the same timing stays due if the schedule was due.
    async fn put_schedule(
        &self,
        new: NewSchedule,
        limit: u64,
        now: Timestamp,
    ) -> Result<PutOutcome, StoreError>;

    /// Removes a schedule that is managed this way; durable on return. Its tasks stay.
    async fn remove_schedule(
        &self,
        name: ScheduleName,
        from_manifest: bool,
    ) -> Result<RemoveScheduleOutcome, StoreError>;

    /// Pauses or resumes a schedule; durable on return. Runs that were due during a pause are skipped.
    /// Returns the schedule, if it exists.
    async fn pause_schedule(
        &self,
        name: ScheduleName,
        paused: bool,
        now: Timestamp,
    ) -> Result<Option<Schedule>, StoreError>;

    /// Returns all schedules by name, without their task requests.
    async fn schedules(&self) -> Result<Vec<Schedule>, StoreError>;

    /// Returns a schedule.
    async fn schedule(&self, name: ScheduleName) -> Result<Option<Schedule>, StoreError>;

    /// Returns up to `limit` due schedules, longest due first, and when the next one becomes due.
    async fn due_schedules(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<(Vec<ScheduleName>, Option<Timestamp>), StoreError>;

    /// Stores the tasks of due runs and advances their schedule, both or neither; durable on return.
    async fn run_due(&self, run_due: DueRuns) -> Result<DueOutcome, StoreError>;

    /// Stores the task of a manual run; durable on return. A request with a known idempotency key starts
    /// nothing.
    ///
    /// # Errors
    ///
    /// Those of [`TaskQueue::submit`](crate::TaskQueue::submit).
    async fn run_now(
        &self,
        name: ScheduleName,
        task: NewTask,
        request: Option<IdempotencyKey>,
        now: Timestamp,
    ) -> Result<RunNowOutcome, StoreError>;

    /// Records why a due schedule could not run, until it runs or changes. Not durable.
    async fn record_schedule_error(&self, schedule: Schedule, error: String) -> Result<(), StoreError>;
}

//! Schedules and the outcomes of operations on them. Plain data only.

use wasmill_model::{
    InvalidTiming, MissedPolicy, NewTask, PluginName, ScheduleName, TaskId, Timestamp, Timing,
};

use crate::{StoreError, Submitted, SubmittedTask};

/// The share of all schedules that keys of one reach may have, as a divisor.
pub const SPACE_SHARE: u64 = 10;

/// A validated schedule to store.
#[derive(Clone, Debug, PartialEq)]
pub struct NewSchedule {
    /// Its name.
    pub name: ScheduleName,
    /// Whether the manifest of the plugin of this name manages it; otherwise the API does.
    pub from_manifest: bool,
    /// When its runs are due.
    pub timing: Timing,
    /// Policy for missed runs.
    pub missed: MissedPolicy,
    /// Whether a run may start while the task of an earlier one is unfinished.
    pub overlap: bool,
    /// The task request as JSON.
    pub task: String,
    /// The plugin of the request.
    pub plugin: PluginName,
}

/// A stored schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Its name.
    pub name: ScheduleName,
    /// Whether the manifest of the plugin of this name manages it.
    pub from_manifest: bool,
    /// The cron expression.
    pub cron: String,
    /// Name of the time zone of the expression.
    pub timezone: String,
    /// Policy for missed runs.
    pub missed: MissedPolicy,
    /// Whether a run may start while the task of an earlier one is unfinished.
    pub overlap: bool,
    /// The task request as JSON; `None` in lists.
    pub task: Option<String>,
    /// The plugin of the request.
    pub plugin: PluginName,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last replaced.
    pub changed_at: Timestamp,
    /// Grows with each change.
    pub revision: i64,
    /// Whether it is paused.
    pub paused: bool,
    /// Next run; in the past if it could not start yet, `None` if there is none.
    pub next_at: Option<Timestamp>,
    /// Its newest run.
    pub last: Option<LastRun>,
    /// Number of started runs.
    pub runs: u64,
    /// Number of skipped runs: missed, or due while an earlier one was unfinished.
    pub skipped: u64,
    /// Why the due run could not start.
    pub last_error: Option<String>,
}

impl Schedule {
    /// Parses the timing.
    ///
    /// # Errors
    ///
    /// Fails if this build does not know the time zone.
    pub fn timing(&self) -> Result<Timing, InvalidTiming> {
        Timing::of(&self.cron, &self.timezone)
    }
}

/// The newest run of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRun {
    /// When it was due; `None` for a manual run.
    pub due: Option<Timestamp>,
    /// When its task was created.
    pub at: Timestamp,
    /// Its task, which may have been removed.
    pub task: TaskId,
}

/// How putting a schedule ended.
#[derive(Clone, Debug, PartialEq)]
pub enum PutOutcome {
    /// A new schedule was created.
    Created(Schedule),
    /// The schedule was replaced.
    Replaced(Schedule),
    /// A schedule of this name is managed the other way, by the API or by a manifest, and was left unchanged.
    NameTaken,
    /// The limit of schedules is reached.
    TooMany,
}

/// How removing a schedule ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveScheduleOutcome {
    /// The schedule is removed.
    Removed,
    /// There is no such schedule.
    NotFound,
    /// The schedule is managed by a manifest (or by the API) and was left unchanged.
    ManagedElsewhere,
}

/// The due runs of a schedule, planned from a snapshot of it.
#[derive(Clone, Debug)]
pub struct DueRuns {
    /// The schedule.
    pub name: ScheduleName,
    /// When the schedule was created.
    pub created_at: Timestamp,
    /// Revision of the snapshot; nothing is done if it has changed since.
    pub revision: i64,
    /// Due time and task of each run, oldest first.
    pub runs: Vec<(Timestamp, NewTask)>,
    /// Number of earlier runs that are skipped.
    pub skipped: u64,
    /// The newest due time that this covers.
    pub evaluated_until: Timestamp,
    /// Next run after that.
    pub next_at: Option<Timestamp>,
    /// What time it is.
    pub now: Timestamp,
}

/// How starting due runs ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DueOutcome {
    /// The runs were started, as far as the queue had room.
    Started {
        /// Due time and task of each started run.
        started: Vec<(Timestamp, TaskId)>,
        /// Number of skipped runs.
        skipped: u64,
    },
    /// The schedule was changed or removed; nothing was done.
    Changed,
    /// The first run was refused because the queue is full; nothing was done.
    Refused(StoreError),
}

/// How a manual run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunNowOutcome {
    /// Its task is stored, or the holder of its unique key is returned if the request allows it.
    Started(SubmittedTask),
    /// The request was made before; this is its answer, and nothing was done.
    Replayed(Submitted),
    /// There is no such schedule.
    NotFound,
    /// This task of the schedule is unfinished, and runs must not overlap.
    Busy(TaskId),
}

//! What the store keeps of schedules, and what it answers about them. Plain data.

use wasmill_model::{
    InvalidTiming, MissedPolicy, NewTask, PluginName, ScheduleName, TaskId, Timestamp, Timing,
};

use crate::{StoreError, Submitted, SubmittedTask};

/// A schedule that was checked and may be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct NewSchedule {
    /// Its name.
    pub name: ScheduleName,
    /// Whether the manifest of the plugin of this name brings it; else somebody asked for it.
    pub from_manifest: bool,
    /// When it is due.
    pub timing: Timing,
    /// What becomes of runs that it missed.
    pub missed: MissedPolicy,
    /// Whether a run starts while a task of an earlier one waits or runs.
    pub overlap: bool,
    /// The request for its tasks, as JSON.
    pub task: String,
    /// The plugin that this names.
    pub plugin: PluginName,
}

/// A stored schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Its name.
    pub name: ScheduleName,
    /// Whether the manifest of the plugin of this name brought it.
    pub from_manifest: bool,
    /// The cron expression.
    pub cron: String,
    /// The name of the time zone in which it is meant.
    pub timezone: String,
    /// What becomes of runs that it missed.
    pub missed: MissedPolicy,
    /// Whether a run starts while a task of an earlier one waits or runs.
    pub overlap: bool,
    /// The request for its tasks, as JSON; `None` in lists.
    pub task: Option<String>,
    /// The plugin that this names.
    pub plugin: PluginName,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last replaced by another of its name.
    pub changed_at: Timestamp,
    /// Counts its changes.
    pub revision: i64,
    /// Whether it is held back.
    pub paused: bool,
    /// When it is due; in the past if it could not run yet, `None` if it never will be again.
    pub next_at: Option<Timestamp>,
    /// Its newest run.
    pub last: Option<LastRun>,
    /// How many runs were started.
    pub runs: u64,
    /// How many were left out: missed, or while an earlier one went on.
    pub skipped: u64,
    /// Why it is due and has not run.
    pub last_error: Option<String>,
}

impl Schedule {
    /// Reads when it is due.
    ///
    /// # Errors
    ///
    /// Fails if this build does not know the time zone any more.
    pub fn timing(&self) -> Result<Timing, InvalidTiming> {
        Timing::of(&self.cron, &self.timezone)
    }
}

/// The newest run of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRun {
    /// When it was due; `None` if it was asked for by hand.
    pub due: Option<Timestamp>,
    /// When its task was made.
    pub at: Timestamp,
    /// Its task, which may be gone.
    pub task: TaskId,
}

/// What became of a schedule that was put.
#[derive(Clone, Debug, PartialEq)]
pub enum PutOutcome {
    /// It is new.
    Created(Schedule),
    /// It took the place of another.
    Replaced(Schedule),
    /// One of this name is there and stays: a manifest brought it, or for a manifest, somebody asked for it.
    NameTaken,
    /// There are too many.
    TooMany,
}

/// What became of a schedule that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveScheduleOutcome {
    /// It is gone.
    Removed,
    /// There was none.
    NotFound,
    /// It came the other way, and stays.
    ManagedElsewhere,
}

/// Runs of a schedule that are due, as its state was when they were planned.
#[derive(Clone, Debug)]
pub struct DueRuns {
    /// The schedule.
    pub name: ScheduleName,
    /// When the schedule was made.
    pub created_at: Timestamp,
    /// Its state: if it has changed since, nothing is done.
    pub revision: i64,
    /// When each run was due, and its task, the oldest first.
    pub runs: Vec<(Timestamp, NewTask)>,
    /// How many before these are left out.
    pub skipped: u64,
    /// The newest moment that this settles.
    pub evaluated_until: Timestamp,
    /// When the schedule is due after that.
    pub next_at: Option<Timestamp>,
    /// What time it is.
    pub now: Timestamp,
}

/// What became of runs that were due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DueOutcome {
    /// It is settled, as far as there was room.
    Started {
        /// When each run that was started was due, and its task.
        started: Vec<(Timestamp, TaskId)>,
        /// How many were left out.
        skipped: u64,
    },
    /// The schedule is gone or has changed, and nothing was done.
    Changed,
    /// The first run was refused, as there is no room for its task, and nothing was done.
    Refused(StoreError),
}

/// What became of a run that was asked for by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunNowOutcome {
    /// Its task is stored; or the one that holds its unique key, if the request wants that.
    Started(SubmittedTask),
    /// The same request has come before: this was its answer, and nothing was done.
    Replayed(Submitted),
    /// There is no such schedule.
    NotFound,
    /// This task of the schedule still waits or runs, and there is to be one at a time.
    Busy(TaskId),
}

//! Claims: the right to run a task, and how claims, cancels and removals end.

use std::sync::Arc;
use std::time::Duration;

use wasmill_model::{
    Backoff, FilesFrom, Meter, PluginName, Progress, Rate, RunTrace, TaskId, TaskState, Timestamp, Usage,
};

use crate::TaskRef;
use crate::live::{LiveRun, RunLog};

/// The right to run one attempt of a task and to store its outcome.
///
/// It is revoked when the task is cancelled, removed or recovered; a write with a revoked claim changes
/// nothing.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The claimed task.
    pub id: TaskId,
    task_ref: TaskRef,
    run: LiveRun,
    has_webhook: bool,
}

impl Claim {
    /// Builds the claim of a run, of a task that the backend keeps here and that may have a webhook.
    pub fn new(task_ref: TaskRef, run: LiveRun, has_webhook: bool) -> Self {
        Self { id: run.run_ref().task, task_ref, run, has_webhook }
    }

    /// Returns where the backend keeps the task.
    pub fn task_ref(&self) -> TaskRef {
        self.task_ref
    }

    /// Returns the plugin of the task.
    pub fn plugin(&self) -> &PluginName {
        &self.run.run_ref().plugin
    }

    /// Returns the claim number of the task. It grows with each claim, so it fences late writes of earlier ones.
    pub fn token(&self) -> i64 {
        self.run.run_ref().token
    }

    /// Returns true if the task has a webhook.
    pub fn has_webhook(&self) -> bool {
        self.has_webhook
    }

    /// Returns what the run reports.
    pub fn run(&self) -> &LiveRun {
        &self.run
    }

    /// Sets the progress of a running attempt, in memory only. Has no effect once the claim has ended.
    pub fn set_progress(&self, progress: Progress) {
        self.run.set_progress(progress);
    }

    /// Records the digest of the plugin that the task runs: in memory while it runs, stored when the attempt
    /// ends. Has no effect once the claim has ended.
    pub fn set_digest(&self, digest: Arc<str>) {
        self.run.set_digest(digest);
    }

    /// Returns the log of the run. Lines are readable at once and stored when the run ends.
    pub fn log(&self) -> &RunLog {
        self.run.log()
    }

    /// Returns the meter of this attempt. Its values are shown with the task and stored when the attempt
    /// ends.
    pub fn meter(&self) -> &Meter {
        self.run.meter()
    }

    /// Returns the trace of the attempt, if it has one.
    pub fn trace(&self) -> Option<&RunTrace> {
        self.run.trace()
    }

    /// Returns the number of the newest posted event that the run has taken; 0 for none.
    pub fn events_taken(&self) -> u64 {
        self.run.events_taken()
    }

    /// Records that the run has taken the posted events up to this number: what it saves from now on knows of them.
    pub fn take_events(&self, number: u64) {
        self.run.take_events(number);
    }

    /// Returns the usage of this run if it ended at `now`, without earlier runs of a suspended attempt.
    pub fn usage(&self, now: Timestamp) -> Usage {
        self.run.usage_of_run(now).unwrap_or_default()
    }
}

/// How much of one plugin a claim may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimQuota {
    /// The plugin.
    pub plugin: PluginName,
    /// Maximum number of its tasks.
    pub tasks_max: usize,
    /// Expected memory of one run, subtracted from the memory available to the claim.
    pub memory_bytes: u64,
    /// How many of its tasks may run at once on all hosts; `None` if only the slots limit them.
    pub concurrency: Option<usize>,
    /// How often its tasks may start on all hosts. Its [starts](crate::TaskQueue::recent_starts) are recorded.
    pub rate: Option<Rate>,
}

/// Builds a quota without limits of its own.
impl From<PluginName> for ClaimQuota {
    fn from(plugin: PluginName) -> Self {
        Self { plugin, tasks_max: usize::MAX, memory_bytes: 0, concurrency: None, rate: None }
    }
}

/// A claimed task with everything its run needs.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The right to finish this attempt.
    pub claim: Claim,
    /// The plugin that runs it.
    pub plugin: PluginName,
    /// How long the task had been available.
    pub queue: Duration,
    /// Attempt number, from 1.
    pub attempt: u32,
    /// Maximum attempts, the first included.
    pub attempts_max: u32,
    /// How many earlier attempts ended in a host crash.
    pub host_crashes: u32,
    /// Wall-clock limit of one attempt.
    pub timeout: Duration,
    /// Waits between attempts; `None` for the default of the host.
    pub backoff: Option<Backoff>,
    /// Input as JSON text.
    pub input: Option<String>,
    /// Whether files came with the task; [`Files::files`](crate::Files::files) lists them.
    pub has_files: bool,
    /// Whether the run gets the [results of its dependencies](crate::TaskQueue::dependency_results).
    pub pass_results: bool,
    /// Whether the run gets the [files of its dependencies](crate::Files::dependency_files).
    pub files_from: Option<FilesFrom>,
    /// The checkpoint of the task.
    pub checkpoint: Checkpoint,
}

/// What is known of the checkpoint of a task when it is claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// There is none: the task never ran.
    None,
    /// The state it was suspended with.
    State(Vec<u8>),
    /// There may be one; [`TaskQueue::restore`](crate::TaskQueue::restore) loads it.
    NotLoaded,
}

/// The outcome of a claim.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// The claimed tasks in queue order.
    pub claimed: Vec<Claimed>,
    /// When the next scheduled task becomes available, if the claim took fewer tasks than it could.
    pub next_ready_at: Option<Timestamp>,
    /// Whether the claim stopped at a task that did not fit into the available memory.
    pub lacked_memory: bool,
}

/// How a cancel request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The task does not exist.
    NotFound,
    /// The task had already finished in this state; nothing changed.
    AlreadyFinal(TaskState),
    /// The task is cancelled.
    Cancelled {
        /// Its state before.
        was: TaskState,
    },
    /// The task is running. It becomes cancelled when its run ends, whatever the outcome, or when the store
    /// is opened next.
    Stopping {
        /// The [token](Claim::token) of the running claim.
        token: i64,
    },
}

/// How a remove request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveOutcome {
    /// The task does not exist.
    NotFound,
    /// The task is removed.
    Removed {
        /// Its state before.
        was: TaskState,
    },
    /// The task is running. It is removed when its run ends, or when the store is opened next.
    Stopping {
        /// The [token](Claim::token) of the running claim.
        token: i64,
    },
}

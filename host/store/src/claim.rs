//! What the scheduler holds while a task runs, and how a claim begins and ends.

use std::time::Duration;

use wasmill_model::{Backoff, Meter, PluginName, RunTrace, TaskId, TaskState, Timestamp, Usage};

use crate::RunLog;
use crate::live_runs::LiveRun;

/// The right to run one attempt of a task and to write its end.
///
/// It is lost when the task is cancelled, removed or recovered; whatever is written with a lost
/// claim changes nothing.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The task.
    pub id: TaskId,
    pub(crate) seq: i64,
    pub(crate) plugin: PluginName,
    /// How often the task had been claimed with this claim counted, so that no two are alike.
    pub(crate) token: i64,
    pub(crate) report: LiveRun,
    /// Whether a receiver may have to be told of the end of the task.
    pub(crate) has_webhook: bool,
}

impl Claim {
    /// Returns which claim of the task it is: later ones have larger numbers, and no two the same.
    pub fn token(&self) -> i64 {
        self.token
    }

    /// Returns the log of the run: what is written to it can be read at once, and is stored with the end of
    /// the run.
    pub fn log(&self) -> &RunLog {
        self.report.log()
    }

    /// Returns the meter of this attempt: what it shows is read with the task, and stored with its end.
    pub fn meter(&self) -> &Meter {
        self.report.meter()
    }

    /// Returns the trace that the attempt is part of, if it is part of one.
    pub fn trace(&self) -> Option<&RunTrace> {
        self.report.trace()
    }

    /// Returns what the run has used, if it ends now; not what its attempt used before it was suspended.
    pub fn usage(&self, now: Timestamp) -> Usage {
        self.report.usage_of_run(now).unwrap_or_default()
    }
}

/// How many tasks of one plugin a claim may bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimQuota {
    /// The plugin.
    pub plugin: PluginName,
    /// The most tasks of it.
    pub tasks_max: usize,
    /// What each of them takes of the room there is.
    pub memory_bytes: u64,
    /// For how long its [starts](crate::Store::starts) are kept, if they are to be.
    pub rate_span: Option<Duration>,
}

/// Makes a share that only the claim as a whole bounds.
impl From<PluginName> for ClaimQuota {
    fn from(plugin: PluginName) -> Self {
        Self { plugin, tasks_max: usize::MAX, memory_bytes: 0, rate_span: None }
    }
}

/// A task that was claimed, with all that its run needs.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The right to end this attempt.
    pub claim: Claim,
    /// The plugin that does it.
    pub plugin: PluginName,
    /// How long it had been ready.
    pub queue: Duration,
    /// The number of this attempt; the first is 1.
    pub attempt: u32,
    /// How often a failure is attempted in all.
    pub attempts_max: u32,
    /// How many earlier attempts ended because the host died.
    pub host_crashes: u32,
    /// The wall-clock time of one attempt.
    pub timeout: Duration,
    /// The waits between its attempts; `None` for those of the host.
    pub backoff: Option<Backoff>,
    /// The JSON text handed to the plugin.
    pub input: Option<String>,
    /// Whether it is to be [handed](crate::Store::handed) the results of the tasks that it waited for.
    pub pass_results: bool,
    /// What it has saved.
    pub checkpoint: Checkpoint,
}

/// What a task has saved by the time it is claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// Nothing: it never ran before.
    None,
    /// The state in which it suspended.
    State(Vec<u8>),
    /// It may have saved something, which is not read until it [asks](crate::Store::restore) for it.
    NotLoaded,
}

/// What a claim brought.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// The tasks, in the order of the line.
    pub claimed: Vec<Claimed>,
    /// When the next task becomes ready, if fewer than asked for were and another one waits.
    pub next_ready_at: Option<Timestamp>,
    /// Whether there was no room for the next task in the line.
    pub lacked_memory: bool,
}

/// What became of a wish to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// There is no such task.
    NotFound,
    /// The task had ended before, like this; nothing changed.
    AlreadyFinal(TaskState),
    /// The task is cancelled now.
    Cancelled {
        /// The state it was in.
        was: TaskState,
    },
    /// The task runs. It is cancelled when its run has ended, whatever that comes to, or by the next opening of
    /// the store.
    Stopping {
        /// The [token](Claim::token) of its claim.
        token: i64,
    },
}

/// What became of a wish to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveOutcome {
    /// There is no such task.
    NotFound,
    /// The task is gone.
    Removed {
        /// The state it was in.
        was: TaskState,
    },
    /// The task runs. It is removed when its run has ended, or by the next opening of the store.
    Stopping {
        /// The [token](Claim::token) of its claim.
        token: i64,
    },
}

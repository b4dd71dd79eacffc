//! The seam between the scheduler, which decides that a task runs, and the runtime, which runs it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    DependencyResult, Failure, LogStream, Meter, PluginName, Progress, Rate, RetryOn, RunTrace, TaskId,
};

/// A future on the heap that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One attempt at one task.
pub struct RunRequest {
    /// The task.
    pub task: TaskId,
    /// The plugin to run.
    pub plugin: PluginName,
    /// The number of this attempt; the first is 1.
    pub attempt: u32,
    /// How often a failure is attempted in all.
    pub attempts_max: u32,
    /// The JSON text of the task's input, if it has one.
    pub input: Option<String>,
    /// What the guest may ask of the host during the run.
    pub host: Arc<dyn RunHost>,
    /// Whether it is [handed](RunHost::handed) the results of the tasks that its own one waited for.
    pub pass_results: bool,
}

impl fmt::Debug for RunRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("task", &self.task)
            .field("plugin", &self.plugin)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// What a run came to, if it did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunStep {
    /// The task is done, with this result.
    Done(String),
    /// The task is to go on later: until then it holds nothing.
    Suspended(Suspension),
}

/// When a suspended task goes on, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// How long it is suspended.
    pub wait: Duration,
    /// What its next step gets back, as it gets a checkpoint.
    pub state: Vec<u8>,
}

/// The version of a plugin that a run is bound to, whatever becomes of its file meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The SHA-256 of its file, in hexadecimal.
    pub digest: Arc<str>,
    /// Bytes of log kept of the run; the newest are kept.
    pub log_bytes: u64,
}

/// Runs tasks: the wasmtime runtime, or a scripted one in the scheduler's tests.
pub trait Runner: Send + Sync + 'static {
    /// Runs one attempt, or one step of it, and returns what it came to or why it failed.
    ///
    /// Dropping the future stops the run: when the drop returns, the guest no longer exists. The
    /// future gives its thread back within one [`Runner::interrupt`], also in an endless loop.
    fn run(&self, run: RunRequest) -> BoxFuture<'static, Result<RunStep, Failure>>;

    /// Asks every guest that computes right now to give its thread back at once.
    fn interrupt(&self);

    /// Returns the plugins that can run now.
    fn plugins(&self) -> Vec<PluginName>;

    /// Returns how many tasks of a plugin may run at the same time, or `None` if only the slots
    /// bound them.
    fn concurrency(&self, _plugin: &PluginName) -> Option<usize> {
        None
    }

    /// Returns how many tasks of a plugin may start in a span of time, or `None` if any number may.
    fn rate(&self, _plugin: &PluginName) -> Option<Rate> {
        None
    }

    /// Returns which failures of a plugin are attempted again.
    fn retry_on(&self, _plugin: &PluginName) -> RetryOn {
        RetryOn::default()
    }

    /// Returns the bytes of memory that are left for further runs.
    fn available_memory(&self) -> u64 {
        u64::MAX
    }

    /// Returns the bytes of memory that one more run of a plugin is expected to take: never more than
    /// [`Runner::available_memory`] says when nothing runs, so that there is always room for one.
    fn expected_memory(&self, _plugin: &PluginName) -> u64 {
        0
    }
}

/// What a guest asks of the host during its run.
pub trait RunHost: Send + Sync {
    /// Notes which version of the plugin runs. Called once, before the guest is made; cheap, and
    /// durable with the end of the run.
    fn pin(&self, _pinned: &Pinned) {}

    /// Returns the meter that what the run uses is to be counted with; `None` if nobody wants to know.
    fn meter(&self) -> Option<&Meter> {
        None
    }

    /// Returns the trace that the run is part of, for what it asks of others; `None` if it is part of none.
    fn trace(&self) -> Option<&RunTrace> {
        None
    }

    /// Notes that the run ends now because the host has no memory left for it. The task is not to blame,
    /// and what the run returns counts for nothing.
    fn evicted(&self) {}

    /// Says whether the run was asked to stop: it is to put things in order before it is stopped.
    fn is_asked_to_stop(&self) -> bool {
        false
    }

    /// Waits until the run is asked to stop.
    fn asked_to_stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// Returns how the tasks ended that the task waited for, in the order in which they were named.
    ///
    /// # Errors
    ///
    /// Says why they cannot be handed over; the run cannot go on.
    fn dependency_results(&self) -> BoxFuture<'_, Result<Vec<DependencyResult>, Failure>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Keeps the latest progress; cheap, never durable.
    fn progress(&self, progress: Progress);

    /// Appends to the log of the run what the guest wrote to stdout or stderr; bounded, and never waits.
    fn log(&self, stream: LogStream, written: &[u8]);

    /// Makes a checkpoint durable; the next attempt gets it back.
    ///
    /// # Errors
    ///
    /// Says in words for the guest why the checkpoint was not kept.
    fn save(&self, state: Vec<u8>) -> BoxFuture<'_, Result<(), String>>;

    /// Returns the latest checkpoint of the task, of this attempt or an earlier one.
    ///
    /// # Errors
    ///
    /// Says why it could not be read; the run cannot go on.
    fn restore(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>>;
}

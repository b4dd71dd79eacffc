//! The interface between the scheduler, which decides that a task runs, and the runtime, which runs it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    Child, ChildrenError, ContentId, DependencyResult, Failure, LogStream, Meter, NewChild, OutputFile,
    PluginName, PostedEvent, Progress, Rate, RetryOn, RunTrace, TaskFile, TaskId, TaskResult, WakeOn,
};

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A request to run an attempt of a task.
pub struct RunRequest {
    /// The task to run.
    pub task: TaskId,
    /// The plugin to run.
    pub plugin: PluginName,
    /// Attempt number, from 1.
    pub attempt: u32,
    /// Maximum attempts, the first included.
    pub attempts_max: u32,
    /// Input as JSON text.
    pub input: Option<String>,
    /// What the guest can ask of the host during the run.
    pub host: Arc<dyn RunHost>,
    /// Whether the run gets the [results of its dependencies](RunHost::dependency_results).
    pub pass_results: bool,
    /// Whether files of its dependencies are among its [input files](RunHost::input_files).
    pub pass_files: bool,
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

/// The outcome of a run that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunStep {
    /// The task completed with this result.
    Done(TaskResult),
    /// The task is suspended; until it resumes it holds no instance.
    Suspended(Suspension),
}

/// Until when a task is suspended, and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// Time until it resumes.
    pub wait: Duration,
    /// What resumes it earlier.
    pub wake_on: WakeOn,
    /// State that the next step gets back, like a checkpoint.
    pub state: Vec<u8>,
}

/// The version of a plugin that a run is pinned to, even if its file changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// SHA-256 of the file in hexadecimal.
    pub digest: Arc<str>,
    /// Maximum bytes of log to keep; the newest are kept.
    pub log_bytes: u64,
}

/// Runs tasks: the wasmtime runtime, or a scripted runner in tests of the scheduler.
pub trait Runner: Send + Sync + 'static {
    /// Runs an attempt, or one step of it, and returns its outcome.
    ///
    /// Dropping the future stops the run: once the drop returns, the guest is gone. The future yields within
    /// one [`Runner::interrupt`], even in an endless loop.
    fn run(&self, run: RunRequest) -> BoxFuture<'static, Result<RunStep, Failure>>;

    /// Makes every guest that is computing yield at once.
    fn interrupt(&self);

    /// Returns the plugins that can run.
    fn plugins(&self) -> Vec<PluginName>;

    /// Returns how many tasks of a plugin may run at once; `None` if only the slots limit them.
    fn concurrency(&self, _plugin: &PluginName) -> Option<usize> {
        None
    }

    /// Returns the rate limit of a plugin, if it has one.
    fn rate(&self, _plugin: &PluginName) -> Option<Rate> {
        None
    }

    /// Returns which failures of a plugin are retried.
    fn retry_on(&self, _plugin: &PluginName) -> RetryOn {
        RetryOn::default()
    }

    /// Returns the bytes of memory available for further runs.
    fn available_memory(&self) -> u64 {
        u64::MAX
    }

    /// Returns the bytes of memory that another run of a plugin is expected to use: never more than
    /// [`Runner::available_memory`] returns when nothing is running, so one run always fits.
    fn expected_memory(&self, _plugin: &PluginName) -> u64 {
        0
    }
}

/// What a guest can ask of the host during its run.
pub trait RunHost: Send + Sync {
    /// Records which plugin version runs. Called once, before the guest is created; cheap, and stored when
    /// the run ends.
    fn pin(&self, _pinned: &Pinned) {}

    /// Returns the meter that counts the usage of the run; `None` if nobody reads it.
    fn meter(&self) -> Option<&Meter> {
        None
    }

    /// Returns the trace of the run for outgoing requests, if it has one.
    fn trace(&self) -> Option<&RunTrace> {
        None
    }

    /// Reports that the run is evicted because the host lacks memory. The task is not to blame, and the
    /// result of the run is ignored.
    fn evicted(&self) {}

    /// Returns true if the run has a stop request: it may clean up before it is stopped.
    fn is_asked_to_stop(&self) -> bool {
        false
    }

    /// Resolves when the run gets a stop request.
    fn asked_to_stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// Returns outcomes and results of the task's dependencies, in the order of the request.
    ///
    /// # Errors
    ///
    /// Fails if the results are not available; the run cannot continue.
    fn dependency_results(&self) -> BoxFuture<'_, Result<Vec<DependencyResult>, Failure>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Returns the oldest event posted to the task that this run has not received. It is gone for later runs once this run
    /// has saved a checkpoint, was suspended or has finished the task.
    ///
    /// # Errors
    ///
    /// Fails if it could not be read; the run cannot continue.
    fn next_event(&self) -> BoxFuture<'_, Result<Option<PostedEvent>, String>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Returns true if the run may have input files; cheap.
    fn has_files(&self) -> bool {
        false
    }

    /// Returns the files that came with the task, and then those of its dependencies that it gets. No two have one name.
    ///
    /// # Errors
    ///
    /// Fails if they are not available, or cannot be together in a folder; the run cannot continue.
    fn input_files(&self) -> BoxFuture<'_, Result<Vec<TaskFile>, Failure>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Returns the next bytes of a file that came with the task, part by part from 0; none after its end.
    ///
    /// # Errors
    ///
    /// Fails if they are not available; the run cannot continue.
    fn read_file(&self, _content: ContentId, _part: u64) -> BoxFuture<'_, Result<Vec<u8>, Failure>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Keeps a file that the run leaves: it is stored with the result. It is read to its end.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be kept, or is larger than it was; the run has then failed.
    fn keep_file(&self, _file: OutputFile) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Submits children of the task, all or none; durable on return. One whose name the task has used already is the child
    /// that has it. Returns their ids in order.
    ///
    /// # Errors
    ///
    /// Says why none was submitted.
    fn submit_children(&self, _children: Vec<NewChild>) -> BoxFuture<'_, Result<Vec<TaskId>, ChildrenError>> {
        let why = "this host runs a plugin without a queue, so its task has no children".to_owned();
        Box::pin(std::future::ready(Err(ChildrenError::Refused(why))))
    }

    /// Returns the children of the task from this one on, counted from 0 in the order in which they were submitted: as many
    /// as one look returns.
    ///
    /// # Errors
    ///
    /// Fails if they could not be read; the run cannot continue.
    fn children(&self, _start: u32) -> BoxFuture<'_, Result<Vec<Child>, String>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Sets the progress; cheap, never durable.
    fn progress(&self, progress: Progress);

    /// Appends guest output to the log; bounded, never waits.
    fn log(&self, stream: LogStream, written: &[u8]);

    /// Stores a checkpoint durably for the next attempt.
    ///
    /// # Errors
    ///
    /// Fails with a message for the guest if the checkpoint was not stored.
    fn save(&self, state: Vec<u8>) -> BoxFuture<'_, Result<(), String>>;

    /// Returns the latest checkpoint of the task, of this attempt or an earlier one.
    ///
    /// # Errors
    ///
    /// Fails if it could not be read; the run cannot continue.
    fn restore(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>>;
}

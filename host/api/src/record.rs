//! A task as clients read it: the seed's keys first, then ours.

use chrono::SecondsFormat;
use serde::{Serialize, Serializer};
use wasmill_model::{Failure, PluginName, Progress, Task, TaskId, TaskState, Timestamp};

/// A moment in RFC 3339, UTC, with nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rfc3339(pub(crate) Timestamp);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Nanos, true))
    }
}

/// The answer to a submit.
#[derive(Serialize)]
pub(crate) struct Accepted {
    pub(crate) id: TaskId,
    pub(crate) created_at: Rfc3339,
    pub(crate) duration: u64,
}

/// The whole record of a task, without its input and log.
#[derive(Serialize)]
pub(crate) struct Record {
    id: TaskId,
    result: Option<String>,
    #[serde(flatten)]
    status: Status,
}

/// Where a task stands.
#[derive(Serialize)]
pub(crate) struct Status {
    status: String,
    created_at: Rfc3339,
    duration: u64,
    state: &'static str,
    plugin: PluginName,
    /// The SHA-256 of the plugin that the newest attempt ran; `null` while it never ran.
    plugin_digest: Option<String>,
    attempt: u32,
    max_attempts: u32,
    host_crashes: u32,
    timeout_ms: u64,
    input_bytes: u64,
    duration_ms: u64,
    /// When a task that waits may start: in the future between two attempts.
    ready_at: Rfc3339,
    started_at: Option<Rfc3339>,
    finished_at: Option<Rfc3339>,
    progress: Option<ProgressView>,
    error: Option<ErrorView>,
}

#[derive(Serialize)]
pub(crate) struct ProgressView {
    fraction: f64,
    note: String,
}

impl From<Progress> for ProgressView {
    fn from(Progress { fraction, note }: Progress) -> Self {
        Self { fraction, note }
    }
}

#[derive(Serialize)]
struct ErrorView {
    cause: String,
    message: String,
}

impl Record {
    pub(crate) fn new(mut task: Task, now: Timestamp) -> Self {
        Self { id: task.id, result: task.result.take(), status: Status::new(task, now) }
    }
}

impl Status {
    pub(crate) fn new(task: Task, now: Timestamp) -> Self {
        let duration = task.duration(now);
        Self {
            status: words(&task),
            created_at: Rfc3339(task.created_at),
            duration: duration.as_secs(),
            state: task.state.as_str(),
            plugin: task.plugin,
            plugin_digest: task.plugin_digest.as_deref().map(str::to_owned),
            attempt: task.attempt,
            max_attempts: task.attempts_max,
            host_crashes: task.host_crashes,
            timeout_ms: millis(task.timeout),
            input_bytes: task.input_bytes,
            duration_ms: millis(duration),
            ready_at: Rfc3339(task.ready_at),
            started_at: task.started_at.map(Rfc3339),
            finished_at: task.finished_at.map(Rfc3339),
            progress: task.progress.map(ProgressView::from),
            error: task
                .failure
                .map(|Failure { cause, message }| ErrorView { cause: cause.to_string(), message }),
        }
    }
}

/// Returns the status in the seed's words, for people.
pub(crate) fn words(task: &Task) -> String {
    match (task.state, &task.failure) {
        (TaskState::Waiting, _) => "created, but waiting to start".to_owned(),
        (TaskState::Running, _) => "in process".to_owned(),
        (TaskState::Completed, _) => "completed".to_owned(),
        (TaskState::Cancelled, _) => "cancelled".to_owned(),
        (TaskState::Failed, Some(failure)) => format!("failed by {}", failure.cause.words()),
        (TaskState::Failed, None) => "failed".to_owned(),
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

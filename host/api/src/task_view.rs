//! A task as clients read it: the seed's keys first, then ours.

use std::time::Duration;

use chrono::SecondsFormat;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use wasmill_model::{
    ATTEMPTS_MAX, Backoff, Failure, PluginName, Progress, Task, TaskId, TaskState, Timestamp, Usage,
};
use wasmill_store::SubmittedTask;

use crate::openapi::values::{Digest, Id, Name, State, TraceName, Words};

/// A moment in RFC 3339, UTC, with nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rfc3339(pub(crate) Timestamp);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Nanos, true))
    }
}

/// The answer to a submit.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Accepted {
    #[schemars(with = "Id")]
    pub(crate) id: TaskId,
    pub(crate) created_at: Rfc3339,
    /// 0: it has not run yet.
    #[schemars(range(max = 0))]
    pub(crate) duration: u64,
}

impl Accepted {
    pub(crate) fn new(task: &SubmittedTask) -> Self {
        let SubmittedTask { id, created_at, holder } = *task;
        Self { id, created_at: Rfc3339(created_at), duration: holder.map_or(0, |ran| ran.as_secs()) }
    }
}

/// The whole record of a task, without its input and log.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Record {
    #[schemars(with = "Id")]
    id: TaskId,
    /// What the plugin answered; `null` unless completed.
    result: Option<String>,
    #[serde(flatten)]
    status: Status,
}

/// Where a task stands.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Status {
    /// Where the task stands, in words for people.
    #[schemars(with = "Words")]
    status: String,
    created_at: Rfc3339,
    /// Whole seconds that the newest attempt has run, or ran; with those that it was suspended.
    duration: u64,
    /// Where the task stands, for machines.
    #[schemars(with = "State")]
    state: &'static str,
    #[schemars(with = "Name")]
    plugin: PluginName,
    /// The SHA-256 of the plugin that the newest attempt ran; `null` while it never ran.
    #[schemars(with = "Option<Digest>")]
    plugin_digest: Option<String>,
    /// How many attempts were started; one that a drain ended is not counted.
    attempt: u32,
    /// How often a failure is attempted in all.
    #[schemars(range(min = 1, max = ATTEMPTS_MAX))]
    max_attempts: u32,
    /// How many attempts ended because the host died.
    host_crashes: u32,
    /// The wall-clock time of one attempt.
    timeout_ms: u64,
    /// The waits between attempts.
    backoff: BackoffView,
    /// 0 without an input.
    input_bytes: u64,
    /// A task goes before one that was accepted a minute earlier for each step.
    priority: i32,
    tags: Vec<String>,
    unique_key: Option<String>,
    /// The ended task that this one does again.
    #[schemars(with = "Option<Id>")]
    retry_of: Option<TaskId>,
    /// How often the newest attempt was suspended.
    suspensions: u32,
    /// Like `duration`, in milliseconds.
    duration_ms: u64,
    /// When a task that waits may start: in the future if it was put off, and between two attempts.
    ready_at: Rfc3339,
    /// When the newest attempt started; `null` while the task waits, unless it is suspended.
    started_at: Option<Rfc3339>,
    /// When the task was asked to stop while it ran: until its guest is gone, and the task cancelled, it runs.
    stop_requested_at: Option<Rfc3339>,
    /// When the task ended.
    finished_at: Option<Rfc3339>,
    /// The latest that the guest told, while it runs.
    progress: Option<ProgressView>,
    /// What the newest attempt has used, so far if it runs; `null` while it never ran.
    usage: Option<UsageView>,
    /// Why the newest ended attempt failed, or which task had it cancelled that it depends on.
    error: Option<ErrorView>,
    /// The schedule that asked for it, which may be gone.
    #[schemars(with = "Option<Name>")]
    schedule: Option<String>,
    /// How many of the tasks that it depends on have not ended; it starts when it is 0.
    pending_dependencies: u32,
    /// The trace that the task is part of.
    #[schemars(with = "Option<TraceName>")]
    trace_id: Option<String>,
    /// Whose task it is: the groups of a plugin take turns.
    group: Option<String>,
}

/// The waits between attempts that are in force.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BackoffInForce")]
pub(crate) struct BackoffView {
    /// The wait after the first failed attempt.
    first_ms: u64,
    /// What each further wait is multiplied by.
    factor: f64,
    /// The longest wait, before jitter.
    most_ms: u64,
    /// By how much of itself each wait is lengthened at random, at most.
    #[schemars(range(min = 0, max = 1))]
    jitter: f64,
}

impl BackoffView {
    pub(crate) fn new(Backoff { first, factor, most, jitter }: Backoff) -> Self {
        Self { first_ms: millis(first), factor, most_ms: millis(most), jitter }
    }
}

/// How far a guest says it has come.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Progress")]
pub(crate) struct ProgressView {
    #[schemars(range(min = 0.0, max = 1.0))]
    fraction: f64,
    /// What is being done.
    note: String,
}

impl From<Progress> for ProgressView {
    fn from(Progress { fraction, note }: Progress) -> Self {
        Self { fraction, note }
    }
}

/// What one attempt has used.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Usage")]
struct UsageView {
    /// Time that the guest computed.
    cpu_ms: u64,
    wall_ms: u64,
    /// How long the task had been ready when the attempt started.
    queue_ms: u64,
    instantiate_us: u64,
    peak_memory_bytes: u64,
    log_bytes: u64,
    http_requests: u64,
    /// Over the connections of these requests, with heads and TLS.
    http_sent_bytes: u64,
    http_received_bytes: u64,
    checkpoints: u64,
    /// Written to the folders of the plugin, with those by which files were made longer.
    disk_written_bytes: u64,
    /// Files, folders and links made there.
    files_created: u64,
}

/// Why an attempt failed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Failure")]
struct ErrorView {
    /// What kind of failure, such as `io`, `timeout` or `exit-3`, for machines.
    #[schemars(regex(pattern = "^[a-z][a-z-]*(-?[0-9]+)?$"))]
    cause: String,
    /// What happened, for people.
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
            backoff: BackoffView::new(task.backoff.unwrap_or_default()),
            input_bytes: task.input_bytes,
            priority: task.priority.get(),
            tags: task.tags.iter().map(|tag| tag.as_str().to_owned()).collect(),
            unique_key: task.unique_key.map(|key| key.to_string()),
            retry_of: task.retry_of,
            suspensions: task.suspensions,
            duration_ms: millis(duration),
            ready_at: Rfc3339(task.ready_at),
            started_at: task.started_at.map(Rfc3339),
            stop_requested_at: task.stop_requested_at.map(Rfc3339),
            finished_at: task.finished_at.map(Rfc3339),
            progress: task.progress.map(ProgressView::from),
            usage: task.usage.map(|usage| UsageView::new(&usage, task.started_at.map(|_| duration))),
            error: task
                .failure
                .map(|Failure { cause, message }| ErrorView { cause: cause.to_string(), message }),
            schedule: task.schedule.map(|schedule| schedule.to_string()),
            pending_dependencies: task.pending_dependencies.unwrap_or(0),
            trace_id: task.trace.map(|trace| trace.trace_id.to_string()),
            group: task.group.map(|group| group.as_str().to_owned()),
        }
    }
}

impl UsageView {
    /// Shows a usage; `duration` is that of the attempt if it runs or was the last.
    fn new(usage: &Usage, duration: Option<Duration>) -> Self {
        Self {
            cpu_ms: millis(usage.cpu),
            wall_ms: millis(duration.unwrap_or(usage.wall)),
            queue_ms: millis(usage.queue),
            instantiate_us: u64::try_from(usage.instantiate.as_micros()).unwrap_or(u64::MAX),
            peak_memory_bytes: usage.memory_bytes,
            log_bytes: usage.log_bytes,
            http_requests: usage.http_requests,
            http_sent_bytes: usage.http_sent_bytes,
            http_received_bytes: usage.http_received_bytes,
            checkpoints: usage.checkpoints,
            disk_written_bytes: usage.disk_written_bytes,
            files_created: usage.files_created,
        }
    }
}

/// Returns the status in the seed's words, for people.
pub(crate) fn words(task: &Task) -> String {
    match (task.state, &task.failure) {
        (TaskState::Waiting, _) if task.suspensions > 0 => "in process".to_owned(),
        (TaskState::Waiting, _) => "created, but waiting to start".to_owned(),
        (TaskState::Running, _) => "in process".to_owned(),
        (TaskState::Completed, _) => "completed".to_owned(),
        (TaskState::Cancelled, _) => "cancelled".to_owned(),
        (TaskState::Failed, Some(failure)) => format!("failed by {}", failure.cause.words()),
        (TaskState::Failed, None) => "failed".to_owned(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A record as an example for the API document.
pub(crate) fn example() -> Value {
    json!({
        "id": "01a2074c-e503-703b-819d-4717c026346b", "result": null,
        "status": "in process", "created_at": "2026-11-23T07:26:49.603656725Z", "duration": 2,
        "state": "running", "plugin": "io-stub", "plugin_digest": null, "attempt": 1, "max_attempts": 1,
        "host_crashes": 0, "timeout_ms": 600_000,
        "backoff": {"first_ms": 1_000, "factor": 2.0, "most_ms": 300_000, "jitter": 0.5}, "input_bytes": 0, "duration_ms": 2_013,
        "ready_at": "2026-11-23T07:26:49.603656725Z", "started_at": "2026-11-23T07:26:49.604278581Z",
        "stop_requested_at": null, "finished_at": null, "priority": 0, "tags": ["tenant:42"], "unique_key": null, "retry_of": null,
        "suspensions": 0,
        "progress": {"fraction": 0.0071, "note": "waiting, 281 s left"},
        "usage": {
            "cpu_ms": 0, "wall_ms": 2_013, "queue_ms": 0, "instantiate_us": 61, "peak_memory_bytes": 1_114_112,
            "log_bytes": 0, "http_requests": 0, "http_sent_bytes": 0, "http_received_bytes": 0, "checkpoints": 1,
            "disk_written_bytes": 0, "files_created": 0,
        },
        "error": null, "schedule": null, "pending_dependencies": 0, "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "group": null,
    })
}

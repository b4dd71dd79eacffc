//! JSON views of a task: the keys of the original contract first, then further ones.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use wasmill_access::Identity;
use wasmill_model::{
    ATTEMPTS_MAX, Backoff, Cause, Failure, Group, PluginName, Progress, Reach, ResultType, ScheduleName,
    Task, TaskId, TaskState, Timestamp, Usage, WakeOn,
};
use wasmill_store::SubmittedTask;

use super::time::Rfc3339;
use crate::openapi::schema::{
    DigestSchema, IdSchema, NameSchema, QueueStateSchema, ScheduleNameSchema, StateSchema, StatusTextSchema,
    TraceIdSchema, WakeOnSchema,
};

/// Response of a submit.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TaskCreated {
    #[schemars(with = "IdSchema")]
    pub(crate) id: TaskId,
    pub(crate) created_at: Rfc3339,
    /// 0: the task has not run yet.
    #[schemars(range(max = 0))]
    pub(crate) duration: u64,
}

impl TaskCreated {
    pub(crate) fn new(task: &SubmittedTask) -> Self {
        let SubmittedTask { id, created_at, holder } = *task;
        Self { id, created_at: Rfc3339(created_at), duration: holder.map_or(0, |ran| ran.as_secs()) }
    }

    /// Example for the OpenAPI document.
    pub(crate) fn example() -> Value {
        json!({
            "id": "01a2074c-e503-703b-819d-4717c026346b", "created_at": "2026-11-23T07:26:49.603656725Z",
            "duration": 0,
        })
    }
}

/// A task without its input and log.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Task")]
pub(crate) struct TaskView {
    #[schemars(with = "IdSchema")]
    id: TaskId,
    /// The plugin's result; `null` unless completed.
    result: Option<String>,
    /// Media type of the result, if the manifest declares one or the result is bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<String>,
    /// `base64` if the result is bytes: `GET /task/{id}/result` returns them as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["base64"]))]
    result_encoding: Option<&'static str>,
    #[serde(flatten)]
    status: StatusView,
}

/// The status of a task.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TaskStatus")]
pub(crate) struct StatusView {
    /// The status as text for people.
    #[schemars(with = "StatusTextSchema")]
    status: String,
    created_at: Rfc3339,
    /// Run time of the newest attempt in whole seconds, including the time it was suspended.
    duration: u64,
    /// The state, for programs.
    #[schemars(with = "StateSchema")]
    state: &'static str,
    /// What a waiting task waits for: `blocked` for other tasks, `scheduled` for its start time or the end of a
    /// backoff, `suspended` for the time at which it resumes, `available` for a slot. `null` unless waiting.
    #[schemars(with = "Option<QueueStateSchema>")]
    queue_state: Option<&'static str>,
    #[schemars(with = "NameSchema")]
    plugin: PluginName,
    /// SHA-256 of the plugin file that the newest attempt ran; `null` before the first run.
    #[schemars(with = "Option<DigestSchema>")]
    plugin_digest: Option<String>,
    /// Number of attempts started, without those that a drain interrupted.
    attempt: u32,
    /// Maximum number of attempts, including the first.
    #[schemars(range(min = 1, max = ATTEMPTS_MAX))]
    max_attempts: u32,
    /// Number of attempts that ended in a crash of the host.
    host_crashes: u32,
    /// Wall-clock limit of one attempt.
    timeout_ms: u64,
    /// Delays between attempts.
    backoff: BackoffView,
    /// Size of the input; 0 without one.
    input_bytes: u64,
    /// Each step outweighs one minute of waiting in the queue.
    priority: i32,
    tags: Vec<String>,
    unique_key: Option<String>,
    /// The finished task that this one retries.
    #[schemars(with = "Option<IdSchema>")]
    retry_of: Option<TaskId>,
    /// How often the newest attempt was suspended.
    suspensions: u32,
    /// What resumes a suspended task before `ready_at`: `event` for an event posted to it, `any_child` for the end of a
    /// child, `all_children` for that of the last one.
    #[schemars(with = "Vec<WakeOnSchema>")]
    wake_on: Vec<&'static str>,
    /// Number of events posted to the task, including those that it has not received.
    events_posted: u64,
    /// The task that submitted this one as its child; it may have been deleted.
    #[schemars(with = "Option<IdSchema>")]
    parent: Option<TaskId>,
    /// The name of the task among the children of its parent.
    child_name: Option<String>,
    /// Number of children that the task has submitted.
    children: u64,
    /// Number of them that ended before the task did.
    children_ended: u64,
    /// Like `duration`, in milliseconds.
    duration_ms: u64,
    /// Earliest start of a waiting task: in the future if it is delayed, suspended or between attempts.
    ready_at: Rfc3339,
    /// Start of the newest attempt; `null` while the task waits, unless it is suspended.
    started_at: Option<Rfc3339>,
    /// When the running task was asked to stop; it stays running until its guest is gone.
    stop_requested_at: Option<Rfc3339>,
    /// When the task finished.
    finished_at: Option<Rfc3339>,
    /// The latest progress that the guest reported, while it runs.
    progress: Option<ProgressView>,
    /// Resource usage of the newest attempt, so far if it is running; `null` before the first run.
    usage: Option<UsageView>,
    /// Exit code of the program, if it was not 0: the task completed with it if its manifest names it in `exit_ok`.
    exit_code: Option<i32>,
    /// Why the newest finished attempt failed, or which dependency caused the task to be cancelled.
    error: Option<ErrorView>,
    /// The schedule that created the task; it may have been deleted.
    #[schemars(with = "Option<ScheduleNameSchema>")]
    schedule: Option<String>,
    /// Number of unfinished dependencies; the task is blocked until it is 0.
    pending_dependencies: u32,
    /// The trace that the task belongs to.
    #[schemars(with = "Option<TraceIdSchema>")]
    trace_id: Option<String>,
    /// The group of the task: the groups of a plugin share its slots by round robin.
    group: Option<String>,
    /// The id of the key that submitted the task; `null` without one, and for a schedule.
    submitted_by: Option<String>,
}

/// Effective delays between attempts.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EffectiveBackoff")]
pub(crate) struct BackoffView {
    /// Delay after the first failed attempt.
    first_ms: u64,
    /// Factor by which each further delay grows.
    factor: f64,
    /// Maximum delay before jitter.
    max_ms: u64,
    /// Maximum fraction of itself by which each delay is randomly extended.
    #[schemars(range(min = 0, max = 1))]
    jitter: f64,
}

impl BackoffView {
    pub(crate) fn new(Backoff { first, factor, max, jitter }: Backoff) -> Self {
        Self { first_ms: millis(first), factor, max_ms: millis(max), jitter }
    }
}

/// Progress that a guest reports.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Progress")]
pub(crate) struct ProgressView {
    #[schemars(range(min = 0.0, max = 1.0))]
    fraction: f64,
    /// What the guest is doing.
    note: String,
}

impl From<Progress> for ProgressView {
    fn from(Progress { fraction, note }: Progress) -> Self {
        Self { fraction, note }
    }
}

/// Resource usage of one attempt.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Usage")]
struct UsageView {
    /// CPU time of the guest.
    cpu_ms: u64,
    wall_ms: u64,
    /// How long the task had been ready when the attempt started.
    queue_ms: u64,
    instantiate_us: u64,
    peak_memory_bytes: u64,
    log_bytes: u64,
    http_requests: u64,
    /// Bytes on the wire, including heads and TLS.
    http_sent_bytes: u64,
    http_received_bytes: u64,
    checkpoints: u64,
    /// Bytes by which the guest wrote to or extended files in the plugin's folders.
    disk_written_bytes: u64,
    /// Files, folders and links created there.
    files_created: u64,
    /// TCP connections of `wasi:sockets` that were established.
    tcp_connections: u64,
    /// Bytes sent over them.
    tcp_sent_bytes: u64,
    tcp_received_bytes: u64,
}

/// Why an attempt failed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Failure")]
struct ErrorView {
    /// Cause of the failure, such as `io`, `timeout` or `exit-3`, for programs.
    #[schemars(regex(pattern = "^[a-z][a-z-]*(-?[0-9]+)?$"))]
    cause: String,
    /// Description of the failure, for people.
    message: String,
}

/// Returns what resumes a suspended task early, by name.
fn wake_on(WakeOn { event, any_child, all_children }: WakeOn) -> Vec<&'static str> {
    let named = [(event, "event"), (any_child, "any_child"), (all_children, "all_children")];
    named.into_iter().filter(|(is_it, _)| *is_it).map(|(_, name)| name).collect()
}

/// Hides what a task was given and has returned from a key that may not read it; the rest shows how it is doing. Tasks
/// outside the reach of the key are named nowhere.
pub(crate) fn shown_to(sender: &Identity, mut task: Task) -> Task {
    if sender.reach().is_bounded() {
        // Those of others may have any name.
        let is_own = |schedule: &ScheduleName| schedule.space() == sender.space();
        task.schedule = task.schedule.filter(is_own).map(ScheduleName::without_space);
        // The message names a task, which may be outside.
        if let Some(failure) = task.failure.as_mut().filter(|failure| failure.cause == Cause::Dependency) {
            "it depends on a task that did not complete".clone_into(&mut failure.message);
        }
        // A parent has the group and the tags of its children, and a plugin of its own.
        if !sender.reach().plugins().is_empty() {
            task.parent = None;
            if let Some(failure) = task.failure.as_mut().filter(|failure| failure.cause == Cause::Parent) {
                "its parent has ended".clone_into(&mut failure.message);
            }
        }
    }
    if sender.may_read(task.submitted_by.as_deref()) {
        return task;
    }
    (task.result, task.result_type) = (None, None);
    task.progress = task.progress.map(|progress| Progress { note: String::new(), ..progress });
    task.failure = task.failure.map(|failure| Failure { message: String::new(), ..failure });
    task
}

/// Returns true if a task is within a reach.
pub(crate) fn is_within(reach: &Reach, task: &Task) -> bool {
    reach.covers(task.plugin.as_str(), task.group.as_ref().map(Group::as_str), &task.tags)
}

impl TaskView {
    pub(crate) fn new(mut task: Task, now: Timestamp) -> Self {
        let (result_type, result_encoding) = type_and_encoding(task.result_type.take());
        let (id, result) = (task.id, task.result.take());
        Self { id, result, result_type, result_encoding, status: StatusView::new(task, now) }
    }
}

/// Returns the media type of a result, and `base64` if it is encoded so.
pub(crate) fn type_and_encoding(result: Option<ResultType>) -> (Option<String>, Option<&'static str>) {
    match result {
        Some(ResultType { media, is_base64 }) => (Some(media.to_string()), is_base64.then_some("base64")),
        None => (None, None),
    }
}

impl StatusView {
    pub(crate) fn new(task: Task, now: Timestamp) -> Self {
        let duration = task.duration(now);
        Self {
            status: status_text(&task),
            created_at: Rfc3339(task.created_at),
            duration: duration.as_secs(),
            state: task.state.phase().as_str(),
            queue_state: task.state.is_waiting().then(|| task.state.as_str()),
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
            wake_on: wake_on(task.wake_on),
            events_posted: task.events_posted,
            parent: task.parent,
            child_name: task.child_name.map(|name| name.to_string()),
            children: task.children,
            children_ended: task.children_ended,
            duration_ms: millis(duration),
            ready_at: Rfc3339(task.ready_at),
            started_at: task.started_at.map(Rfc3339),
            stop_requested_at: task.stop_requested_at.map(Rfc3339),
            finished_at: task.finished_at.map(Rfc3339),
            progress: task.progress.map(ProgressView::from),
            usage: task.usage.map(|usage| UsageView::new(&usage, task.started_at.map(|_| duration))),
            exit_code: task.usage.map(|usage| usage.exit_code).filter(|code| *code != 0),
            error: task
                .failure
                .map(|Failure { cause, message, .. }| ErrorView { cause: cause.to_string(), message }),
            schedule: task.schedule.map(|schedule| schedule.to_string()),
            pending_dependencies: task.pending_dependencies.unwrap_or(0),
            trace_id: task.trace.map(|trace| trace.trace_id.to_string()),
            group: task.group.map(|group| group.as_str().to_owned()),
            submitted_by: task.submitted_by.map(|key| key.to_string()),
        }
    }
}

impl UsageView {
    /// Creates the view; `duration` is the run time of the newest attempt.
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
            tcp_connections: usage.tcp_connections,
            tcp_sent_bytes: usage.tcp_sent_bytes,
            tcp_received_bytes: usage.tcp_received_bytes,
        }
    }
}

/// Returns the usage of an attempt as responses show it, for programs that report one without a server.
pub fn usage_view(usage: &Usage) -> impl Serialize {
    UsageView::new(usage, None)
}

/// Returns the status text of the original contract.
pub(crate) fn status_text(task: &Task) -> String {
    match (task.state, &task.failure) {
        (TaskState::Running, _) => "in process".to_owned(),
        (TaskState::Completed, _) => "completed".to_owned(),
        (TaskState::Cancelled, _) => "cancelled".to_owned(),
        (TaskState::Failed, Some(failure)) => format!("failed by {}", failure.cause.words()),
        (TaskState::Failed, None) => "failed".to_owned(),
        _ if task.suspensions > 0 => "in process".to_owned(),
        _ => "created, but waiting to start".to_owned(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the usage of the example.
fn usage_example() -> Value {
    json!({
        "cpu_ms": 0, "wall_ms": 2_013, "queue_ms": 0, "instantiate_us": 61, "peak_memory_bytes": 1_114_112,
        "log_bytes": 0, "http_requests": 0, "http_sent_bytes": 0, "http_received_bytes": 0, "checkpoints": 1,
        "disk_written_bytes": 0, "files_created": 0, "tcp_connections": 0, "tcp_sent_bytes": 0,
        "tcp_received_bytes": 0,
    })
}

/// Example for the OpenAPI document.
pub(crate) fn example() -> Value {
    json!({
        "id": "01a2074c-e503-703b-819d-4717c026346b", "result": null,
        "status": "in process", "created_at": "2026-11-23T07:26:49.603656725Z", "duration": 2,
        "state": "running", "queue_state": null, "plugin": "io-stub", "plugin_digest": null, "attempt": 1, "max_attempts": 1,
        "host_crashes": 0, "timeout_ms": 600_000,
        "backoff": {"first_ms": 1_000, "factor": 2.0, "max_ms": 300_000, "jitter": 0.5}, "input_bytes": 0, "duration_ms": 2_013,
        "ready_at": "2026-11-23T07:26:49.603656725Z", "started_at": "2026-11-23T07:26:49.604278581Z",
        "stop_requested_at": null, "finished_at": null, "priority": 0, "tags": ["tenant:42"], "unique_key": null, "retry_of": null,
        "suspensions": 0, "wake_on": [], "events_posted": 0,
        "parent": null, "child_name": null, "children": 0, "children_ended": 0,
        "progress": {"fraction": 0.0071, "note": "waiting, 281 s left"},
        "usage": usage_example(),
        "exit_code": null, "error": null, "schedule": null, "pending_dependencies": 0, "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "group": null, "submitted_by": null,
    })
}

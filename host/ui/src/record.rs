//! The records of the REST interface, as far as pages show them.
//!
//! Keys that are missing are as good as `null`: a key without a scope does not see all of them.

mod key;
mod upload;
mod watch;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::key::Key;
pub use self::upload::{Changes, Names, PermissionChanges, Setting, Upload};
pub use self::watch::{
    Activity, Attention, AttentionItem, History, HostCall, HttpRequest, Instance, Reason, Run, ServerColumns,
    TcpSocket, Why,
};

/// `GET /task`, one entry, and the shared part of `GET /task/{id}`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Task {
    pub id: String,
    pub result: Option<String>,
    pub result_type: Option<String>,
    pub result_encoding: Option<String>,
    pub status: String,
    pub created_at: String,
    pub state: String,
    pub queue_state: Option<String>,
    pub plugin: String,
    pub plugin_digest: Option<String>,
    pub attempt: u32,
    pub max_attempts: u32,
    pub host_crashes: u32,
    pub timeout_ms: u64,
    pub input_bytes: u64,
    pub priority: i32,
    pub tags: Vec<String>,
    pub unique_key: Option<String>,
    pub retry_of: Option<String>,
    pub suspensions: u32,
    pub wake_on: Vec<String>,
    pub events_posted: u64,
    pub parent: Option<String>,
    pub child_name: Option<String>,
    pub children: u64,
    pub children_ended: u64,
    pub duration_ms: u64,
    pub ready_at: String,
    pub started_at: Option<String>,
    pub stop_requested_at: Option<String>,
    pub finished_at: Option<String>,
    pub progress: Option<Progress>,
    pub usage: Option<Usage>,
    pub exit_code: Option<i32>,
    pub error: Option<Failure>,
    pub schedule: Option<String>,
    pub pending_dependencies: u32,
    pub trace_id: Option<String>,
    pub group: Option<String>,
    pub submitted_by: Option<String>,
    pub attempts: Vec<Attempt>,
    pub depends_on: Vec<Dependency>,
    pub on_failure: Option<String>,
    pub input_from: Option<String>,
    pub files_from: Option<String>,
    pub webhook: Option<Receiver>,
    pub files: Vec<TaskFile>,
}

impl Task {
    /// Returns the state for people: what a waiting task waits for, otherwise its state.
    pub fn shown_state(&self) -> &str {
        self.queue_state.as_deref().unwrap_or(&self.state)
    }

    /// Returns true if it has ended.
    pub fn is_final(&self) -> bool {
        matches!(self.state.as_str(), "completed" | "failed" | "cancelled")
    }

    /// Returns the last six digits of its id, which tell tasks of one page apart.
    pub fn short_id(&self) -> &str {
        short_id(&self.id)
    }
}

/// A file of a task.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct TaskFile {
    pub name: String,
    pub direction: String,
    pub media_type: String,
    pub bytes: u64,
}

/// Returns the last six digits of a task id.
pub fn short_id(id: &str) -> &str {
    id.get(id.len().saturating_sub(6)..).unwrap_or(id)
}

/// What a guest reports.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Progress {
    pub fraction: f64,
    pub note: String,
}

/// Resource usage of an attempt.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Usage {
    pub cpu_ms: u64,
    pub wall_ms: u64,
    pub queue_ms: u64,
    pub instantiate_us: u64,
    pub peak_memory_bytes: u64,
    pub log_bytes: u64,
    pub http_requests: u64,
    pub http_sent_bytes: u64,
    pub http_received_bytes: u64,
    pub checkpoints: u64,
    pub disk_written_bytes: u64,
    pub files_created: u64,
    pub tcp_connections: u64,
    pub tcp_sent_bytes: u64,
    pub tcp_received_bytes: u64,
}

/// Why an attempt failed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Failure {
    pub cause: String,
    pub message: String,
}

/// One attempt of a task.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Attempt {
    pub attempt: u32,
    pub outcome: Option<String>,
    pub message: Option<String>,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    pub plugin_digest: Option<String>,
}

/// A task that another one depends on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Dependency {
    pub id: String,
    pub outcome: Option<String>,
}

/// The webhook of a task.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Receiver {
    pub url: String,
    pub on: Vec<String>,
    pub state: String,
}

/// `GET /task/{id}/webhook`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Delivery {
    pub id: String,
    pub url: String,
    pub on: Vec<String>,
    pub state: String,
    pub attempt_count: u32,
    pub next_attempt_at: Option<String>,
    pub attempts: Vec<DeliveryAttempt>,
}

/// One attempt of a delivery.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct DeliveryAttempt {
    pub time: String,
    pub duration_ms: u64,
    pub status: Option<u16>,
    pub error: Option<String>,
}

/// `GET /task/{id}/logs`, one line.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct LogLine {
    pub seq: u64,
    pub time: String,
    pub attempt: u32,
    pub stream: String,
    pub text: String,
    pub cut: bool,
}

/// `GET /stats`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Stats {
    pub waiting: u64,
    pub running: u64,
    pub slots: Slots,
    pub memory: Memory,
    pub draining: bool,
    pub paused: bool,
    pub stored: Counts,
    pub finished: Counts,
    pub plugins: BTreeMap<String, PluginCounts>,
}

/// Slots for running tasks.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Slots {
    pub total: u64,
    pub used: u64,
}

/// Memory of guests.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Memory {
    pub total_bytes: u64,
    pub used_bytes: u64,
    pub blocks_queue: bool,
}

/// Tasks by state.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Counts {
    pub waiting: u64,
    pub blocked: u64,
    pub scheduled: u64,
    pub suspended: u64,
    pub available: u64,
    pub running: u64,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
}

/// Tasks of one plugin.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct PluginCounts {
    pub stored: Counts,
    pub finished: Counts,
}

/// `GET /hosts`, one entry.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Host {
    pub id: String,
    pub name: String,
    pub version: String,
    pub started_at: String,
    pub state: String,
    pub this: bool,
    pub on_duty: bool,
    pub lease_age_ms: u64,
    pub slots: Slots,
    pub memory_free_bytes: u64,
}

/// `GET /plugins`, one entry.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Plugin {
    pub name: String,
    pub state: String,
    pub reason: Option<String>,
    pub file: Option<String>,
    pub digest: Option<String>,
    pub size_bytes: u64,
    pub compile_ms: u64,
    pub in_service: Option<String>,
    pub paused: bool,
    pub tasks: Option<PluginTasks>,
    pub kind: Option<String>,
    pub description: Option<String>,
    pub result: Option<String>,
    pub has_schema: bool,
    pub imports: Vec<String>,
    pub import_count: u64,
    pub exports: Vec<String>,
    pub export_count: u64,
    pub limits: Option<Limits>,
    pub retry: Option<Retry>,
    pub permissions: Option<Permissions>,
}

/// Task counts of a plugin.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct PluginTasks {
    pub waiting: u64,
    pub waiting_is_at_least: bool,
    pub running: u64,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
}

/// Limits of the tasks of a plugin.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Limits {
    pub memory_bytes: u64,
    pub timeout_ms: u64,
    pub cpu_ms: Option<u64>,
    pub result_bytes: u64,
    pub log_bytes: u64,
    pub disk_bytes: u64,
    pub checkpoint_bytes: u64,
    pub concurrency: Option<u32>,
    pub rate: Option<String>,
    pub waiting: Option<u64>,
}

/// Retry policy of a plugin.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Retry {
    pub max_attempts: u32,
    pub backoff: Backoff,
    pub on: Vec<String>,
}

/// Delays between attempts.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Backoff {
    pub first_ms: u64,
    pub factor: f64,
    pub max_ms: u64,
    pub jitter: f64,
}

/// What the tasks of a plugin may access.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Permissions {
    pub http: Vec<String>,
    pub tcp: Vec<String>,
    pub env: Vec<String>,
    pub dirs: Vec<Folder>,
    pub scratch: Option<Scratch>,
    pub secrets: Vec<Secret>,
}

/// A secret of the operator that a plugin uses.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Secret {
    pub name: String,
    pub to: Vec<String>,
    pub revealed: bool,
}

/// A folder that each run has for itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Scratch {
    pub guest: String,
    pub bytes: u64,
    pub files: u64,
}

/// A granted folder.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Folder {
    pub host: String,
    pub guest: String,
    pub write: bool,
}

/// `GET /schedules`, one entry, and `GET /schedules/{schedule}`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct Schedule {
    pub name: String,
    pub from: String,
    pub cron: String,
    pub timezone: String,
    pub plugin: String,
    pub missed: String,
    pub overlap: bool,
    pub paused: bool,
    pub next_runs: Vec<String>,
    pub last_run: Option<ScheduleRun>,
    pub runs: u64,
    pub skipped: u64,
    pub last_error: Option<String>,
    pub created_at: String,
    pub changed_at: String,
    pub task: Option<Box<RawValue>>,
}

/// The newest run of a schedule.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the OpenAPI document describes the keys")]
pub struct ScheduleRun {
    pub due: Option<String>,
    pub time: String,
    pub task: String,
}

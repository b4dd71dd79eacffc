//! All kinds of problems: status, stable code and title.
//!
//! Endpoints create problems from them, and the OpenAPI document lists those of each operation.

use axum::http::StatusCode;

/// One kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProblemKind {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) title: &'static str,
    /// Seconds for `Retry-After`.
    pub(crate) retry_after_secs: Option<u32>,
}

impl ProblemKind {
    const fn new(status: StatusCode, code: &'static str, title: &'static str) -> Self {
        Self { status, code, title, retry_after_secs: None }
    }

    const fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_secs: Some(seconds), ..self }
    }
}

pub(crate) const INVALID_PATH: ProblemKind =
    ProblemKind::new(StatusCode::BAD_REQUEST, "invalid-path", "Invalid path");
pub(crate) const INVALID_HOST: ProblemKind =
    ProblemKind::new(StatusCode::BAD_REQUEST, "invalid-host", "Invalid Host header");
pub(crate) const UNKNOWN_HOST: ProblemKind =
    ProblemKind::new(StatusCode::MISDIRECTED_REQUEST, "unknown-host", "Unknown host");
pub(crate) const CROSS_ORIGIN: ProblemKind =
    ProblemKind::new(StatusCode::FORBIDDEN, "cross-origin", "Cross-origin request");
pub(crate) const UNTRUSTED_PROXY: ProblemKind =
    ProblemKind::new(StatusCode::FORBIDDEN, "untrusted-proxy", "Untrusted proxy");
pub(crate) const OVERLOADED: ProblemKind =
    ProblemKind::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Server overloaded").retry_after(1);
pub(crate) const INVALID_ID: ProblemKind =
    ProblemKind::new(StatusCode::BAD_REQUEST, "invalid-id", "Invalid task id");
pub(crate) const INVALID_JSON: ProblemKind =
    ProblemKind::new(StatusCode::BAD_REQUEST, "invalid-json", "Invalid JSON");
pub(crate) const UNREADABLE_BODY: ProblemKind =
    ProblemKind::new(StatusCode::BAD_REQUEST, "unreadable-body", "Unreadable body");
pub(crate) const UPLOADS_DISABLED: ProblemKind =
    ProblemKind::new(StatusCode::FORBIDDEN, "uploads-disabled", "Uploads disabled");
pub(crate) const INVALID_IDEMPOTENCY_KEY: ProblemKind =
    ProblemKind::new(StatusCode::BAD_REQUEST, "invalid-idempotency-key", "Invalid idempotency key");
pub(crate) const UNKNOWN_TASK: ProblemKind =
    ProblemKind::new(StatusCode::NOT_FOUND, "unknown-task", "Unknown task");
pub(crate) const NO_WEBHOOK: ProblemKind =
    ProblemKind::new(StatusCode::NOT_FOUND, "no-webhook", "Task has no webhook");
pub(crate) const NOTHING_TO_DELIVER: ProblemKind =
    ProblemKind::new(StatusCode::CONFLICT, "nothing-to-deliver", "Nothing to deliver");
pub(crate) const UNKNOWN_PLUGIN: ProblemKind =
    ProblemKind::new(StatusCode::NOT_FOUND, "unknown-plugin", "Unknown plugin");
pub(crate) const UNKNOWN_SCHEDULE: ProblemKind =
    ProblemKind::new(StatusCode::NOT_FOUND, "unknown-schedule", "Unknown schedule");
pub(crate) const UNKNOWN_ROUTE: ProblemKind =
    ProblemKind::new(StatusCode::NOT_FOUND, "unknown-route", "Unknown route");
pub(crate) const METHOD_NOT_ALLOWED: ProblemKind =
    ProblemKind::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed");
pub(crate) const BODY_TOO_SLOW: ProblemKind =
    ProblemKind::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", "Body timed out");
pub(crate) const BUILT_IN_PLUGIN: ProblemKind =
    ProblemKind::new(StatusCode::CONFLICT, "built-in-plugin", "Built-in plugin");
pub(crate) const TASK_FAILED: ProblemKind =
    ProblemKind::new(StatusCode::CONFLICT, "task-failed", "Task failed");
pub(crate) const TASK_CANCELLED: ProblemKind =
    ProblemKind::new(StatusCode::CONFLICT, "task-cancelled", "Task was cancelled");
pub(crate) const TASK_FINISHED: ProblemKind =
    ProblemKind::new(StatusCode::CONFLICT, "task-finished", "Task already finished");
pub(crate) const TASK_NOT_FINISHED: ProblemKind =
    ProblemKind::new(StatusCode::CONFLICT, "task-not-finished", "Task not finished");
pub(crate) const KEY_TAKEN: ProblemKind =
    ProblemKind::new(StatusCode::CONFLICT, "unique-key-taken", "Unique key taken");
pub(crate) const SCHEDULE_MANAGED_BY_PLUGIN: ProblemKind =
    ProblemKind::new(StatusCode::CONFLICT, "schedule-managed-by-plugin", "Schedule managed by a plugin");
pub(crate) const SCHEDULE_BUSY: ProblemKind =
    ProblemKind::new(StatusCode::CONFLICT, "schedule-busy", "Previous run still active");
pub(crate) const TOO_MANY_SCHEDULES: ProblemKind =
    ProblemKind::new(StatusCode::CONFLICT, "too-many-schedules", "Too many schedules");
pub(crate) const PLUGIN_NOT_PINNED: ProblemKind =
    ProblemKind::new(StatusCode::CONFLICT, "plugin-not-pinned", "Plugin does not match its pinned digest");
pub(crate) const FOLDER_IN_THE_WAY: ProblemKind =
    ProblemKind::new(StatusCode::CONFLICT, "folder-in-the-way", "Folder in the way of the plugin file");
pub(crate) const TOO_MANY_PLUGINS: ProblemKind =
    ProblemKind::new(StatusCode::CONFLICT, "too-many-plugins", "Too many plugins");
pub(crate) const BODY_TOO_LARGE: ProblemKind =
    ProblemKind::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "Body too large");
pub(crate) const NOT_JSON: ProblemKind = ProblemKind::new(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "unsupported-media-type",
    "Content type is not JSON",
);
pub(crate) const ENCODED_BODY: ProblemKind = ProblemKind::new(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "unsupported-content-encoding",
    "Unsupported content encoding",
);
pub(crate) const NOT_WASM: ProblemKind = ProblemKind::new(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "unsupported-media-type",
    "Content type is not WebAssembly",
);
pub(crate) const INVALID_REQUEST: ProblemKind =
    ProblemKind::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-request", "Invalid request");
pub(crate) const INVALID_PLUGIN_NAME: ProblemKind =
    ProblemKind::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-plugin-name", "Invalid plugin name");
pub(crate) const INVALID_SCHEDULE_NAME: ProblemKind =
    ProblemKind::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-schedule-name", "Invalid schedule name");
pub(crate) const PLUGIN_REJECTED: ProblemKind =
    ProblemKind::new(StatusCode::UNPROCESSABLE_ENTITY, "plugin-rejected", "Plugin rejected");
pub(crate) const IDEMPOTENCY_KEY_REUSED: ProblemKind =
    ProblemKind::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", "Idempotency key reused");
pub(crate) const QUEUE_FULL: ProblemKind =
    ProblemKind::new(StatusCode::TOO_MANY_REQUESTS, "queue-full", "Queue full").retry_after(1);
pub(crate) const PLUGIN_QUEUE_FULL: ProblemKind =
    ProblemKind::new(StatusCode::TOO_MANY_REQUESTS, "plugin-queue-full", "Plugin queue full").retry_after(1);
pub(crate) const TOO_MANY_STREAMS: ProblemKind =
    ProblemKind::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-streams", "Too many open streams")
        .retry_after(5);
pub(crate) const INTERNAL: ProblemKind =
    ProblemKind::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error");
pub(crate) const DRAINING: ProblemKind =
    ProblemKind::new(StatusCode::SERVICE_UNAVAILABLE, "draining", "Server is draining").retry_after(5);
pub(crate) const PLUGIN_COMPILING: ProblemKind =
    ProblemKind::new(StatusCode::SERVICE_UNAVAILABLE, "plugin-compiling", "Plugin is compiling")
        .retry_after(1);
pub(crate) const PLUGINS_FOLDER_UNAVAILABLE: ProblemKind = ProblemKind::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "plugins-folder-unavailable",
    "Plugins folder not writable",
)
.retry_after(5);
pub(crate) const SWAP_ENABLED: ProblemKind =
    ProblemKind::new(StatusCode::SERVICE_UNAVAILABLE, "swap-enabled", "Swap enabled").retry_after(60);
pub(crate) const STORE_UNAVAILABLE: ProblemKind =
    ProblemKind::new(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", "Database unavailable")
        .retry_after(1);

/// Problems of any operation: from the access policy, the body budget, and bugs.
pub(crate) const ANY_OPERATION: [ProblemKind; 5] =
    [INTERNAL, INVALID_HOST, UNKNOWN_HOST, UNTRUSTED_PROXY, OVERLOADED];

/// Problems of operations that use the store.
pub(crate) const STORE_ACCESS: [ProblemKind; 2] = [DRAINING, STORE_UNAVAILABLE];

/// Problems of operations on one task.
pub(crate) const TASK_ACCESS: [ProblemKind; 5] =
    [INVALID_PATH, INVALID_ID, UNKNOWN_TASK, DRAINING, STORE_UNAVAILABLE];

/// Problems of operations with a JSON body.
pub(crate) const JSON_BODY: [ProblemKind; 5] =
    [UNREADABLE_BODY, BODY_TOO_SLOW, BODY_TOO_LARGE, NOT_JSON, ENCODED_BODY];

/// Problems of operations that change a plugin.
pub(crate) const PLUGIN_CHANGE: [ProblemKind; 4] =
    [INVALID_PATH, UPLOADS_DISABLED, DRAINING, PLUGINS_FOLDER_UNAVAILABLE];

//! Every kind of problem a client may meet: its status, its stable code and its title.
//!
//! The endpoints make problems of them, and the API document names those that a route may answer with.

use axum::http::StatusCode;

/// One kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) title: &'static str,
    /// After how many seconds it may have passed.
    pub(crate) retry_after_secs: Option<u32>,
}

impl Kind {
    const fn new(status: StatusCode, code: &'static str, title: &'static str) -> Self {
        Self { status, code, title, retry_after_secs: None }
    }

    const fn passes_in(self, seconds: u32) -> Self {
        Self { retry_after_secs: Some(seconds), ..self }
    }
}

pub(crate) const INVALID_PATH: Kind = Kind::new(StatusCode::BAD_REQUEST, "invalid-path", "Path is not UTF-8");
pub(crate) const INVALID_HOST: Kind =
    Kind::new(StatusCode::BAD_REQUEST, "invalid-host", "Invalid Host header");
pub(crate) const UNKNOWN_HOST: Kind =
    Kind::new(StatusCode::MISDIRECTED_REQUEST, "unknown-host", "Unknown host name");
pub(crate) const CROSS_ORIGIN: Kind =
    Kind::new(StatusCode::FORBIDDEN, "cross-origin", "Page of another origin");
pub(crate) const CAME_THROUGH_A_PROXY: Kind =
    Kind::new(StatusCode::FORBIDDEN, "came-through-a-proxy", "Proxy is not trusted");
pub(crate) const OVERLOADED: Kind =
    Kind::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Too many bytes on their way").passes_in(1);
pub(crate) const INVALID_ID: Kind = Kind::new(StatusCode::BAD_REQUEST, "invalid-id", "Not a task id");
pub(crate) const INVALID_JSON: Kind = Kind::new(StatusCode::BAD_REQUEST, "invalid-json", "Body is not JSON");
pub(crate) const UNREADABLE_BODY: Kind =
    Kind::new(StatusCode::BAD_REQUEST, "unreadable-body", "Body could not be read");
pub(crate) const UPLOADS_ARE_OFF: Kind =
    Kind::new(StatusCode::FORBIDDEN, "uploads-are-off", "Plugins cannot be changed here");
pub(crate) const INVALID_REQUEST_KEY: Kind =
    Kind::new(StatusCode::BAD_REQUEST, "invalid-idempotency-key", "Not an idempotency key");
pub(crate) const UNKNOWN_TASK: Kind = Kind::new(StatusCode::NOT_FOUND, "unknown-task", "No such task");
pub(crate) const NO_WEBHOOK: Kind = Kind::new(StatusCode::NOT_FOUND, "no-webhook", "Task has no webhook");
pub(crate) const NOTHING_TO_DELIVER: Kind =
    Kind::new(StatusCode::CONFLICT, "nothing-to-deliver", "There is nothing to deliver");
pub(crate) const UNKNOWN_PLUGIN: Kind = Kind::new(StatusCode::NOT_FOUND, "unknown-plugin", "No such plugin");
pub(crate) const UNKNOWN_SCHEDULE: Kind =
    Kind::new(StatusCode::NOT_FOUND, "unknown-schedule", "No such schedule");
pub(crate) const UNKNOWN_ROUTE: Kind = Kind::new(StatusCode::NOT_FOUND, "unknown-route", "No such route");
pub(crate) const METHOD_NOT_ALLOWED: Kind =
    Kind::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed");
pub(crate) const BODY_TOO_SLOW: Kind =
    Kind::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", "Body too slow");
pub(crate) const BUILT_IN_PLUGIN: Kind =
    Kind::new(StatusCode::CONFLICT, "built-in-plugin", "Plugin is built in");
pub(crate) const TASK_FAILED: Kind =
    Kind::new(StatusCode::CONFLICT, "task-failed", "There will be no result");
pub(crate) const TASK_CANCELLED: Kind =
    Kind::new(StatusCode::CONFLICT, "task-cancelled", "There will be no result");
pub(crate) const TASK_ENDED: Kind = Kind::new(StatusCode::CONFLICT, "task-ended", "Task has already ended");
pub(crate) const TASK_NOT_ENDED: Kind =
    Kind::new(StatusCode::CONFLICT, "task-not-ended", "Task has not ended");
pub(crate) const KEY_TAKEN: Kind = Kind::new(StatusCode::CONFLICT, "unique-key-taken", "Unique key is taken");
pub(crate) const SCHEDULE_OF_MANIFEST: Kind =
    Kind::new(StatusCode::CONFLICT, "schedule-of-manifest", "Schedule comes with a plugin");
pub(crate) const SCHEDULE_BUSY: Kind =
    Kind::new(StatusCode::CONFLICT, "schedule-busy", "An earlier run goes on");
pub(crate) const TOO_MANY_SCHEDULES: Kind =
    Kind::new(StatusCode::CONFLICT, "too-many-schedules", "Too many schedules");
pub(crate) const PLUGIN_NOT_PINNED: Kind =
    Kind::new(StatusCode::CONFLICT, "plugin-not-pinned", "Plugin's permissions are for another file");
pub(crate) const FOLDER_IN_THE_WAY: Kind =
    Kind::new(StatusCode::CONFLICT, "folder-in-the-way", "A folder has the name of the file");
pub(crate) const TOO_MANY_PLUGINS: Kind =
    Kind::new(StatusCode::CONFLICT, "too-many-plugins", "Too many plugins");
pub(crate) const BODY_TOO_LARGE: Kind =
    Kind::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "Body too large");
pub(crate) const NOT_JSON: Kind =
    Kind::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Body is not declared as JSON");
pub(crate) const ENCODED_BODY: Kind =
    Kind::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-content-encoding", "Body is encoded");
pub(crate) const NOT_WASM: Kind = Kind::new(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "unsupported-media-type",
    "Body is not declared as WebAssembly",
);
pub(crate) const INVALID_REQUEST: Kind =
    Kind::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-request", "Request is well-formed but wrong");
pub(crate) const INVALID_PLUGIN_NAME: Kind =
    Kind::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-plugin-name", "Not a plugin name");
pub(crate) const INVALID_SCHEDULE_NAME: Kind =
    Kind::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-schedule-name", "Not the name of a schedule");
pub(crate) const PLUGIN_REJECTED: Kind =
    Kind::new(StatusCode::UNPROCESSABLE_ENTITY, "plugin-rejected", "Plugin was rejected");
pub(crate) const REQUEST_KEY_REUSED: Kind = Kind::new(
    StatusCode::UNPROCESSABLE_ENTITY,
    "idempotency-key-reused",
    "Idempotency key is used for another request",
);
pub(crate) const WAITING_LINE_FULL: Kind =
    Kind::new(StatusCode::TOO_MANY_REQUESTS, "waiting-line-full", "Too many waiting tasks").passes_in(1);
pub(crate) const PLUGIN_LINE_FULL: Kind =
    Kind::new(StatusCode::TOO_MANY_REQUESTS, "plugin-line-full", "Too many waiting tasks of this plugin")
        .passes_in(1);
pub(crate) const TOO_MANY_FOLLOWERS: Kind =
    Kind::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-followers", "Too many followers").passes_in(5);
pub(crate) const INTERNAL: Kind = Kind::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error");
pub(crate) const DRAINING: Kind =
    Kind::new(StatusCode::SERVICE_UNAVAILABLE, "draining", "Draining").passes_in(5);
pub(crate) const PLUGIN_COMPILING: Kind =
    Kind::new(StatusCode::SERVICE_UNAVAILABLE, "plugin-compiling", "Plugin is being compiled").passes_in(1);
pub(crate) const PLUGINS_FOLDER_UNAVAILABLE: Kind = Kind::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "plugins-folder-unavailable",
    "Plugins folder cannot be changed",
)
.passes_in(5);
pub(crate) const SWAP_IS_ON: Kind =
    Kind::new(StatusCode::SERVICE_UNAVAILABLE, "swap-is-on", "Swap was switched on").passes_in(60);
pub(crate) const STORE_UNAVAILABLE: Kind =
    Kind::new(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", "Database unavailable").passes_in(1);

/// What any request may be answered with, by the front door or since the server is busy.
pub(crate) const OF_ANY: [Kind; 5] = [INTERNAL, INVALID_HOST, UNKNOWN_HOST, CAME_THROUGH_A_PROXY, OVERLOADED];

/// What any route may answer that asks the store.
pub(crate) const OF_STORE: [Kind; 2] = [DRAINING, STORE_UNAVAILABLE];

/// What any route may answer that is about one task.
pub(crate) const OF_TASK: [Kind; 5] = [INVALID_PATH, INVALID_ID, UNKNOWN_TASK, DRAINING, STORE_UNAVAILABLE];

/// What any route may answer that reads a JSON body.
pub(crate) const OF_JSON_BODY: [Kind; 5] =
    [UNREADABLE_BODY, BODY_TOO_SLOW, BODY_TOO_LARGE, NOT_JSON, ENCODED_BODY];

/// What changing a plugin may answer.
pub(crate) const OF_UPLOAD: [Kind; 4] = [INVALID_PATH, UPLOADS_ARE_OFF, DRAINING, PLUGINS_FOLDER_UNAVAILABLE];

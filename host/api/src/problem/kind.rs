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
    /// When it happens, for the document.
    pub(crate) when: &'static str,
    /// Seconds for `Retry-After`.
    pub(crate) retry_after_secs: Option<u32>,
}

/// Declares each kind, and lists all.
macro_rules! kinds {
    ($($name:ident: $status:ident $code:literal, $title:literal, $(retry after $seconds:literal,)? $when:literal;)*) => {
        $(pub(crate) const $name: ProblemKind = ProblemKind {
            status: StatusCode::$status,
            code: $code,
            title: $title,
            when: $when,
            retry_after_secs: [$(Some($seconds),)? None][0],
        };)*

        /// All kinds, for the OpenAPI document.
        pub(crate) const ALL: &[ProblemKind] = &[$($name),*];
    };
}

kinds! {
    INVALID_PATH: BAD_REQUEST "invalid-path", "Invalid path",
        "the path cannot be decoded";
    INVALID_HOST: BAD_REQUEST "invalid-host", "Invalid Host header",
        "the header `Host` is missing, repeated or not a host";
    HTTPS_NEEDED: BAD_REQUEST "https-needed", "HTTPS needed",
        "the port speaks https, and the request came as plain HTTP";
    UNKNOWN_HOST: MISDIRECTED_REQUEST "unknown-host", "Unknown host",
        "the server does not know this host name";
    CROSS_ORIGIN: FORBIDDEN "cross-origin", "Cross-origin request",
        "a web page of another origin sent the request";
    UNTRUSTED_PROXY: FORBIDDEN "untrusted-proxy", "Untrusted proxy",
        "a proxy that is not trusted forwarded the request";
    KEY_MISSING: UNAUTHORIZED "key-missing", "Key missing",
        "the server asks for a key, and the request has none";
    KEY_UNKNOWN: UNAUTHORIZED "key-unknown", "Unknown key",
        "the server has no such key, or no longer";
    KEY_EXPIRED: UNAUTHORIZED "key-expired", "Key expired",
        "the key has expired";
    SESSION_ENDED: UNAUTHORIZED "session-ended", "Session ended",
        "the session of the browser has ended, or is of another server";
    UNKNOWN_PERSON: FORBIDDEN "unknown-person", "Unknown person",
        "a trusted proxy or an issuer names somebody whom no `[[person]]` of the keys file is about";
    SIGN_IN_FAILED: FORBIDDEN "sign-in-failed", "Sign-in failed",
        "the issuer of identities has signed nobody in, or what the browser brings back does not count";
    ISSUER_UNAVAILABLE: SERVICE_UNAVAILABLE "issuer-unavailable", "Issuer unavailable", retry after 5,
        "the issuer of identities does not answer";
    NOT_PERMITTED: FORBIDDEN "not-permitted", "Not permitted",
        "the key lacks a scope, which the detail names";
    OUT_OF_REACH: FORBIDDEN "out-of-reach", "Out of reach",
        "the key is bound to plugins, groups or tags, and this tells of all tasks, or changes a plugin outside";
    TOO_MANY_WRONG_KEYS: TOO_MANY_REQUESTS "too-many-wrong-keys", "Too many wrong keys", retry after 60,
        "the address has sent too many unknown keys within a minute";
    TOO_MANY_REQUESTS: TOO_MANY_REQUESTS "too-many-requests", "Too many requests", retry after 1,
        "the key has sent more requests than its rate allows";
    OVERLOADED: SERVICE_UNAVAILABLE "overloaded", "Server overloaded", retry after 1,
        "too many bytes of bodies are in flight";
    INVALID_ID: BAD_REQUEST "invalid-id", "Invalid task id",
        "the id in the path is not a task id";
    INVALID_JSON: BAD_REQUEST "invalid-json", "Invalid JSON",
        "the body is not JSON";
    UNREADABLE_BODY: BAD_REQUEST "unreadable-body", "Unreadable body",
        "the body ended early or could not be read";
    UPLOADS_DISABLED: FORBIDDEN "uploads-disabled", "Uploads disabled",
        "the server runs without `--allow-upload`";
    INVALID_IDEMPOTENCY_KEY: BAD_REQUEST "invalid-idempotency-key", "Invalid idempotency key",
        "the key is not 1 to 255 visible characters";
    UNKNOWN_TASK: NOT_FOUND "unknown-task", "Unknown task",
        "there is no task with this id, or no longer";
    NO_CHECKPOINT: NOT_FOUND "no-checkpoint", "Task has no checkpoint",
        "the task has saved no checkpoint, or has finished and needs it no longer";
    UNKNOWN_FILE: NOT_FOUND "unknown-file", "Unknown file",
        "the task has no file of this name";
    NO_SUCH_RANGE: RANGE_NOT_SATISFIABLE "no-such-range", "No such range",
        "the range begins after the end of the file";
    NO_WEBHOOK: NOT_FOUND "no-webhook", "Task has no webhook",
        "the task has no webhook";
    NOTHING_TO_DELIVER: CONFLICT "nothing-to-deliver", "Nothing to deliver",
        "there is no delivery to repeat: the task has not finished, or its outcome was not selected";
    UNKNOWN_PLUGIN: NOT_FOUND "unknown-plugin", "Unknown plugin",
        "there is no plugin of this name";
    NO_SCHEMA: NOT_FOUND "no-schema", "Plugin has no schema",
        "the manifest of the plugin names no schema of its input";
    UNKNOWN_SCHEDULE: NOT_FOUND "unknown-schedule", "Unknown schedule",
        "there is no schedule of this name";
    UNKNOWN_ROUTE: NOT_FOUND "unknown-route", "Unknown route",
        "there is no such route";
    METHOD_NOT_ALLOWED: METHOD_NOT_ALLOWED "method-not-allowed", "Method not allowed",
        "the route has no such method";
    BODY_TOO_SLOW: REQUEST_TIMEOUT "body-too-slow", "Body timed out",
        "the body did not arrive in time";
    BUILT_IN_PLUGIN: CONFLICT "built-in-plugin", "Built-in plugin",
        "the plugin is part of the binary and cannot be deleted";
    TASK_FAILED: CONFLICT "task-failed", "Task failed",
        "the task has no result: it failed";
    TASK_CANCELLED: CONFLICT "task-cancelled", "Task was cancelled",
        "the task has no result: it was cancelled";
    TASK_FINISHED: CONFLICT "task-finished", "Task already finished",
        "the task has finished, so it can neither be cancelled nor get events";
    TASK_NOT_FINISHED: CONFLICT "task-not-finished", "Task not finished",
        "the task has not finished and cannot be retried";
    KEY_TAKEN: CONFLICT "unique-key-taken", "Unique key taken",
        "an unfinished task has the unique key; `holder` names it";
    SCHEDULE_MANAGED_BY_PLUGIN: CONFLICT "schedule-managed-by-plugin", "Schedule managed by a plugin",
        "the schedule belongs to a manifest";
    SCHEDULE_BUSY: CONFLICT "schedule-busy", "Previous run still active",
        "a task of an earlier run is unfinished, and the schedule has `\"overlap\": false`";
    TOO_MANY_SCHEDULES: CONFLICT "too-many-schedules", "Too many schedules",
        "there are as many schedules as there may be";
    PLUGIN_NOT_PINNED: CONFLICT "plugin-not-pinned", "Plugin does not match its pinned digest",
        "the manifest grants permissions to another file";
    FOLDER_IN_THE_WAY: CONFLICT "folder-in-the-way", "Folder in the way of the plugin file",
        "a folder has the name of the plugin file";
    TOO_MANY_PLUGINS: CONFLICT "too-many-plugins", "Too many plugins",
        "the folder holds as many plugins as it may";
    BODY_TOO_LARGE: PAYLOAD_TOO_LARGE "body-too-large", "Body too large",
        "the body exceeds its limit: `--body-max`, `--batch-body-max`";
    NOT_JSON: UNSUPPORTED_MEDIA_TYPE "unsupported-media-type", "Content type is not JSON",
        "the content type is not JSON, a form or WebAssembly, whichever the route takes";
    ENCODED_BODY: UNSUPPORTED_MEDIA_TYPE "unsupported-content-encoding", "Unsupported content encoding",
        "the body is compressed";
    NOT_A_FORM: UNSUPPORTED_MEDIA_TYPE "unsupported-media-type", "Content type is not a form",
        "the content type is not JSON, a form or WebAssembly, whichever the route takes";
    NOT_WASM: UNSUPPORTED_MEDIA_TYPE "unsupported-media-type", "Content type is not WebAssembly",
        "the content type is not JSON, a form or WebAssembly, whichever the route takes";
    INVALID_REQUEST: UNPROCESSABLE_ENTITY "invalid-request", "Invalid request",
        "fields or parameters are invalid; `errors` lists them";
    INVALID_PLUGIN_NAME: UNPROCESSABLE_ENTITY "invalid-plugin-name", "Invalid plugin name",
        "the name of the plugin is invalid";
    INVALID_SCHEDULE_NAME: UNPROCESSABLE_ENTITY "invalid-schedule-name", "Invalid schedule name",
        "the name of the schedule is invalid";
    PLUGIN_REJECTED: UNPROCESSABLE_ENTITY "plugin-rejected", "Plugin rejected",
        "the plugin cannot run; the detail says why";
    IDEMPOTENCY_KEY_REUSED: UNPROCESSABLE_ENTITY "idempotency-key-reused", "Idempotency key reused",
        "another request had this key";
    QUEUE_FULL: TOO_MANY_REQUESTS "queue-full", "Queue full", retry after 1,
        "as many tasks wait as `--waiting-max` allows";
    PLUGIN_QUEUE_FULL: TOO_MANY_REQUESTS "plugin-queue-full", "Plugin queue full", retry after 1,
        "as many tasks of the plugin wait as its manifest allows";
    KEY_QUEUE_FULL: TOO_MANY_REQUESTS "key-queue-full", "Queue of the key full", retry after 1,
        "as many tasks of the key wait as its limit `waiting` allows";
    KEY_STORAGE_FULL: TOO_MANY_REQUESTS "key-storage-full", "Storage of the key full",
        "the tasks of the key take up as many bytes as its limit `stored` allows";
    KEY_STREAMS_FULL: TOO_MANY_REQUESTS "key-streams-full", "Streams of the key taken", retry after 5,
        "the key has as many streams and waiting requests open as one key may";
    TOO_MANY_EVENTS: TOO_MANY_REQUESTS "too-many-events", "Too many events", retry after 1,
        "the task has as many events as it may that it has not received";
    TOO_MANY_STREAMS: SERVICE_UNAVAILABLE "too-many-streams", "Too many open streams", retry after 5,
        "too many streams are open";
    INTERNAL: INTERNAL_SERVER_ERROR "internal", "Internal error",
        "a bug of the server; its log has the details";
    DRAINING: SERVICE_UNAVAILABLE "draining", "Server is draining", retry after 5,
        "the server drains and accepts no tasks";
    PLUGIN_COMPILING: SERVICE_UNAVAILABLE "plugin-compiling", "Plugin is compiling", retry after 1,
        "the plugin is being compiled";
    PLUGINS_FOLDER_UNAVAILABLE: SERVICE_UNAVAILABLE "plugins-folder-unavailable", "Plugins folder not writable", retry after 5,
        "the plugins folder cannot be written";
    SWAP_ENABLED: SERVICE_UNAVAILABLE "swap-enabled", "Swap enabled", retry after 60,
        "swap was enabled while the server ran; restart it";
    AUDIT_UNAVAILABLE: SERVICE_UNAVAILABLE "audit-unavailable", "Audit unavailable", retry after 5,
        "the audit cannot be written, and the server runs with `--audit-required`";
    STORE_UNAVAILABLE: SERVICE_UNAVAILABLE "store-unavailable", "Database unavailable", retry after 1,
        "the database cannot be read or written";
}

/// Problems of any operation: from the access policy, the body budget, and bugs.
pub(crate) const ANY_OPERATION: [ProblemKind; 6] =
    [INTERNAL, INVALID_HOST, HTTPS_NEEDED, UNKNOWN_HOST, UNTRUSTED_PROXY, OVERLOADED];

/// Problems of tasks that do not fit.
pub(crate) const QUEUE_LIMITS: [ProblemKind; 4] =
    [QUEUE_FULL, PLUGIN_QUEUE_FULL, KEY_QUEUE_FULL, KEY_STORAGE_FULL];

/// Problems of operations that need a key.
pub(crate) const KEY_CHECK: [ProblemKind; 8] = [
    KEY_MISSING,
    KEY_UNKNOWN,
    KEY_EXPIRED,
    SESSION_ENDED,
    UNKNOWN_PERSON,
    NOT_PERMITTED,
    TOO_MANY_WRONG_KEYS,
    TOO_MANY_REQUESTS,
];

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

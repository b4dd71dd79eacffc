//! Error responses: `application/problem+json` (RFC 9457).
//!
//! Endpoints return a [`Problem`]; the outermost layer serializes it, and converts the errors that libraries
//! produce.

use std::any::Any;
use std::net::IpAddr;

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::Serialize;
use wasmill_model::{
    InvalidPluginName, InvalidScheduleName, InvalidTaskId, PluginName, ScheduleName, TaskId, TaskState,
};
use wasmill_runtime::UploadError;
use wasmill_store::StoreError;

use crate::body::BodyMax;
use crate::field_errors::{ERRORS_MAX, FieldError, FieldErrors, truncated, truncated_quote};
use crate::problem_kind::{self as kind, ProblemKind};
use crate::schema::{IdSchema, StateSchema};

/// Fixed text of `GET /task/{id}/result` without a result.
pub(crate) const NO_RESULT: &str = "task running or failed, no result, check status";

/// Maximum bytes of the request path in `instance`.
const INSTANCE_BYTES_MAX: usize = 1_000;

/// An error response.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    state: Option<TaskState>,
    retry_after_secs: Option<u32>,
    holder: Option<TaskId>,
}

/// An error response (RFC 9457).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct ProblemDocument<'a> {
    /// The code as a URI.
    #[schemars(regex(pattern = "^urn:wasmill:problem:[a-z-]+$"))]
    r#type: String,
    /// Short description of this kind of problem.
    title: &'a str,
    /// The HTTP status code.
    status: u16,
    /// What is wrong with this request, and what to do.
    detail: &'a str,
    /// The path of the request, truncated if long.
    instance: &'a str,
    /// Stable code of this kind of problem, for programs.
    code: &'a str,
    /// The first ten validation errors of the request.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    #[schemars(length(min = 1, max = ERRORS_MAX))]
    errors: &'a [FieldError],
    /// The state of the task, if that caused the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "StateSchema")]
    state: Option<&'static str>,
    /// For a task that ends without a result: the same text as in the 202 response.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "&'static str")]
    problem: Option<&'static str>,
    /// The task that holds the unique key, or the active task of the schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "IdSchema")]
    holder: Option<TaskId>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let (errors, state, retry_after_secs, holder) = (Vec::new(), None, None, None);
        Self { status, code, title, detail, errors, state, retry_after_secs, holder }
    }

    fn of(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let problem = Self::new(kind.status, kind.code, kind.title, detail);
        Self { retry_after_secs: kind.retry_after_secs, ..problem }
    }

    /// Returns the stable code.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn invalid_path() -> Self {
        Self::of(kind::INVALID_PATH, "the percent-decoded path is not valid UTF-8")
    }

    pub(crate) fn invalid_host(why: &str) -> Self {
        let detail = format!("the request must have exactly one valid Host header: {why}");
        Self::of(kind::INVALID_HOST, detail)
    }

    /// The `Host` is a name that somebody else may have pointed at this machine.
    pub(crate) fn unknown_host(name: &[u8]) -> Self {
        let name = String::from_utf8_lossy(name);
        let name = truncated_quote(&name);
        let detail = format!(
            "'{name}' is not a host name of this server, so a web page may have pointed that name here (DNS \
             rebinding); if the name is right, start the server with --public-host {name}"
        );
        Self::of(kind::UNKNOWN_HOST, detail)
    }

    /// A page of another origin sent an unsafe request.
    pub(crate) fn cross_origin(origin: Option<&HeaderValue>) -> Self {
        let origin = origin.and_then(|origin| origin.to_str().ok()).unwrap_or("another origin");
        let detail = format!(
            "a page of {} must not change anything on this server; to allow it, start the server with \
             --allow-origin and that origin",
            truncated_quote(origin)
        );
        Self::of(kind::CROSS_ORIGIN, detail)
    }

    /// An untrusted proxy forwarded the request.
    pub(crate) fn untrusted_proxy(header: &str, peer: IpAddr) -> Self {
        let peer = peer.to_canonical();
        let detail = format!(
            "the header {header} shows that a proxy forwarded the request, and this server has no \
             authentication; if the proxy authenticates its clients, start the server with --trust-proxy \
             {peer}"
        );
        Self::of(kind::UNTRUSTED_PROXY, detail)
    }

    /// The body budget is used up.
    pub(crate) fn overloaded() -> Self {
        let detail = "other request and response bodies use the whole body budget; try again shortly";
        Self::of(kind::OVERLOADED, detail)
    }

    pub(crate) fn encoded_body(encoding: &str) -> Self {
        let detail =
            format!("send the body uncompressed, without 'Content-Encoding: {}'", truncated_quote(encoding));
        Self::of(kind::ENCODED_BODY, detail)
    }

    pub(crate) fn invalid_id(text: &str, error: InvalidTaskId) -> Self {
        let detail = format!("'{}' is not a task id: {error}", truncated_quote(text));
        Self::of(kind::INVALID_ID, detail)
    }

    pub(crate) fn invalid_json(error: &serde_json::Error) -> Self {
        let detail = format!("the body is not valid JSON: {error}");
        Self::of(kind::INVALID_JSON, detail)
    }

    pub(crate) fn invalid_json_line(line: usize, error: &serde_json::Error) -> Self {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let error = error.to_string();
        // serde_json counts lines within this line only.
        let why = error.strip_suffix(&place).unwrap_or(&error);
        let column = place.rsplit(' ').next().unwrap_or_default();
        let detail = format!("line {line} of the body is not valid JSON: {why} at column {column}");
        Self::of(kind::INVALID_JSON, detail)
    }

    pub(crate) fn invalid_idempotency_key(bytes_max: usize) -> Self {
        let detail =
            format!("Idempotency-Key must appear once and have 1 to {bytes_max} visible ASCII characters");
        Self::of(kind::INVALID_IDEMPOTENCY_KEY, detail)
    }

    /// Another task holds the unique key.
    pub(crate) fn key_taken(pointer: &str, key: &str, holder: TaskId) -> Self {
        let detail = format!("task {holder} waits or runs with the unique key '{}'", truncated_quote(key));
        let error = FieldError::at(pointer, detail.clone());
        Self { errors: vec![error], holder: Some(holder), ..Self::of(kind::KEY_TAKEN, detail) }
    }

    /// An earlier request of the same batch has this unique key.
    pub(crate) fn key_taken_in_batch(index: usize, earlier: usize, key: &str) -> Self {
        let detail = format!(
            "task request /{earlier} of this batch has the same unique key '{}'",
            truncated_quote(key)
        );
        let error = FieldError::at(format!("/{index}/unique_key"), detail.clone());
        Self { errors: vec![error], ..Self::of(kind::KEY_TAKEN, detail) }
    }

    /// A new task depends on one that does not exist.
    pub(crate) fn unknown_dependency(pointer: String, id: TaskId) -> Self {
        let detail = format!("dependency {id} does not exist; it was never created or has been deleted");
        Self::invalid_request(FieldError::at(pointer, detail))
    }

    /// The queue of a plugin is full; `index` is the first request of a batch that does not fit.
    pub(crate) fn plugin_queue_full(plugin: &PluginName, waiting_max: u64, index: Option<usize>) -> Self {
        let detail = format!(
            "the queue of plugin {plugin} is full: its manifest allows {waiting_max} waiting tasks; try \
             again later"
        );
        let error = |index: usize| {
            let detail = format!("this task and those after it do not fit, so nothing was stored: {detail}");
            FieldError::at(format!("/{index}"), detail)
        };
        let errors = index.map(error).into_iter().collect();
        Self { errors, ..Self::of(kind::PLUGIN_QUEUE_FULL, detail) }
    }

    pub(crate) fn unreadable_body() -> Self {
        let detail = "the connection failed before the whole body had arrived";
        Self::of(kind::UNREADABLE_BODY, detail)
    }

    pub(crate) fn invalid_request(errors: impl Into<FieldErrors>) -> Self {
        let errors = errors.into();
        let (detail, errors) = errors.into_parts();
        Self { errors, ..Self::of(kind::INVALID_REQUEST, detail) }
    }

    /// The request has a body, but the operation takes none.
    pub(crate) fn body_not_allowed() -> Self {
        let detail = "the body must be empty: this operation takes its parameters from path and query only";
        Self::invalid_request(FieldError::body(detail))
    }

    /// Returns the value, or fails if there are validation errors.
    pub(crate) fn reject_errors<T>(errors: FieldErrors, read: T) -> Result<T, Self> {
        if errors.is_empty() { Ok(read) } else { Err(Self::invalid_request(errors)) }
    }

    pub(crate) fn unknown_task(id: TaskId) -> Self {
        let detail = format!("task {id} does not exist; it was never created or has been deleted");
        Self::of(kind::UNKNOWN_TASK, detail)
    }

    pub(crate) fn no_webhook(id: TaskId) -> Self {
        let detail = format!("task {id} has no webhook");
        Self::of(kind::NO_WEBHOOK, detail)
    }

    pub(crate) fn nothing_to_deliver(id: TaskId, state: TaskState) -> Self {
        let detail = if state.is_final() {
            format!("task {id} is {state}, and its webhook does not subscribe to that outcome")
        } else {
            format!("task {id} is {state}; its webhook is delivered when it finishes")
        };
        Self { state: Some(state), ..Self::of(kind::NOTHING_TO_DELIVER, detail) }
    }

    pub(crate) fn unknown_plugin(name: &str) -> Self {
        let detail =
            format!("plugin '{}' does not exist; GET /plugins lists all plugins", truncated_quote(name));
        Self::of(kind::UNKNOWN_PLUGIN, detail)
    }

    pub(crate) fn unknown_schedule(name: &str) -> Self {
        let detail = format!(
            "schedule '{}' does not exist; GET /schedules lists all schedules",
            truncated_quote(name)
        );
        Self::of(kind::UNKNOWN_SCHEDULE, detail)
    }

    pub(crate) fn invalid_schedule_name(name: &str, error: InvalidScheduleName) -> Self {
        let detail = format!("'{}' is not a schedule name: {error}", truncated_quote(name));
        Self::of(kind::INVALID_SCHEDULE_NAME, detail)
    }

    pub(crate) fn schedule_managed_by_plugin(name: &ScheduleName) -> Self {
        let detail = format!(
            "schedule '{name}' is defined by the manifest {name}.toml of plugin '{name}', so change it \
             there; here it can be paused, resumed and run"
        );
        Self::of(kind::SCHEDULE_MANAGED_BY_PLUGIN, detail)
    }

    pub(crate) fn too_many_schedules(schedules_max: usize) -> Self {
        let detail = format!("this server has its maximum of {schedules_max} schedules; delete one first");
        Self::of(kind::TOO_MANY_SCHEDULES, detail)
    }

    /// The previous run is still active, and the schedule allows no overlap.
    pub(crate) fn schedule_busy(name: &ScheduleName, holder: TaskId) -> Self {
        let detail = format!(
            "task {holder} of schedule '{name}' is still waiting or running, and the schedule does not allow \
             overlap"
        );
        Self { holder: Some(holder), ..Self::of(kind::SCHEDULE_BUSY, detail) }
    }

    pub(crate) fn body_too_large(max: BodyMax) -> Self {
        let BodyMax { bytes, setting } = max;
        let setting =
            setting.map(|name| format!("; raise the setting `{name}` to allow more")).unwrap_or_default();
        let detail = format!("the body exceeds the maximum of {bytes} bytes{setting}");
        Self::of(kind::BODY_TOO_LARGE, detail)
    }

    pub(crate) fn body_too_slow() -> Self {
        let detail = "the body did not arrive within the time limit";
        Self::of(kind::BODY_TOO_SLOW, detail)
    }

    pub(crate) fn unsupported_media_type() -> Self {
        let detail = "send the body as JSON, with the header 'Content-Type: application/json'";
        Self::of(kind::NOT_JSON, detail)
    }

    pub(crate) fn not_a_batch() -> Self {
        let detail = "send the body as an array with 'Content-Type: application/json', or as lines of JSON \
                      with 'Content-Type: application/x-ndjson'";
        Self::of(kind::NOT_JSON, detail)
    }

    pub(crate) fn not_wasm() -> Self {
        let detail = "send the plugin file with the header 'Content-Type: application/wasm'";
        Self::of(kind::NOT_WASM, detail)
    }

    pub(crate) fn uploads_disabled() -> Self {
        let detail =
            "uploads are disabled, so change plugins in the plugins folder; --allow-upload enables uploads";
        Self::of(kind::UPLOADS_DISABLED, detail)
    }

    pub(crate) fn invalid_plugin_name(name: &str, error: InvalidPluginName) -> Self {
        let detail = format!("'{}' is not a plugin name: {error}", truncated_quote(name));
        Self::of(kind::INVALID_PLUGIN_NAME, detail)
    }

    pub(crate) fn built_in_plugin(name: &str) -> Self {
        let detail = format!("plugin '{name}' is built into the server and has no file to delete");
        Self::of(kind::BUILT_IN_PLUGIN, detail)
    }

    pub(crate) fn profile_in_progress() -> Self {
        let detail = "another CPU profile is in progress, and only one can run at a time; try again later";
        let status = StatusCode::CONFLICT;
        let problem = Self::new(status, "profile-in-progress", "Profile in progress", detail);
        Self { retry_after_secs: Some(5), ..problem }
    }

    pub(crate) fn no_heap_profile() -> Self {
        let detail = "this build does not track allocations, since that would slow down every task; run the \
                      server under gperftools: LD_PRELOAD=libtcmalloc.so.4 HEAPPROFILE=/tmp/wasmill wasmill \
                      serve, then \
                      google-pprof --text $(which wasmill) /tmp/wasmill.0001.heap. Guest memory is not on that heap; see /debug/tasks, and /stats of the API";
        Self::new(StatusCode::NOT_IMPLEMENTED, "no-heap-profile", "No heap profile in this build", detail)
    }

    pub(crate) fn internal_error(what: &str) -> Self {
        tracing::error!(what, "request failed");
        Self::internal()
    }

    /// Pooled guests may not start before a restart.
    pub(crate) fn swap_enabled() -> Self {
        let detail = "swap was enabled while the server runs, so pooled guests no longer start: memory of \
                      one guest could reach the next; disable swap for the server and restart it";
        Self::of(kind::SWAP_ENABLED, detail)
    }

    pub(crate) fn draining() -> Self {
        let detail = "the server is draining and accepts no new tasks; try again shortly";
        Self::of(kind::DRAINING, detail)
    }

    pub(crate) fn too_many_streams(streams_max: usize) -> Self {
        let detail = format!(
            "this server has its maximum of {streams_max} open streams and waiting requests; try again later"
        );
        Self::of(kind::TOO_MANY_STREAMS, detail)
    }

    /// The first version of a new plugin is still compiling.
    pub(crate) fn plugin_compiling(why: String) -> Self {
        Self::of(kind::PLUGIN_COMPILING, why)
    }

    /// The task ended without a result.
    pub(crate) fn no_result(state: TaskState, why: String) -> Self {
        let kind = if state == TaskState::Cancelled { kind::TASK_CANCELLED } else { kind::TASK_FAILED };
        Self { state: Some(state), ..Self::of(kind, why) }
    }

    /// The task finished before it could be cancelled.
    pub(crate) fn already_finished(id: TaskId, state: TaskState) -> Self {
        let detail = format!("task {id} is already {state}");
        Self { state: Some(state), ..Self::of(kind::TASK_FINISHED, detail) }
    }

    /// The task has not finished, so it cannot be retried.
    pub(crate) fn not_finished(id: TaskId, state: TaskState) -> Self {
        let detail = format!("task {id} is {state}; only a finished task can be retried");
        Self { state: Some(state), ..Self::of(kind::TASK_NOT_FINISHED, detail) }
    }

    fn internal() -> Self {
        let detail = "the server failed to handle the request; see its log";
        Self::of(kind::INTERNAL, detail)
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// Serializes it as the response to a request for this path.
    pub(crate) fn to_response(&self, instance: &str) -> Response {
        // A URI may be 64 KiB long.
        let instance = &*truncated(instance, INSTANCE_BYTES_MAX);
        let document = ProblemDocument {
            r#type: format!("urn:wasmill:problem:{}", self.code),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            instance,
            code: self.code,
            errors: &self.errors,
            state: self.state.map(TaskState::as_str),
            holder: self.holder,
            problem: matches!(self.code, "task-failed" | "task-cancelled").then_some(NO_RESULT),
        };
        let mut response = (self.status, Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_secs {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Rejected(reason) => Self::of(kind::PLUGIN_REJECTED, reason),
            UploadError::Unpinned { .. } => Self::of(kind::PLUGIN_NOT_PINNED, error.to_string()),
            UploadError::FolderInTheWay { .. } => Self::of(kind::FOLDER_IN_THE_WAY, error.to_string()),
            UploadError::TooMany => Self::of(kind::TOO_MANY_PLUGINS, error.to_string()),
            UploadError::Stopping => Self::draining(),
            UploadError::NoFolder | UploadError::Folder { .. } => {
                tracing::warn!(%error, "failed to change the plugins folder");
                let detail = format!("{error}; the server needs a writable plugins folder");
                Self::of(kind::PLUGINS_FOLDER_UNAVAILABLE, detail)
            }
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full { waiting_max } => {
                let detail = format!("the queue is full: {waiting_max} tasks are waiting; try again later");
                Self::of(kind::QUEUE_FULL, detail)
            }
            StoreError::PluginFull { plugin, waiting_max, .. } => {
                Self::plugin_queue_full(&plugin, waiting_max, None)
            }
            StoreError::KeyTaken { key, holder, .. } => Self::key_taken("/unique_key", &key, holder),
            StoreError::KeyTwice { index, earlier, key } => Self::key_taken_in_batch(index, earlier, &key),
            StoreError::UnknownDependency { dependency_index: place, id, .. } => {
                Self::unknown_dependency(format!("/depends_on/{place}"), id)
            }
            StoreError::KeyReused { key } => {
                let key = truncated_quote(&key);
                let detail = format!(
                    "the Idempotency-Key '{key}' was used for a different request within 24 hours; use \
                     another key"
                );
                Self::of(kind::IDEMPOTENCY_KEY_REUSED, detail)
            }
            StoreError::Closed => Self::draining(),
            error => {
                // The store logs the outage once; logging each request would flood the log.
                tracing::debug!(%error, "store request failed");
                let detail = "the database is unavailable; see the server's log";
                Self::of(kind::STORE_UNAVAILABLE, detail)
            }
        }
    }
}

/// Carries the problem to [`finish`], which knows the request path.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Serializes problems, and replaces the error responses of libraries.
pub(crate) async fn finish(request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    if percent_decode_str(uri.path()).decode_utf8().is_err() {
        return Problem::invalid_path().to_response(uri.path());
    }
    let mut response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let problem = response.extensions_mut().remove::<Problem>().unwrap_or_else(|| {
        let title = status.canonical_reason().unwrap_or("Error");
        Problem::new(status, "http", title, title.to_lowercase())
    });
    let mut finished = problem.to_response(uri.path());
    // Such as `Allow`, which a 405 requires.
    keep_headers(response.headers(), finished.headers_mut());
    finished
}

fn keep_headers(from: &HeaderMap, to: &mut HeaderMap) {
    for (name, value) in from {
        if !to.contains_key(name) && name != header::CONTENT_LENGTH {
            to.insert(name, value.clone());
        }
    }
}

pub(crate) async fn unknown_route(uri: Uri) -> Problem {
    let detail = format!("no route matches {}", truncated_quote(uri.path()));
    Problem::of(kind::UNKNOWN_ROUTE, detail)
}

/// Creates the response to a request with a method that its route does not have; `allowed` lists the others.
pub(crate) fn method_not_allowed(request: &Request, allowed: Option<&str>) -> Problem {
    let (method, path) = (request.method().as_str(), request.uri().path());
    let mut detail =
        format!("method {} is not allowed for {}", truncated_quote(method), truncated_quote(path));
    if let Some(allowed) = allowed {
        detail.push_str(&format!("; it takes {allowed}"));
    }
    Problem::of(kind::METHOD_NOT_ALLOWED, detail)
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is tower-http's")]
pub(crate) fn panicked(panic: Box<dyn Any + Send>) -> Response<Body> {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(message, "endpoint panicked");
    Problem::internal().into_response()
}

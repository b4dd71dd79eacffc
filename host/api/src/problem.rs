//! Errors as clients read them: `application/problem+json`, RFC 9457.
//!
//! Endpoints return a [`Problem`]; the outermost layer writes it out, and turns any error that some
//! library worded by itself into one.

use std::any::Any;
use std::net::IpAddr;
use std::sync::LazyLock;

use axum::Json;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
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
use crate::faults::{FAULTS_MAX, Fault, Faults, quoted, shortened};
use crate::openapi::values::{Id, State};
use crate::problem_kind::{self as kind, Kind};

/// What `GET /task/{id}/result` has always said when there is no result.
pub(crate) const NO_RESULT: &str = "task running or failed, no result, check status";

/// Bytes that are repeated of the path that was asked for.
const INSTANCE_BYTES_MAX: usize = 1_000;

/// An error for a client.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<Fault>,
    state: Option<TaskState>,
    retry_after_secs: Option<u32>,
    holder: Option<TaskId>,
}

/// An error, as RFC 9457 words it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct Document<'a> {
    /// The code as a URI.
    #[schemars(regex(pattern = "^urn:wasmill:problem:[a-z-]+$"))]
    r#type: String,
    /// What kind of problem it is, for people.
    title: &'a str,
    /// The status code of the answer.
    status: u16,
    /// What is wrong here, and what would be right.
    detail: &'a str,
    /// The path that was asked for, cut if it is long.
    instance: &'a str,
    /// What kind of problem it is, for machines. It never changes.
    code: &'a str,
    /// What is wrong with the request, the first ten things.
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    #[schemars(length(min = 1, max = FAULTS_MAX))]
    errors: &'a [Fault],
    /// The state of the task, where that is the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "State")]
    state: Option<&'static str>,
    /// Where there will be no result: the words of the 202 while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "&'static str")]
    problem: Option<&'static str>,
    /// The task that holds the unique key, or is the one that a schedule allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Id")]
    holder: Option<TaskId>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let (errors, state, retry_after_secs, holder) = (Vec::new(), None, None, None);
        Self { status, code, title, detail, errors, state, retry_after_secs, holder }
    }

    fn of(kind: Kind, detail: impl Into<String>) -> Self {
        let problem = Self::new(kind.status, kind.code, kind.title, detail);
        Self { retry_after_secs: kind.retry_after_secs, ..problem }
    }

    /// Returns what kind of problem it is, for machines.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn invalid_path() -> Self {
        Self::of(kind::INVALID_PATH, "the path has escaped bytes that are not UTF-8")
    }

    pub(crate) fn invalid_host(why: &str) -> Self {
        let detail = format!("the request must have one Host header that names a host: {why}");
        Self::of(kind::INVALID_HOST, detail)
    }

    /// The request is meant for a name that a stranger may have made lead here.
    pub(crate) fn unknown_host(name: &[u8]) -> Self {
        let name = String::from_utf8_lossy(name);
        let name = quoted(&name);
        let detail = format!(
            "this server does not know itself as '{name}': a web page could have made that name lead here; if it \
             is right, start the server with --public-host {name}"
        );
        Self::of(kind::UNKNOWN_HOST, detail)
    }

    /// A page of another origin asks for a change.
    pub(crate) fn cross_origin(origin: Option<&HeaderValue>) -> Self {
        let origin = origin.and_then(|origin| origin.to_str().ok()).unwrap_or("another origin");
        let detail = format!(
            "a page of {} may not change anything here; if it may, start the server with --allow-origin and that \
             origin",
            quoted(origin)
        );
        Self::of(kind::CROSS_ORIGIN, detail)
    }

    /// A proxy that is not trusted forwarded the request.
    pub(crate) fn came_through_a_proxy(header: &str, peer: IpAddr) -> Self {
        let peer = peer.to_canonical();
        let detail = format!(
            "the request came through a proxy, as its header {header} says, and this server asks nobody who they \
             are; if the proxy does, start the server with --trust-proxy {peer}"
        );
        Self::of(kind::CAME_THROUGH_A_PROXY, detail)
    }

    /// The bodies that are on their way take all the memory there is for them.
    pub(crate) fn overloaded() -> Self {
        let detail =
            "the bodies of other requests and answers take all the memory for them; try again shortly";
        Self::of(kind::OVERLOADED, detail)
    }

    pub(crate) fn encoded_body(encoding: &str) -> Self {
        let detail = format!("send the body as it is, without 'Content-Encoding: {}'", quoted(encoding));
        Self::of(kind::ENCODED_BODY, detail)
    }

    pub(crate) fn invalid_id(text: &str, error: InvalidTaskId) -> Self {
        let detail = format!("'{}' is no task id: {error}", quoted(text));
        Self::of(kind::INVALID_ID, detail)
    }

    pub(crate) fn invalid_json(error: &serde_json::Error) -> Self {
        let detail = format!("the body is not valid JSON: {error}");
        Self::of(kind::INVALID_JSON, detail)
    }

    pub(crate) fn invalid_json_line(line: usize, error: &serde_json::Error) -> Self {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let error = error.to_string();
        // It knows only of its own line.
        let why = error.strip_suffix(&place).unwrap_or(&error);
        let column = place.rsplit(' ').next().unwrap_or_default();
        let detail = format!("line {line} of the body is not valid JSON: {why} at column {column}");
        Self::of(kind::INVALID_JSON, detail)
    }

    pub(crate) fn invalid_request_key(bytes_max: usize) -> Self {
        let detail = format!("Idempotency-Key must be given once, with 1 to {bytes_max} visible characters");
        Self::of(kind::INVALID_REQUEST_KEY, detail)
    }

    /// Another task holds the unique key.
    pub(crate) fn key_taken(pointer: &str, key: &str, holder: TaskId) -> Self {
        let detail = format!("task {holder} waits or runs under the unique key '{}'", quoted(key));
        let fault = Fault::at(pointer, detail.clone());
        Self { errors: vec![fault], holder: Some(holder), ..Self::of(kind::KEY_TAKEN, detail) }
    }

    /// An earlier request of the same batch has the unique key.
    pub(crate) fn key_taken_within(index: usize, earlier: usize, key: &str) -> Self {
        let detail = format!("/{earlier} of this batch has the same unique key '{}'", quoted(key));
        let fault = Fault::at(format!("/{index}/unique_key"), detail.clone());
        Self { errors: vec![fault], ..Self::of(kind::KEY_TAKEN, detail) }
    }

    /// A new task is to wait for one that is not there.
    pub(crate) fn unknown_dependency(pointer: String, id: TaskId) -> Self {
        let detail = format!("there is no task {id} to wait for; it was never accepted or has been deleted");
        Self::invalid_request(Fault::at(pointer, detail))
    }

    /// Says that no more tasks of a plugin may wait; of a batch, which of them was one too many.
    pub(crate) fn plugin_full(plugin: &PluginName, waiting_max: u64, index: Option<usize>) -> Self {
        let detail = format!(
            "{waiting_max} tasks of plugin {plugin} are the most that may wait, as its manifest says; try again later"
        );
        let fault = |index: usize| {
            let detail =
                format!("there is no room for this one and those after it; nothing was stored: {detail}");
            Fault::at(format!("/{index}"), detail)
        };
        let errors = index.map(fault).into_iter().collect();
        Self { errors, ..Self::of(kind::PLUGIN_LINE_FULL, detail) }
    }

    pub(crate) fn unreadable_body() -> Self {
        let detail = "the connection broke before the whole body had arrived";
        Self::of(kind::UNREADABLE_BODY, detail)
    }

    pub(crate) fn invalid_request(faults: impl Into<Faults>) -> Self {
        let faults = faults.into();
        let (detail, errors) = faults.into_parts();
        Self { errors, ..Self::of(kind::INVALID_REQUEST, detail) }
    }

    /// The request has a body where none is taken.
    pub(crate) fn no_body() -> Self {
        let detail = "the body must be empty: this takes none, and what it means is said by path and query";
        Self::invalid_request(Fault::body(detail))
    }

    /// Returns what was read of a request, unless something is wrong with it.
    pub(crate) fn unless<T>(faults: Faults, read: T) -> Result<T, Self> {
        if faults.is_empty() { Ok(read) } else { Err(Self::invalid_request(faults)) }
    }

    pub(crate) fn unknown_task(id: TaskId) -> Self {
        let detail = format!("there is no task {id}; it was never accepted or has been deleted");
        Self::of(kind::UNKNOWN_TASK, detail)
    }

    pub(crate) fn no_webhook(id: TaskId) -> Self {
        let detail = format!("task {id} has no webhook: nobody is told when it ends");
        Self::of(kind::NO_WEBHOOK, detail)
    }

    pub(crate) fn nothing_to_deliver(id: TaskId, state: TaskState) -> Self {
        let detail = if state.is_final() {
            format!("task {id} is {state}, and its webhook is not to be told of that")
        } else {
            format!("task {id} is {state}: its webhook is told when it has ended")
        };
        Self { state: Some(state), ..Self::of(kind::NOTHING_TO_DELIVER, detail) }
    }

    pub(crate) fn unknown_plugin(name: &str) -> Self {
        let detail = format!("there is no plugin '{}'; GET /plugins lists those there are", quoted(name));
        Self::of(kind::UNKNOWN_PLUGIN, detail)
    }

    pub(crate) fn unknown_schedule(name: &str) -> Self {
        let detail = format!("there is no schedule '{}'; GET /schedules lists those there are", quoted(name));
        Self::of(kind::UNKNOWN_SCHEDULE, detail)
    }

    pub(crate) fn invalid_schedule_name(name: &str, error: InvalidScheduleName) -> Self {
        let detail = format!("'{}' cannot name a schedule: {error}", quoted(name));
        Self::of(kind::INVALID_SCHEDULE_NAME, detail)
    }

    pub(crate) fn schedule_of_manifest(name: &ScheduleName) -> Self {
        let detail = format!(
            "schedule '{name}' comes with the manifest {name}.toml of plugin '{name}' and is changed there; it \
             can be paused here"
        );
        Self::of(kind::SCHEDULE_OF_MANIFEST, detail)
    }

    pub(crate) fn too_many_schedules(most: usize) -> Self {
        let detail = format!("there are {most} schedules, the most this server takes; delete one first");
        Self::of(kind::TOO_MANY_SCHEDULES, detail)
    }

    /// An earlier task of the schedule goes on, and there is to be one at a time.
    pub(crate) fn schedule_busy(name: &ScheduleName, holder: TaskId) -> Self {
        let detail =
            format!("task {holder} of schedule '{name}' waits or runs, and the schedule allows no overlap");
        Self { holder: Some(holder), ..Self::of(kind::SCHEDULE_BUSY, detail) }
    }

    pub(crate) fn body_too_large(max: BodyMax) -> Self {
        let BodyMax { bytes, setting } = max;
        let setting = setting.map(|name| format!("; the setting `{name}` allows more")).unwrap_or_default();
        let detail = format!("the body is larger than {bytes} bytes, the most this server takes{setting}");
        Self::of(kind::BODY_TOO_LARGE, detail)
    }

    pub(crate) fn body_too_slow() -> Self {
        let detail = "the body did not arrive in time";
        Self::of(kind::BODY_TOO_SLOW, detail)
    }

    pub(crate) fn unsupported_media_type() -> Self {
        let detail = "send the body as JSON, with the header 'Content-Type: application/json'";
        Self::of(kind::NOT_JSON, detail)
    }

    pub(crate) fn not_a_batch() -> Self {
        let detail = "send the body as an array, with 'Content-Type: application/json', or as lines of JSON, \
                      with 'Content-Type: application/x-ndjson'";
        Self::of(kind::NOT_JSON, detail)
    }

    pub(crate) fn not_wasm() -> Self {
        let detail = "send the bytes of the plugin, with the header 'Content-Type: application/wasm'";
        Self::of(kind::NOT_WASM, detail)
    }

    pub(crate) fn uploads_are_off() -> Self {
        let detail = "plugins of this server are changed in its folder only; --allow-upload opens this way";
        Self::of(kind::UPLOADS_ARE_OFF, detail)
    }

    pub(crate) fn invalid_plugin_name(name: &str, error: InvalidPluginName) -> Self {
        let detail = format!("'{}' cannot name a plugin: {error}", quoted(name));
        Self::of(kind::INVALID_PLUGIN_NAME, detail)
    }

    pub(crate) fn built_in_plugin(name: &str) -> Self {
        let detail = format!("plugin '{name}' is part of the server and has no file to delete");
        Self::of(kind::BUILT_IN_PLUGIN, detail)
    }

    pub(crate) fn profile_under_way() -> Self {
        let detail = "another profile is being taken, and there is one at a time; try again when it is over";
        let status = StatusCode::CONFLICT;
        let problem = Self::new(status, "profile-under-way", "A profile is being taken", detail);
        Self { retry_after_secs: Some(5), ..problem }
    }

    pub(crate) fn no_heap_profile() -> Self {
        let detail = "counting every allocation would cost every task, so this server cannot tell; start it \
                      under gperftools: LD_PRELOAD=libtcmalloc.so.4 HEAPPROFILE=/tmp/wasmill wasmill serve, then \
                      google-pprof --text $(which wasmill) /tmp/wasmill.0001.heap. The memory of guests is not on \
                      that heap; it is in /debug/tasks, and in /stats of the REST API";
        Self::new(StatusCode::NOT_IMPLEMENTED, "no-heap-profile", "No heap profile in this build", detail)
    }

    pub(crate) fn internal_fault(what: &str) -> Self {
        tracing::error!(what, "a request could not be carried out");
        Self::internal()
    }

    /// Small guests wait for a restart.
    pub(crate) fn swap_is_on() -> Self {
        let detail = "swap was switched on while the server runs, so no more small guests start: the memory of one \
                      could reach the next; switch swap off for the server, and restart it";
        Self::of(kind::SWAP_IS_ON, detail)
    }

    pub(crate) fn draining() -> Self {
        let detail = "the server is draining and takes no new tasks; try again shortly";
        Self::of(kind::DRAINING, detail)
    }

    pub(crate) fn too_many_followers(followers_max: usize) -> Self {
        let detail = format!(
            "{followers_max} clients follow or wait already, the most this server takes; try again later"
        );
        Self::of(kind::TOO_MANY_FOLLOWERS, detail)
    }

    /// A plugin has just been added, and its first version is not ready yet.
    pub(crate) fn plugin_compiling(why: String) -> Self {
        Self::of(kind::PLUGIN_COMPILING, why)
    }

    /// There is no result and there never will be.
    pub(crate) fn no_result(state: TaskState, why: String) -> Self {
        let kind = if state == TaskState::Cancelled { kind::TASK_CANCELLED } else { kind::TASK_FAILED };
        Self { state: Some(state), ..Self::of(kind, why) }
    }

    /// The task ended before it could be cancelled.
    pub(crate) fn already_ended(id: TaskId, state: TaskState) -> Self {
        let detail = format!("task {id} is already {state}");
        Self { state: Some(state), ..Self::of(kind::TASK_ENDED, detail) }
    }

    /// The task has not ended, so it cannot be done once more.
    pub(crate) fn not_ended(id: TaskId, state: TaskState) -> Self {
        let detail = format!("task {id} is {state}; only one that has ended can be retried");
        Self { state: Some(state), ..Self::of(kind::TASK_NOT_ENDED, detail) }
    }

    fn internal() -> Self {
        let detail = "the server failed to answer; its log says why";
        Self::of(kind::INTERNAL, detail)
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// Writes it out, as the answer to a request for this path.
    pub(crate) fn document(&self, instance: &str) -> Response {
        // What was asked for may be as long as a URI may be.
        let instance = &*shortened(instance, INSTANCE_BYTES_MAX);
        let document = Document {
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
                tracing::warn!(%error, "the plugins folder cannot be changed");
                let detail = format!("{error}; the server needs a folder that it may write to");
                Self::of(kind::PLUGINS_FOLDER_UNAVAILABLE, detail)
            }
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full { waiting_max } => {
                let detail =
                    format!("{waiting_max} tasks are waiting, the most this server takes; try again later");
                Self::of(kind::WAITING_LINE_FULL, detail)
            }
            StoreError::PluginFull { plugin, waiting_max, .. } => {
                Self::plugin_full(&plugin, waiting_max, None)
            }
            StoreError::KeyTaken { key, holder, .. } => Self::key_taken("/unique_key", &key, holder),
            StoreError::KeyTwice { index, earlier, key } => Self::key_taken_within(index, earlier, &key),
            StoreError::UnknownDependency { place, id, .. } => {
                Self::unknown_dependency(format!("/depends_on/{place}"), id)
            }
            StoreError::KeyReused { key } => {
                let key = quoted(&key);
                let detail = format!(
                    "another request was made under the Idempotency-Key '{key}' within 24 hours; take another key"
                );
                Self::of(kind::REQUEST_KEY_REUSED, detail)
            }
            StoreError::Closed => Self::draining(),
            error => {
                // The store tells of its trouble once; with every request it would fill the log.
                tracing::debug!(%error, "the store could not serve a request");
                let detail = "the server cannot reach its database right now; its log says why";
                Self::of(kind::STORE_UNAVAILABLE, detail)
            }
        }
    }
}

/// Carries the problem to [`finish`], which knows the path that was asked for.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes out problems, and rewords errors that come from a library: no other error leaves.
pub(crate) async fn finish(request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    if percent_decode_str(uri.path()).decode_utf8().is_err() {
        return Problem::invalid_path().document(uri.path());
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
    let mut finished = problem.document(uri.path());
    // Such as `Allow`, which a 405 has to name.
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
    let detail = format!("there is nothing at {}", quoted(uri.path()));
    Problem::of(kind::UNKNOWN_ROUTE, detail)
}

pub(crate) async fn method_not_allowed(request: Request) -> Problem {
    let (method, path) = (request.method().as_str(), request.uri().path());
    let mut detail = format!("{} does not take {}", quoted(path), quoted(method));
    if let Some(route) = request.extensions().get::<MatchedPath>() {
        let allowed = allowed(route.as_str());
        if !allowed.is_empty() {
            detail.push_str(&format!("; it takes {allowed}"));
        }
    }
    Problem::of(kind::METHOD_NOT_ALLOWED, detail)
}

/// Names the methods of a route. Its `Allow` is set only after everything here.
fn allowed(route: &str) -> String {
    static ROUTES: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| crate::app::routes().known().to_vec());
    let methods = ROUTES.iter().filter(|(_, path)| *path == route).map(|(method, _)| match *method {
        "get" => "GET, HEAD".to_owned(),
        method => method.to_uppercase(),
    });
    methods.collect::<Vec<_>>().join(", ")
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is tower-http's")]
pub(crate) fn panicked(panic: Box<dyn Any + Send>) -> Response<Body> {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(message, "an endpoint panicked");
    Problem::internal().into_response()
}

//! Errors as clients read them: `application/problem+json`, RFC 9457.
//!
//! Endpoints return a [`Problem`]; the outermost layer writes it out, and turns any error that some
//! library worded by itself into one.

use std::any::Any;
use std::borrow::Cow;

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use wasmill_model::{InvalidPluginName, InvalidTaskId, TaskId, TaskState};
use wasmill_runtime::UploadError;
use wasmill_store::StoreError;

/// What `GET /task/{id}/result` has always said when there is no result.
pub(crate) const NO_RESULT: &str = "task running or failed, no result, check status";

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
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Fault {
    /// A JSON pointer into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pointer: Option<String>,
    /// The name of a query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parameter: Option<String>,
    /// What is wrong, and what would be right.
    pub(crate) detail: String,
}

impl Fault {
    /// Names a field of the body, escaped as RFC 6901 asks.
    pub(crate) fn field(name: &str, detail: impl Into<String>) -> Self {
        let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        Self { pointer: Some(pointer), parameter: None, detail: detail.into() }
    }

    /// Names a query parameter.
    pub(crate) fn parameter(name: &str, detail: impl Into<String>) -> Self {
        Self { pointer: None, parameter: Some(name.to_owned()), detail: detail.into() }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'a [Fault],
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'static str>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { status, code, title, detail, errors: Vec::new(), state: None, retry_after_secs: None }
    }

    pub(crate) fn invalid_id(text: &str, error: InvalidTaskId) -> Self {
        let detail = format!("'{}' is no task id: {error}", shortened(text));
        Self::new(StatusCode::BAD_REQUEST, "invalid-id", "Not a task id", detail)
    }

    pub(crate) fn invalid_json(error: &serde_json::Error) -> Self {
        let detail = format!("the body is not valid JSON: {error}");
        Self::new(StatusCode::BAD_REQUEST, "invalid-json", "Body is not JSON", detail)
    }

    pub(crate) fn unreadable_body() -> Self {
        let detail = "the connection broke before the whole body had arrived";
        Self::new(StatusCode::BAD_REQUEST, "unreadable-body", "Body could not be read", detail)
    }

    pub(crate) fn invalid_request(errors: Vec<Fault>) -> Self {
        let detail: Vec<_> = errors.iter().map(|fault| fault.detail.as_str()).collect();
        let detail = detail.join("; ");
        let title = "Request is well-formed but wrong";
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-request", title, detail) }
    }

    pub(crate) fn unknown_task(id: TaskId) -> Self {
        let detail = format!("there is no task {id}; it was never accepted or has been deleted");
        Self::new(StatusCode::NOT_FOUND, "unknown-task", "No such task", detail)
    }

    pub(crate) fn unknown_plugin(name: &str) -> Self {
        let detail = format!("there is no plugin '{}'; GET /plugins lists those there are", shortened(name));
        Self::new(StatusCode::NOT_FOUND, "unknown-plugin", "No such plugin", detail)
    }

    pub(crate) fn body_too_large(bytes_max: usize) -> Self {
        let detail = format!("the body is larger than {bytes_max} bytes, the most this server takes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "Body too large", detail)
    }

    pub(crate) fn body_too_slow() -> Self {
        let detail = "the body did not arrive in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", "Body too slow", detail)
    }

    pub(crate) fn unsupported_media_type() -> Self {
        let detail = "send the body as JSON, with the header 'Content-Type: application/json'";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Self::new(status, "unsupported-media-type", "Body is not declared as JSON", detail)
    }

    pub(crate) fn not_wasm() -> Self {
        let detail = "send the bytes of the plugin, with the header 'Content-Type: application/wasm'";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Self::new(status, "unsupported-media-type", "Body is not declared as WebAssembly", detail)
    }

    pub(crate) fn uploads_are_off() -> Self {
        let detail = "plugins of this server are changed in its folder only; --allow-upload opens this way";
        Self::new(StatusCode::FORBIDDEN, "uploads-are-off", "Plugins cannot be changed here", detail)
    }

    pub(crate) fn invalid_plugin_name(name: &str, error: InvalidPluginName) -> Self {
        let detail = format!("'{}' cannot name a plugin: {error}", shortened(name));
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self::new(status, "invalid-plugin-name", "Not a plugin name", detail)
    }

    pub(crate) fn built_in_plugin(name: &str) -> Self {
        let detail = format!("plugin '{name}' is part of the server and has no file to delete");
        Self::new(StatusCode::CONFLICT, "built-in-plugin", "Plugin is built in", detail)
    }

    pub(crate) fn internal_fault(what: &str) -> Self {
        tracing::error!(what, "a request could not be carried out");
        Self::internal()
    }

    pub(crate) fn draining() -> Self {
        let detail = "the server is draining and takes no new tasks; try again shortly";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self { retry_after_secs: Some(5), ..Self::new(status, "draining", "Draining", detail) }
    }

    pub(crate) fn too_many_followers(followers_max: usize) -> Self {
        let detail = format!(
            "{followers_max} clients follow or wait already, the most this server takes; try again later"
        );
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let problem = Self::new(status, "too-many-followers", "Too many followers", detail);
        Self { retry_after_secs: Some(5), ..problem }
    }

    /// A plugin has just been added, and its first version is not ready yet.
    pub(crate) fn plugin_compiling(why: String) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let problem = Self::new(status, "plugin-compiling", "Plugin is being compiled", why);
        Self { retry_after_secs: Some(1), ..problem }
    }

    /// There is no result and there never will be.
    pub(crate) fn no_result(state: TaskState, why: String) -> Self {
        let code = if state == TaskState::Cancelled { "task-cancelled" } else { "task-failed" };
        let problem = Self::new(StatusCode::CONFLICT, code, "There will be no result", why);
        Self { state: Some(state), ..problem }
    }

    /// The task ended before it could be cancelled.
    pub(crate) fn already_ended(id: TaskId, state: TaskState) -> Self {
        let detail = format!("task {id} is already {state}");
        let problem = Self::new(StatusCode::CONFLICT, "task-ended", "Task has already ended", detail);
        Self { state: Some(state), ..problem }
    }

    fn internal() -> Self {
        let detail = "the server failed to answer; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }

    fn document(&self, instance: &str) -> Response {
        let document = Document {
            r#type: format!("urn:wasmill:problem:{}", self.code),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            instance,
            code: self.code,
            errors: &self.errors,
            state: self.state.map(TaskState::as_str),
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
            UploadError::Rejected(reason) => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Self::new(status, "plugin-rejected", "Plugin was rejected", reason)
            }
            UploadError::NoFolder | UploadError::Folder { .. } => {
                tracing::warn!(%error, "the plugins folder cannot be changed");
                let detail = format!("{error}; the server needs a folder that it may write to");
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "plugins-folder-unavailable", "Plugins folder cannot be changed", detail)
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
                let title = "Too many waiting tasks";
                let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "waiting-line-full", title, detail);
                Self { retry_after_secs: Some(1), ..problem }
            }
            StoreError::Closed => Self::draining(),
            error => {
                // The store tells of its trouble once; with every request it would fill the log.
                tracing::debug!(%error, "the store could not serve a request");
                let detail = "the server cannot reach its database right now; its log says why";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let problem = Self::new(status, "store-unavailable", "Database unavailable", detail);
                Self { retry_after_secs: Some(1), ..problem }
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
    let detail = format!("there is nothing at {}", shortened(uri.path()));
    Problem::new(StatusCode::NOT_FOUND, "unknown-route", "No such route", detail)
}

pub(crate) async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} cannot be asked to {}", shortened(uri.path()), shortened(method.as_str()));
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
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

/// Cuts what a client sent before it is quoted back.
fn shortened(text: &str) -> Cow<'_, str> {
    const CHARS_MAX: usize = 100;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

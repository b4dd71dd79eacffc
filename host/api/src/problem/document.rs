//! A problem, and the document that it becomes.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use wasmill_model::{TaskId, TaskPhase, TaskState};

use crate::openapi::schema::{IdSchema, StateSchema};
use crate::problem::field_errors::{ERRORS_MAX, FieldError, FieldErrors, truncated};
use crate::problem::kind::{self, ProblemKind};

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
    state: Option<TaskPhase>,
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
    /// Creates a problem that is not of the API.
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let detail = detail.into();
        let (errors, state, retry_after_secs, holder) = (Vec::new(), None, None, None);
        Self { status, code, title, detail, errors, state, retry_after_secs, holder }
    }

    /// Creates a problem of this kind.
    pub(crate) fn of(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let problem = Self::new(kind.status, kind.code, kind.title, detail);
        Self { retry_after_secs: kind.retry_after_secs, ..problem }
    }

    /// Adds the validation errors.
    pub(crate) fn with_errors(self, errors: Vec<FieldError>) -> Self {
        Self { errors, ..self }
    }

    /// Adds the state of the task that caused the problem.
    pub(crate) fn with_state(self, state: TaskState) -> Self {
        Self { state: Some(state.phase()), ..self }
    }

    /// Adds the task that is in the way.
    pub(crate) fn with_holder(self, holder: TaskId) -> Self {
        Self { holder: Some(holder), ..self }
    }

    /// Adds the header `Retry-After`.
    pub(crate) fn with_retry_after(self, seconds: u32) -> Self {
        Self { retry_after_secs: Some(seconds), ..self }
    }

    /// Returns the stable code.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn invalid_json(error: &serde_json::Error) -> Self {
        let detail = format!("the body is not valid JSON: {error}");
        Self::of(kind::INVALID_JSON, detail)
    }

    pub(crate) fn invalid_request(errors: impl Into<FieldErrors>) -> Self {
        let errors = errors.into();
        let (detail, errors) = errors.into_parts();
        Self { errors, ..Self::of(kind::INVALID_REQUEST, detail) }
    }

    /// Returns the value, or fails if there are validation errors.
    pub(crate) fn reject_errors<T>(errors: FieldErrors, read: T) -> Result<T, Self> {
        if errors.is_empty() { Ok(read) } else { Err(Self::invalid_request(errors)) }
    }

    pub(crate) fn internal_error(what: &str) -> Self {
        tracing::error!(what, "request failed");
        Self::internal()
    }

    pub(crate) fn draining() -> Self {
        let detail = "the server is draining and accepts no new tasks; try again shortly";
        Self::of(kind::DRAINING, detail)
    }

    /// The first version of a new plugin is still compiling.
    pub(crate) fn plugin_compiling(why: String) -> Self {
        Self::of(kind::PLUGIN_COMPILING, why)
    }

    /// An error that is in the log.
    pub(crate) fn internal() -> Self {
        let detail = "the server failed to handle the request; see its log";
        Self::of(kind::INTERNAL, detail)
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn title(&self) -> &'static str {
        self.title
    }

    pub(crate) fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// Returns the seconds of `Retry-After`.
    pub(crate) fn retry_after_secs(&self) -> Option<u32> {
        self.retry_after_secs
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
            state: self.state.map(TaskPhase::as_str),
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

/// Carries the problem to the layer `finish`, which knows the request path.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

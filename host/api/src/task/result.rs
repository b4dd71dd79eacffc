//! `GET /task/{id}/result`: the result of a task; `?wait=30s` waits for it. `Accept` may ask for the result itself rather
//! than for JSON.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_model::{Cause, MediaType, ResultType, Task, TaskId, TaskState};

use crate::http::accept;
use crate::http::authorize::Sender;
use crate::http::params::Params;
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::kind;
use crate::problem::{NO_RESULT, Problem};
use crate::state::Api;
use crate::task::lookup::{parse_task_id, require_task};
use crate::task::request::wait::{self, WaitParams};
use crate::view::task::{shown_to, status_text, type_and_encoding};

/// The result of a completed task.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TaskResult")]
struct ResultView {
    result: Option<String>,
    /// Media type of the result, if the manifest declares one or the result is bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<String>,
    /// `base64` if the result is bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["base64"]))]
    result_encoding: Option<&'static str>,
}

/// The task has no result yet.
#[derive(Serialize, JsonSchema)]
struct NoResultYet {
    problem: &'static str,
}

pub(crate) async fn result(
    State(api): State<Api>,
    Sender(sender): Sender,
    Path(id): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = parse_task_id(&id)?;
    let wait_params = WaitParams::read(&params, &headers)?;
    let task = match wait_params.wait {
        Some(wait) => require_task(id, wait::until_finished(&api, &sender, id, wait).await)?,
        None => require_task(id, api.store.get(id).await)?,
    };
    let mut answer = answer(shown_to(&sender, task), &headers)?;
    answer.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok((wait_params.applied().into_iter().collect::<HeaderMap>(), answer).into_response())
}

fn answer(task: Task, headers: &HeaderMap) -> Result<Response, Problem> {
    match task.state {
        TaskState::Completed => Ok(completed(task, headers)),
        TaskState::Failed | TaskState::Cancelled => Err(no_result(task.state, why(&task))),
        _ => Ok((StatusCode::ACCEPTED, Json(NoResultYet { problem: NO_RESULT })).into_response()),
    }
}

fn completed(task: Task, headers: &HeaderMap) -> Response {
    let Task { id, result, result_type, .. } = task;
    // It is hidden from a key that may not read it.
    if let Some(text) = &result {
        let own = result_type.as_ref().map_or(MediaType::TEXT, |result| result.media.as_str());
        if let Some(media) = accept::raw_type(headers, own) {
            return raw(id, text, result_type.as_ref(), media);
        }
    }
    let (result_type, result_encoding) = type_and_encoding(result_type);
    Json(ResultView { result, result_type, result_encoding }).into_response()
}

/// Answers with the result itself. It may be a page or a script, so browsers store it and open it nowhere.
fn raw(id: TaskId, text: &str, result_type: Option<&ResultType>, media: &str) -> Response {
    let decoded =
        result_type.filter(|result| result.is_base64).and_then(|_| BASE64.decode(text.as_bytes()).ok());
    let body = decoded.unwrap_or_else(|| text.as_bytes().to_vec());
    let charset = if media.starts_with("text/") { "; charset=utf-8" } else { "" };
    let headers = [
        (header::CONTENT_TYPE, format!("{media}{charset}")),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"result-{id}\"")),
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    (headers, body).into_response()
}

fn why(task: &Task) -> String {
    match &task.failure {
        Some(failure) if task.state == TaskState::Failed || failure.cause == Cause::Dependency => {
            format!("{}: {}", status_text(task), failure.message)
        }
        _ => status_text(task),
    }
}

pub(crate) fn spec() -> Operation {
    let result = ResponseSpec::json::<ResultView>(
        "The result. If `Accept` prefers the type of the result or `application/octet-stream` to JSON, its bytes.",
        json!({"result": "io work result = 1"}),
    )
    .or_bytes();
    let none =
        ResponseSpec::json::<NoResultYet>("The task still waits or runs.", json!({"problem": NO_RESULT}));
    wait::add_parameters(Operation::get("/task/{id}/result", "getTaskResult", "Get the result of a task"))
        .responds(200, wait::add_applied_header(result))
        .responds(202, wait::add_applied_header(none))
        .problems(&[kind::TASK_FAILED, kind::TASK_CANCELLED, kind::INVALID_REQUEST])
        .problems(&kind::TASK_ACCESS)
}

/// The task ended without a result.
fn no_result(state: TaskState, why: String) -> Problem {
    let kind = if state == TaskState::Cancelled { kind::TASK_CANCELLED } else { kind::TASK_FAILED };
    Problem::of(kind, why).with_state(state)
}

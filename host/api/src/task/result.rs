//! `GET /task/{id}/result`: the result of a task; `?wait=30s` waits for it.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_model::{Cause, Task, TaskState};

use crate::http::authorize::Sender;
use crate::http::params::Params;
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::kind;
use crate::problem::{NO_RESULT, Problem};
use crate::state::Api;
use crate::task::lookup::{parse_task_id, require_task};
use crate::task::request::wait::{self, WaitParams};
use crate::view::task::{shown_to, status_text};

/// The result of a completed task.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TaskResult")]
struct ResultView {
    result: Option<String>,
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
        Some(wait) => require_task(id, wait::until_finished(&api, id, wait).await)?,
        None => require_task(id, api.store.get(id).await)?,
    };
    let answer = answer(shown_to(&sender, task))?;
    Ok((wait_params.applied().into_iter().collect::<HeaderMap>(), answer).into_response())
}

fn answer(task: Task) -> Result<Response, Problem> {
    match task.state {
        TaskState::Completed => Ok(Json(ResultView { result: task.result }).into_response()),
        TaskState::Failed | TaskState::Cancelled => Err(no_result(task.state, why(&task))),
        _ => Ok((StatusCode::ACCEPTED, Json(NoResultYet { problem: NO_RESULT })).into_response()),
    }
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
    let result = ResponseSpec::json::<ResultView>("The result.", json!({"result": "io work result = 1"}));
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

//! `GET /task/{id}/result`: the result, or whether there ever will be one; `?wait=30s` waits for it.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_model::{Cause, Task, TaskState};

use crate::app::Api;
use crate::openapi::{Answer as Answers, Operation};
use crate::params::Params;
use crate::problem::{NO_RESULT, Problem};
use crate::problem_kind as kind;
use crate::task_view::words;
use crate::wait::{self, Wish};

/// What a completed task answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TaskResult")]
struct Answer {
    result: Option<String>,
}

/// There is no result yet.
#[derive(Serialize, JsonSchema)]
struct NoResultYet {
    problem: &'static str,
}

pub(crate) async fn result(
    State(api): State<Api>,
    Path(id): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = Api::task_id(&id)?;
    let wish = Wish::read(&params, &headers)?;
    let task = match wish.wait {
        Some(wait) => Api::found(id, wait::until_ended(&api, id, wait).await)?,
        None => Api::found(id, api.store.get(id).await)?,
    };
    let answer = answer(task)?;
    Ok((wish.applied().into_iter().collect::<HeaderMap>(), answer).into_response())
}

fn answer(task: Task) -> Result<Response, Problem> {
    match task.state {
        TaskState::Completed => Ok(Json(Answer { result: task.result }).into_response()),
        TaskState::Waiting | TaskState::Running => {
            Ok((StatusCode::ACCEPTED, Json(NoResultYet { problem: NO_RESULT })).into_response())
        }
        TaskState::Failed | TaskState::Cancelled => Err(Problem::no_result(task.state, why(&task))),
    }
}

fn why(task: &Task) -> String {
    match &task.failure {
        Some(failure) if task.state == TaskState::Failed || failure.cause == Cause::Dependency => {
            format!("{}: {}", words(task), failure.message)
        }
        _ => words(task),
    }
}

pub(crate) fn about() -> Operation {
    let result = Answers::json::<Answer>("The result.", json!({"result": "io work result = 1"}));
    let none = Answers::json::<NoResultYet>("It still waits or runs.", json!({"problem": NO_RESULT}));
    wait::about(Operation::get("/task/{id}/result", "getTaskResult", "Fetch the result of a task"))
        .answers(200, wait::applied(result))
        .answers(202, wait::applied(none))
        .problems(&[kind::TASK_FAILED, kind::TASK_CANCELLED, kind::INVALID_REQUEST])
        .problems(&kind::OF_TASK)
}

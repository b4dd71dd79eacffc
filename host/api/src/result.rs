//! `GET /task/{id}/result`: the result, or whether there ever will be one.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use wasmill_model::{Task, TaskState};

use crate::app::Api;
use crate::problem::{NO_RESULT, Problem};
use crate::record::words;

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Result(Option<String>),
    Problem(&'static str),
}

pub(crate) async fn result(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = Api::task_id(&id)?;
    let task = Api::found(id, api.store.get(id).await)?;
    match task.state {
        TaskState::Completed => Ok(Json(Answer::Result(task.result)).into_response()),
        TaskState::Waiting | TaskState::Running => {
            Ok((StatusCode::ACCEPTED, Json(Answer::Problem(NO_RESULT))).into_response())
        }
        TaskState::Failed | TaskState::Cancelled => Err(Problem::no_result(task.state, why(&task))),
    }
}

fn why(task: &Task) -> String {
    match &task.failure {
        Some(failure) if task.state == TaskState::Failed => format!("{}: {}", words(task), failure.message),
        _ => words(task),
    }
}

//! `GET /task/{id}/result`: the result, or whether there ever will be one; `?wait=30s` waits for it.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use wasmill_model::{Task, TaskState};

use crate::app::Api;
use crate::problem::{NO_RESULT, Problem};
use crate::record::words;
use crate::wait::{self, Wish};

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Result(Option<String>),
    Problem(&'static str),
}

pub(crate) async fn result(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = Api::task_id(&id)?;
    let wish = Wish::read(query.0.as_deref(), &headers)?;
    let task = match wish.wait {
        Some(wait) => Api::found(id, wait::until_ended(&api, id, wait).await)?,
        None => Api::found(id, api.store.get(id).await)?,
    };
    let answer = answer(task)?;
    Ok((wish.applied().into_iter().collect::<HeaderMap>(), answer).into_response())
}

fn answer(task: Task) -> Result<Response, Problem> {
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

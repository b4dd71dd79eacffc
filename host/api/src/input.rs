//! `GET /task/{id}/input`: what a task was asked to do, as it came.

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::IntoResponse;

use crate::app::Api;
use crate::openapi::{Answer, Operation};
use crate::problem::Problem;
use crate::problem_kind as kind;

pub(crate) async fn input(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = Api::task_id(&id)?;
    let input = Api::found(id, api.store.input(id).await)?;
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((headers, input.unwrap_or_else(|| "null".to_owned())))
}

pub(crate) fn about() -> Operation {
    Operation::get("/task/{id}/input", "getTaskInput", "Read the input of a task")
        .detail("The JSON as it came, byte for byte; `null` for a task without an input.")
        .answers(200, Answer::any_json("The input."))
        .problems(&kind::OF_TASK)
}

//! `GET /task/{id}/input`: the input of a task.

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::IntoResponse;

use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::kind;
use crate::state::Api;
use crate::task::lookup::{parse_task_id, require_task};

pub(crate) async fn input(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = parse_task_id(&id)?;
    let input = require_task(id, api.store.input(id).await)?;
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((headers, input.unwrap_or_else(|| "null".to_owned())))
}

pub(crate) fn spec() -> Operation {
    Operation::get("/task/{id}/input", "getTaskInput", "Get the input of a task")
        .detail("Returns the submitted JSON byte for byte; `null` for a task without input.")
        .responds(200, ResponseSpec::any_json("The input."))
        .problems(&kind::TASK_ACCESS)
}

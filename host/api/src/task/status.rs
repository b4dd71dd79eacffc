//! `GET /task/{id}/status`: the status of a task.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;

use crate::http::authorize::Sender;
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::kind;
use crate::state::Api;
use crate::task::lookup::{parse_task_id, require_task};
use crate::view::task::{self as view, StatusView, shown_to};

pub(crate) async fn status(
    State(api): State<Api>,
    Sender(sender): Sender,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = parse_task_id(&id)?;
    let task = require_task(id, api.store.get(id).await)?;
    Ok(Json(StatusView::new(shown_to(&sender, task), api.clock.now())))
}

pub(crate) fn spec() -> Operation {
    let mut example = view::example();
    if let Some(record) = example.as_object_mut() {
        record.retain(|key, _| key != "id" && key != "result");
    }
    Operation::get("/task/{id}/status", "getTaskStatus", "Get the status of a task")
        .responds(200, ResponseSpec::json::<StatusView>("The status.", example))
        .problems(&kind::TASK_ACCESS)
}

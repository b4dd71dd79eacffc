//! `GET /task/{id}/status`: where a task stands.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;

use crate::app::Api;
use crate::openapi::{Answer, Operation};
use crate::problem::Problem;
use crate::problem_kind as kind;
use crate::task_view::{self, Status};

pub(crate) async fn status(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = Api::task_id(&id)?;
    let task = Api::found(id, api.store.get(id).await)?;
    Ok(Json(Status::new(task, api.clock.now())))
}

pub(crate) fn about() -> Operation {
    let mut example = task_view::example();
    if let Some(record) = example.as_object_mut() {
        record.retain(|key, _| key != "id" && key != "result");
    }
    Operation::get("/task/{id}/status", "getTaskStatus", "Say where a task stands")
        .answers(200, Answer::json::<Status>("Its status.", example))
        .problems(&kind::OF_TASK)
}

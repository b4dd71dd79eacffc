//! `GET /task/{id}/files`: the files of a task.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use serde_json::json;

use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::kind;
use crate::state::Api;
use crate::task::lookup::{parse_task_id, require_task};
use crate::view::file::FileView;

pub(crate) async fn list(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = parse_task_id(&id)?;
    let files = require_task(id, api.store.files(id).await)?;
    Ok(Json(files.into_iter().map(FileView::from).collect::<Vec<_>>()))
}

pub(crate) fn spec() -> Operation {
    let files = ResponseSpec::json::<Vec<FileView>>("The files.", json!([FileView::example()]));
    Operation::get("/task/{id}/files", "listTaskFiles", "List the files of a task")
        .detail(
            "Returns the files that came with the task, then those that it left: `outputs` of the manifest names \
             which. Both go with the task.",
        )
        .responds(200, files)
        .problems(&kind::TASK_ACCESS)
}

//! `GET /task/{id}/checkpoint`: what an unfinished task has saved of its progress.

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::IntoResponse;

use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::kind;
use crate::state::Api;
use crate::task::lookup::{parse_task_id, require_task};

pub(crate) async fn checkpoint(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = parse_task_id(&id)?;
    let checkpoint = require_task(id, api.store.checkpoint(id).await)?;
    let checkpoint = checkpoint.ok_or_else(|| {
        let detail = format!("task {id} has no checkpoint: it has saved none, or has finished");
        Problem::of(kind::NO_CHECKPOINT, detail)
    })?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"checkpoint.bin\""),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, checkpoint))
}

pub(crate) fn spec() -> Operation {
    Operation::get("/task/{id}/checkpoint", "getTaskCheckpoint", "Get the newest checkpoint of a task")
        .detail(
            "Returns the bytes that the guest saved last, and that its next attempt starts with. They go when the task \
             finishes.",
        )
        .responds(200, ResponseSpec::bytes("The checkpoint."))
        .problems(&[kind::NO_CHECKPOINT])
        .problems(&kind::TASK_ACCESS)
}

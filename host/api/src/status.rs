//! `GET /task/{id}/status`: where a task stands.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;

use crate::app::Api;
use crate::problem::Problem;
use crate::record::Status;

pub(crate) async fn status(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = Api::task_id(&id)?;
    let task = Api::found(id, api.store.get(id).await)?;
    Ok(Json(Status::new(task, api.clock.now())))
}

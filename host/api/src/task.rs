//! `GET /task/{id}`: the whole record, with the newest lines of its log.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use serde::Serialize;

use crate::app::Api;
use crate::problem::Problem;
use crate::record::Record;

#[derive(Serialize)]
struct WithLog {
    #[serde(flatten)]
    record: Record,
    /// What the newest ended attempt wrote to stdout and stderr.
    log: Option<String>,
}

pub(crate) async fn task(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = Api::task_id(&id)?;
    let task = Api::found(id, api.store.get(id).await)?;
    let log = api.store.log(id).await?;
    Ok(Json(WithLog { record: Record::new(task, api.clock.now()), log }))
}

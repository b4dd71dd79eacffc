//! `DELETE /task/{id}` and `POST /task/{id}/cancel`: stop a task, and forget it or keep its record.
//!
//! Both answer only after the guest is gone and its slot is free.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use wasmill_store::Cancelled;

use crate::app::Api;
use crate::problem::Problem;
use crate::record::Record;

pub(crate) async fn remove(State(api): State<Api>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let id = Api::task_id(&id)?;
    Api::found(id, api.scheduler.remove(id).await)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn cancel(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = Api::task_id(&id)?;
    match api.scheduler.cancel(id).await? {
        Cancelled::NotFound => Err(Problem::unknown_task(id)),
        Cancelled::AlreadyFinal(state) => Err(Problem::already_ended(id, state)),
        Cancelled::Cancelled { .. } => {
            let task = Api::found(id, api.store.get(id).await)?;
            Ok(Json(Record::new(task, api.clock.now())))
        }
    }
}

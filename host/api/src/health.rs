//! `GET /healthz` and `GET /readyz`: for load balancers and container engines.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;

use crate::app::Api;
use crate::problem::Problem;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// Answers 200 as long as the process serves requests.
pub(crate) async fn healthz() -> impl IntoResponse {
    Json(Health { status: "alive" })
}

/// Answers 200 when new tasks are taken: not while draining, not while the database cannot be written,
/// which is tried.
pub(crate) async fn readyz(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    if api.scheduler.is_draining() {
        return Err(Problem::draining());
    }
    api.store.probe().await?;
    Ok(Json(Health { status: "ready" }))
}

//! `GET /healthz` and `GET /readyz`: for load balancers and container engines.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::app::Api;
use crate::openapi::{Answer, Operation};
use crate::problem::Problem;
use crate::problem_kind as kind;

/// How the server is.
#[derive(Serialize, JsonSchema)]
struct Health {
    status: &'static str,
}

/// Answers 200 as long as the process serves requests.
pub(crate) async fn healthz() -> impl IntoResponse {
    Json(Health { status: "alive" })
}

/// Answers 200 when new tasks are taken and run: not while draining, not while the database cannot be written,
/// which is tried, and not once swap was switched on.
pub(crate) async fn readyz(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    if api.scheduler.is_draining() {
        return Err(Problem::draining());
    }
    api.store.probe().await?;
    if api.runtime.is_blocked_by_swap() {
        return Err(Problem::swap_is_on());
    }
    Ok(Json(Health { status: "ready" }))
}

pub(crate) fn about_healthz() -> Operation {
    Operation::get("/healthz", "getHealth", "Say whether the process serves requests")
        .answers(200, Answer::json::<Health>("It does.", json!({"status": "alive"})))
}

pub(crate) fn about_readyz() -> Operation {
    Operation::get("/readyz", "getReadiness", "Say whether new tasks are taken")
        .answers(200, Answer::json::<Health>("They are.", json!({"status": "ready"})))
        .problems(&kind::OF_STORE)
        .problems(&[kind::SWAP_IS_ON])
}

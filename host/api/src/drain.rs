//! `POST /drain`: prepares for the end of the process without ending it.
//!
//! From then on nothing is started and no task is taken; reads, cancels and deletes are served until a
//! signal comes. There is no way back but a restart.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::app::Api;
use crate::openapi::{Answer, Operation};
use crate::problem::Problem;
use crate::problem_kind as kind;

/// How far a drain is.
#[derive(Serialize, JsonSchema)]
struct Draining {
    draining: bool,
    /// Tasks that run on for now. At 0 the drain is done, and a signal ends the process at once.
    running: u64,
    /// How long they may, from the first request on; then they are put back.
    drain_ms: u128,
}

pub(crate) async fn drain(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    let grace = api.config.drain;
    if api.scheduler.start_drain(grace) {
        tracing::info!("draining as asked: no new tasks, running ones have {grace:?}");
    }
    // What the store says, not the slots: a task that is put back gives up its slot first.
    let running = api.store.counts().await?.running;
    Ok((StatusCode::ACCEPTED, Json(Draining { draining: true, running, drain_ms: grace.as_millis() })))
}

pub(crate) fn about() -> Operation {
    let example = json!({"draining": true, "running": 12, "drain_ms": 10_000});
    Operation::post("/drain", "drain", "Prepare for the end of the process")
        .detail(
            "From then on nothing is started and no task is taken; reads, cancels and deletes are served \
             until a signal comes. There is no way back but a restart.",
        )
        .answers(202, Answer::json::<Draining>("It has begun, or had before.", example))
        .problems(&kind::OF_STORE)
}

//! `POST /drain`: stops starting tasks, without stopping the process.
//!
//! During a drain no task starts or is accepted; reads, cancels and deletes work until a signal arrives. Only
//! a restart ends a drain.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::kind;
use crate::state::Api;

/// Progress of a drain.
#[derive(Serialize, JsonSchema)]
struct Draining {
    draining: bool,
    /// Number of tasks that still run on this host. At 0 the drain is done, and a signal ends the process at once.
    running: u64,
    /// How long they may run, from the first request; then they are requeued.
    drain_ms: u128,
}

pub(crate) async fn drain(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    let grace = api.config.drain;
    if api.scheduler.start_drain(grace) {
        tracing::info!("drain requested: no new tasks start, running ones have {grace:?} left");
    }
    // Counted in the store rather than in slots: a requeued task releases its slot before it is stored.
    let running = api.store.live_runs().len() as u64;
    Ok((StatusCode::ACCEPTED, Json(Draining { draining: true, running, drain_ms: grace.as_millis() })))
}

pub(crate) fn spec() -> Operation {
    let example = json!({"draining": true, "running": 12, "drain_ms": 10_000});
    Operation::post("/drain", "drain", "Drain the server")
        .detail(
            "Stops starting and accepting tasks; reads, cancels and deletes work until a signal ends the \
             process. Only a restart ends a drain.",
        )
        .responds(202, ResponseSpec::json::<Draining>("The drain has started, now or earlier.", example))
        .problems(&kind::STORE_ACCESS)
}

//! `POST /drain`: prepares for the end of the process without ending it.
//!
//! From then on nothing is started and no task is taken; reads, cancels and deletes are served until a
//! signal comes. There is no way back but a restart.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Serialize;

use crate::app::Api;
use crate::problem::Problem;

#[derive(Serialize)]
struct Draining {
    draining: bool,
    /// Tasks that run on for now. At 0 the drain is done, and a signal ends the process at once.
    running: u64,
    /// How long they may, from the first request on; then they are put back.
    drain_ms: u128,
}

pub(crate) async fn drain(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    let grace = api.config.drain;
    if api.scheduler.begin_drain(grace) {
        tracing::info!("draining as asked: no new tasks, running ones have {grace:?}");
    }
    // What the store says, not the slots: a task that is put back gives up its slot first.
    let running = api.store.counts().await?.running;
    Ok((StatusCode::ACCEPTED, Json(Draining { draining: true, running, drain_ms: grace.as_millis() })))
}

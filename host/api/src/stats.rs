//! `GET /stats`: how much waits and runs, and in how many slots.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;

use crate::app::Api;
use crate::problem::Problem;

#[derive(Serialize)]
struct Stats {
    waiting: u64,
    running: u64,
    slots: SlotsView,
    /// Whether nothing new is started, nor taken.
    draining: bool,
}

#[derive(Serialize)]
struct SlotsView {
    total: usize,
    used: usize,
    free: usize,
}

pub(crate) async fn stats(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    let counts = api.store.counts().await?;
    let slots = api.scheduler.slots();
    let free = slots.total.saturating_sub(slots.used);
    let slots = SlotsView { total: slots.total, used: slots.used, free };
    let draining = api.scheduler.is_draining();
    Ok(Json(Stats { waiting: counts.waiting, running: counts.running, slots, draining }))
}

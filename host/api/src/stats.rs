//! `GET /stats`: how much waits and runs, and in how many slots.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;
use wasmill_runtime::MemoryUsage;

use crate::app::Api;
use crate::problem::Problem;

#[derive(Serialize)]
struct Stats {
    waiting: u64,
    running: u64,
    slots: SlotsView,
    memory: MemoryView,
    /// Whether nothing new is started, nor taken.
    draining: bool,
}

#[derive(Serialize)]
struct SlotsView {
    total: usize,
    used: usize,
    free: usize,
}

/// The memory of all running tasks together.
#[derive(Serialize)]
struct MemoryView {
    total_bytes: u64,
    /// What they use, or are expected to where that is more.
    used_bytes: u64,
    free_bytes: u64,
    /// Whether the next task in the line waits for memory.
    holds_tasks_back: bool,
}

pub(crate) async fn stats(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    let counts = api.store.counts().await?;
    let slots = api.scheduler.slots();
    let free = slots.total.saturating_sub(slots.used);
    let slots = SlotsView { total: slots.total, used: slots.used, free };
    let MemoryUsage { bytes_max, used_bytes } = api.runtime.memory_usage();
    let memory = MemoryView {
        total_bytes: bytes_max,
        used_bytes,
        free_bytes: bytes_max.saturating_sub(used_bytes),
        holds_tasks_back: api.scheduler.lacks_room(),
    };
    let draining = api.scheduler.is_draining();
    Ok(Json(Stats { waiting: counts.waiting, running: counts.running, slots, memory, draining }))
}

//! `GET /stats`: how much waits and runs, and in how many slots.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_runtime::MemoryUsage;

use crate::app::Api;
use crate::openapi::{Answer, Operation};
use crate::problem::Problem;
use crate::problem_kind as kind;

/// How busy the server is.
#[derive(Serialize, JsonSchema)]
struct Stats {
    /// Tasks that wait.
    waiting: u64,
    /// Tasks that run.
    running: u64,
    slots: SlotsView,
    memory: MemoryView,
    /// Whether nothing new is started, nor taken.
    draining: bool,
    /// Whether everything is paused.
    paused: bool,
}

/// Places for running tasks.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Slots")]
struct SlotsView {
    total: usize,
    used: usize,
    free: usize,
}

/// The memory of all running tasks together.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Memory")]
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
    let paused = api.scheduler.is_paused();
    Ok(Json(Stats { waiting: counts.waiting, running: counts.running, slots, memory, draining, paused }))
}

pub(crate) fn about() -> Operation {
    let example = json!({
        "waiting": 0, "running": 12, "slots": {"total": 1_000, "used": 12, "free": 988},
        "memory": {
            "total_bytes": 6_442_450_944_u64, "used_bytes": 100_663_296, "free_bytes": 6_341_787_648_u64,
            "holds_tasks_back": false,
        },
        "draining": false, "paused": false,
    });
    Operation::get("/stats", "getStats", "Say how much waits and runs")
        .answers(200, Answer::json::<Stats>("How busy the server is.", example))
        .problems(&kind::OF_STORE)
}

//! `GET /stats`: how much waits and runs, in how many slots, and how many tasks there are and were.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_runtime::MemoryUsage;
use wasmill_store::{Counts, FinishedCounts, PluginCounts};

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
    /// Tasks that are stored now, by state.
    stored: StoredView,
    /// Tasks that ever ended, those that were deleted or forgotten since among them.
    ended: EndedView,
    /// The same of each plugin that ever had a task.
    plugins: BTreeMap<String, PluginTasksView>,
}

/// How many tasks are stored, by state.
#[derive(Clone, Copy, Default, Serialize, JsonSchema)]
#[schemars(rename = "Stored")]
struct StoredView {
    waiting: u64,
    running: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
}

/// How many tasks ever ended, and how.
#[derive(Clone, Copy, Default, Serialize, JsonSchema)]
#[schemars(rename = "EverEnded")]
struct EndedView {
    completed: u64,
    failed: u64,
    cancelled: u64,
}

/// The tasks of one plugin.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TasksOfPlugin")]
struct PluginTasksView {
    stored: StoredView,
    ended: EndedView,
}

impl PluginTasksView {
    fn new(counts: &PluginCounts) -> Self {
        let FinishedCounts { completed, failed, cancelled } = counts.stored();
        let (waiting, running) = (counts.waiting, counts.running);
        let stored = StoredView { waiting, running, completed, failed, cancelled };
        let FinishedCounts { completed, failed, cancelled } = counts.ended();
        Self { stored, ended: EndedView { completed, failed, cancelled } }
    }
}

impl StoredView {
    fn add(&mut self, other: Self) {
        self.waiting += other.waiting;
        self.running += other.running;
        self.completed += other.completed;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
    }
}

impl EndedView {
    fn add(&mut self, other: Self) {
        self.completed += other.completed;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
    }
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
        holds_tasks_back: api.scheduler.is_memory_bound(),
    };
    let draining = api.scheduler.is_draining();
    let paused = api.scheduler.is_paused();
    let (mut stored, mut ended, mut plugins) = (StoredView::default(), EndedView::default(), BTreeMap::new());
    for (plugin, counts) in api.store.plugin_counts() {
        let of_plugin = PluginTasksView::new(&counts);
        stored.add(of_plugin.stored);
        ended.add(of_plugin.ended);
        plugins.insert(plugin.to_string(), of_plugin);
    }
    let Counts { waiting, running } = counts;
    Ok(Json(Stats { waiting, running, slots, memory, draining, paused, stored, ended, plugins }))
}

pub(crate) fn about() -> Operation {
    let stored = json!({"waiting": 0, "running": 12, "completed": 41, "failed": 2, "cancelled": 0});
    let ended = json!({"completed": 1_041, "failed": 7, "cancelled": 1});
    let example = json!({
        "waiting": 0, "running": 12, "slots": {"total": 1_000, "used": 12, "free": 988},
        "memory": {
            "total_bytes": 6_442_450_944_u64, "used_bytes": 100_663_296, "free_bytes": 6_341_787_648_u64,
            "holds_tasks_back": false,
        },
        "draining": false, "paused": false, "stored": stored, "ended": ended,
        "plugins": {"io-stub": {"stored": stored, "ended": ended}},
    });
    Operation::get("/stats", "getStats", "Say how much waits and runs")
        .answers(200, Answer::json::<Stats>("How busy the server is.", example))
        .problems(&kind::OF_STORE)
}

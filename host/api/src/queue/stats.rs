//! `GET /stats`: task counts, slots and memory.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use wasmill_model::Reach;
use wasmill_runtime::MemoryUsage;
use wasmill_store::{Counts, CountsWithin, FinishedCounts, PluginCounts};

use crate::http::authorize::Sender;
use crate::openapi::{Operation, ResponseSpec};
use crate::problem::Problem;
use crate::problem::kind;
use crate::state::Api;

/// Server statistics.
#[derive(Serialize, JsonSchema)]
struct Stats {
    /// Number of waiting tasks.
    waiting: u64,
    /// Number of running tasks.
    running: u64,
    /// `null` for a key with a reach, as it tells of the tasks of all.
    slots: Option<SlotsView>,
    /// `null` for a key with a reach.
    memory: Option<MemoryView>,
    /// Whether the server is draining.
    draining: bool,
    /// Whether the queue is paused.
    paused: bool,
    /// Stored tasks by state.
    stored: StoredView,
    /// Set if a key with groups or tags reaches so many tasks that the counts are lower bounds.
    is_at_least: bool,
    /// Tasks that ever finished, by state, including deleted and pruned ones; `null` for a key with groups or tags.
    finished: Option<FinishedView>,
    /// The same for each plugin that ever had a task; for a key with groups or tags, that has one within its reach.
    plugins: BTreeMap<String, PluginTasksView>,
}

/// Stored tasks by state.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "StoredTasks")]
struct StoredView {
    /// All waiting tasks: blocked, scheduled, suspended and available ones.
    waiting: u64,
    /// Tasks that wait for other tasks to finish.
    blocked: u64,
    /// Tasks that wait for their start time or the end of a backoff.
    scheduled: u64,
    /// Tasks that are suspended in the middle of an attempt.
    suspended: u64,
    /// Tasks that wait for a slot.
    available: u64,
    running: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
}

/// Finished tasks by state.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FinishedTasks")]
struct FinishedView {
    completed: u64,
    failed: u64,
    cancelled: u64,
}

/// Task counts of one plugin.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PluginTaskCounts")]
struct PluginTasksView {
    stored: StoredView,
    finished: Option<FinishedView>,
}

impl PluginTasksView {
    /// Creates the view; without those that ever finished if these are not counted.
    fn new(counts: &PluginCounts, counts_finished: bool) -> Self {
        let FinishedCounts { completed, failed, cancelled } = counts.stored();
        let PluginCounts { blocked, scheduled, suspended, available, running, .. } = *counts;
        let waiting = counts.waiting();
        let stored = StoredView {
            waiting,
            blocked,
            scheduled,
            suspended,
            available,
            running,
            completed,
            failed,
            cancelled,
        };
        let FinishedCounts { completed, failed, cancelled } = counts.ended();
        let finished = FinishedView { completed, failed, cancelled };
        Self { stored, finished: counts_finished.then_some(finished) }
    }
}

/// Slots for running tasks.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Slots")]
struct SlotsView {
    total: usize,
    used: usize,
    free: usize,
}

/// Memory of all running tasks.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Memory")]
struct MemoryView {
    total_bytes: u64,
    /// Used memory, or the reserved memory where that is more.
    used_bytes: u64,
    free_bytes: u64,
    /// Whether the next task of the queue waits for memory.
    blocks_queue: bool,
}

/// Tasks that are looked at to count those of a key with groups or tags.
const COUNTED_MAX: usize = 40_000;

pub(crate) async fn stats(
    State(api): State<Api>,
    Sender(sender): Sender,
) -> Result<impl IntoResponse, Problem> {
    let reach = sender.reach();
    let CountsWithin { plugins: counts, is_all } = counts_within(&api, reach).await?;
    let counts_finished = !reach.divides_plugins();
    let (mut all, mut plugins) = (PluginCounts::default(), BTreeMap::new());
    for (plugin, counts) in counts {
        all += counts;
        plugins.insert(plugin.to_string(), PluginTasksView::new(&counts, counts_finished));
    }
    let PluginTasksView { stored, finished } = PluginTasksView::new(&all, counts_finished);
    let (slots, memory) = (slots(&api), memory(&api));
    let Counts { waiting, running } = match reach.is_bounded() {
        true => Counts { waiting: stored.waiting, running: stored.running },
        false => api.store.counts().await?,
    };
    Ok(Json(Stats {
        waiting,
        running,
        slots: (!reach.is_bounded()).then_some(slots),
        memory: (!reach.is_bounded()).then_some(memory),
        draining: api.scheduler.is_draining(),
        paused: api.scheduler.is_paused(),
        stored,
        is_at_least: !is_all,
        finished,
        plugins,
    }))
}

/// Returns the counts of the plugins of this reach.
async fn counts_within(api: &Api, reach: &Reach) -> Result<CountsWithin, Problem> {
    if reach.divides_plugins() {
        return Ok(api.store.counts_within(reach.clone(), COUNTED_MAX).await?);
    }
    let plugins = api.store.plugin_counts().into_iter();
    let plugins = plugins.filter(|(plugin, _)| reach.covers_plugin(plugin.as_str())).collect();
    Ok(CountsWithin { plugins, is_all: true })
}

fn slots(api: &Api) -> SlotsView {
    let slots = api.scheduler.slots();
    let free = slots.total.saturating_sub(slots.used);
    SlotsView { total: slots.total, used: slots.used, free }
}

fn memory(api: &Api) -> MemoryView {
    let MemoryUsage { bytes_max, used_bytes } = api.runtime.memory_usage();
    MemoryView {
        total_bytes: bytes_max,
        used_bytes,
        free_bytes: bytes_max.saturating_sub(used_bytes),
        blocks_queue: api.scheduler.is_memory_bound(),
    }
}

pub(crate) fn spec() -> Operation {
    let stored = json!({
        "waiting": 0, "blocked": 0, "scheduled": 0, "suspended": 0, "available": 0, "running": 12,
        "completed": 41, "failed": 2, "cancelled": 0,
    });
    let finished = json!({"completed": 1_041, "failed": 7, "cancelled": 1});
    let example = json!({
        "waiting": 0, "running": 12, "slots": {"total": 1_000, "used": 12, "free": 988},
        "memory": {
            "total_bytes": 6_442_450_944_u64, "used_bytes": 100_663_296, "free_bytes": 6_341_787_648_u64,
            "blocks_queue": false,
        },
        "draining": false, "paused": false, "stored": stored, "is_at_least": false,
        "finished": finished, "plugins": {"io-stub": {"stored": stored, "finished": finished}},
    });
    Operation::get("/stats", "getStats", "Get server statistics")
        .responds(200, ResponseSpec::json::<Stats>("The statistics.", example))
        .problems(&kind::STORE_ACCESS)
}

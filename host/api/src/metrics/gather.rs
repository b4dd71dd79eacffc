//! Asks every room for its figures and names them. The names are a promise: dashboards and alerts use them,
//! those of `docs/monitoring` among others.

use std::sync::atomic::Ordering;
use std::time::Duration;

use wasmill_model::{PluginName, Timestamp, Tracer, TracerFigures, Usage};
use wasmill_runtime::{MemoryUsage, PluginState, PoolUsage};
use wasmill_scheduler::{ScheduleFigures, SchedulerFigures};
use wasmill_store::{Backlog, Tally};

use super::exposition::Metric;
use super::{LogEvents, process};
use crate::app::Api;

/// Takes all figures, of about the same moment.
pub(super) async fn gather(api: &Api) -> Vec<Metric> {
    let mut metrics = about_server(api);
    metrics.extend(about_tasks(&api.store.tallies()));
    // While the database cannot be read, all the others are wanted even more.
    let oldest = api.store.oldest_waiting().await.unwrap_or_default();
    metrics.push(about_waiting(&oldest, api.clock.now()));
    metrics.extend(about_attempts(api.scheduler.figures()));
    metrics.extend(about_schedules(api.schedules.figures()));
    metrics.extend(about_plugins(api));
    metrics.extend(about_store(api));
    metrics.extend(about_webhooks(api).await);
    metrics.extend(about_traces(&api.tracer));
    metrics.extend(api.metrics.inner.http.metrics());
    metrics.extend(process::metrics(api.metrics.inner.started_at));
    metrics
}

fn about_server(api: &Api) -> Vec<Metric> {
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    let slots = api.scheduler.slots();
    let free = slots.total.saturating_sub(slots.used);
    let MemoryUsage { bytes_max, used_bytes } = api.runtime.memory_usage();
    let pool: PoolUsage = api.runtime.pool_usage();
    let LogEvents { errors, warnings } = &*api.metrics.inner.log;
    let read = |events: &std::sync::atomic::AtomicU64| events.load(Ordering::Relaxed) as f64;
    vec![
        Metric::info("wasmill_build", "The version that runs", version),
        Metric::gauge("wasmill_slots", "Slots, by whether a task runs in them")
            .with(&[("state", "used")], slots.used as f64)
            .with(&[("state", "free")], free as f64),
        Metric::gauge("wasmill_draining", "Whether nothing new is started, nor taken")
            .of(flag(api.scheduler.is_draining())),
        Metric::gauge(
            "wasmill_memory_budget_bytes",
            "Memory that all running tasks may use together: memory_total less what free slots keep",
        )
        .of(bytes_max as f64),
        Metric::gauge(
            "wasmill_memory_used_bytes",
            "Memory that they use, with what was handed out to them lately",
        )
        .of(used_bytes as f64),
        Metric::gauge(
            "wasmill_memory_holds_tasks_back",
            "Whether the next task in the line waits for memory",
        )
        .of(flag(api.scheduler.lacks_room())),
        Metric::gauge(
            "wasmill_body_bytes",
            "Bytes of request and answer bodies on their way, small ones left out",
        )
        .of(api.config.bodies.in_flight() as f64),
        Metric::gauge("wasmill_pool_instances", "Instances that exist in the pools")
            .of(pool.instances as f64),
        Metric::gauge("wasmill_pool_memories", "Linear memories of the pools in use")
            .of(pool.memories as f64),
        Metric::gauge("wasmill_pool_kept_bytes", "Memory that free slots of the pools keep")
            .of(pool.unused_bytes_resident as f64),
        Metric::counter("wasmill_log_events", "Lines of the log that tell of trouble")
            .with(&[("level", "error")], read(errors))
            .with(&[("level", "warn")], read(warnings)),
    ]
}

fn about_tasks(tallies: &[(PluginName, Tally)]) -> [Metric; 2] {
    let mut open = Metric::gauge("wasmill_tasks", "Tasks that have not ended");
    let mut ended = Metric::counter("wasmill_tasks_ended", "Tasks that ended, forgotten or not");
    for (plugin, tally) in tallies {
        let labels = |state| [("plugin", plugin.as_str()), ("state", state)];
        for (state, tasks) in [("waiting", tally.waiting), ("running", tally.running)] {
            open.add(&labels(state), tasks as f64);
        }
        for (state, tasks) in
            [("completed", tally.completed), ("failed", tally.failed), ("cancelled", tally.cancelled)]
        {
            ended.add(&labels(state), tasks as f64);
        }
    }
    [open, ended]
}

fn about_waiting(oldest: &[(PluginName, Timestamp)], now: Timestamp) -> Metric {
    let mut ages = Metric::gauge(
        "wasmill_oldest_waiting_task_age_seconds",
        "How long the task that waits longest has been ready; missing where none waits",
    );
    for (plugin, ready_at) in oldest {
        // Between two attempts it is not ready yet.
        let age = (now - *ready_at).to_std().unwrap_or_default();
        ages.add(&[("plugin", plugin.as_str())], age.as_secs_f64());
    }
    ages
}

/// What is known of all attempts of a plugin together: the name of a counter, what it is, and where it is.
type OfAttempts = (&'static str, &'static str, fn(&Usage) -> f64);

const OF_ATTEMPTS: [OfAttempts; 9] = [
    ("wasmill_task_cpu_seconds", "Time that attempts spent computing", |used| seconds(used.cpu)),
    ("wasmill_task_instantiate_seconds", "Time that making instances took", |used| seconds(used.instantiate)),
    ("wasmill_task_log_bytes", "Bytes written to logs, kept or not", |used| used.log_bytes as f64),
    ("wasmill_task_checkpoints", "Checkpoints that were kept", |used| used.checkpoints as f64),
    ("wasmill_task_http_requests", "HTTP requests of guests that went out", |used| used.http_requests as f64),
    ("wasmill_task_http_sent_bytes", "Bytes that these sent", |used| used.http_sent_bytes as f64),
    ("wasmill_task_http_received_bytes", "Bytes that came back", |used| used.http_received_bytes as f64),
    ("wasmill_task_disk_written_bytes", "Bytes written to folders", |used| used.disk_written_bytes as f64),
    ("wasmill_task_files_created", "Files, folders and links made", |used| used.files_created as f64),
];

fn about_attempts(figures: SchedulerFigures) -> Vec<Metric> {
    let SchedulerFigures { start_seconds, cancel_seconds, plugins } = figures;
    let mut attempts = Metric::counter("wasmill_task_attempts", "Attempts that ended, by how");
    let mut run =
        Metric::histogram("wasmill_task_run_seconds", "Time from the start of an attempt to its end");
    let mut memory = Metric::gauge(
        "wasmill_task_peak_memory_bytes",
        "The most memory that an attempt used since the start",
    );
    let mut used: Vec<_> = OF_ATTEMPTS.iter().map(|&(name, help, _)| Metric::counter(name, help)).collect();
    for (plugin, figures) in plugins {
        let labels = [("plugin", plugin.as_str())];
        for (how, ended) in figures.ended {
            attempts.add(&[("plugin", plugin.as_str()), ("outcome", how)], ended as f64);
        }
        run.add_spread(&labels, figures.run_seconds);
        memory.add(&labels, figures.used.memory_bytes as f64);
        for (metric, (_, _, figure)) in used.iter_mut().zip(OF_ATTEMPTS) {
            metric.add(&labels, figure(&figures.used));
        }
    }
    let start = "Time that tasks were ready before they were started";
    let cancel = "Time from the wish to stop a running task to the end of its guest, where it had no grace";
    used.extend([
        attempts,
        run,
        memory,
        Metric::histogram("wasmill_task_start_seconds", start).spread(&[], start_seconds),
        Metric::histogram("wasmill_task_cancel_seconds", cancel).spread(&[], cancel_seconds),
    ]);
    used
}

fn about_schedules(figures: ScheduleFigures) -> [Metric; 3] {
    let ScheduleFigures { started, skipped, late_seconds } = figures;
    let late = "Time from when a run of a schedule was due until it was started";
    [
        Metric::counter("wasmill_schedule_runs", "Runs of schedules that were started").of(started as f64),
        Metric::counter("wasmill_schedule_skipped_runs", "Runs of schedules that were left out")
            .of(skipped as f64),
        Metric::histogram("wasmill_schedule_late_seconds", late).spread(&[], late_seconds),
    ]
}

fn about_plugins(api: &Api) -> [Metric; 4] {
    let (mut ready, mut compiling, mut rejected) = (0, 0, 0);
    for plugin in api.runtime.plugins_info() {
        match plugin.state {
            PluginState::Ready => ready += 1,
            PluginState::Compiling => compiling += 1,
            PluginState::Rejected(_) => rejected += 1,
        }
    }
    let loads = api.runtime.load_figures();
    let count = "Plugins and files that are none, by what has become of their newest version";
    [
        Metric::gauge("wasmill_plugins", count)
            .with(&[("state", "ready")], f64::from(ready))
            .with(&[("state", "compiling")], f64::from(compiling))
            .with(&[("state", "rejected")], f64::from(rejected)),
        Metric::counter("wasmill_plugin_loads", "Files that were loaded, by how that ended")
            .with(&[("result", "ready")], loads.ready as f64)
            .with(&[("result", "rejected")], loads.rejected as f64),
        Metric::counter("wasmill_plugin_cache_hits", "Plugins that had been compiled before")
            .of(loads.cached as f64),
        Metric::histogram("wasmill_plugin_compile_seconds", "Time that compiling a plugin took")
            .spread(&[], loads.compile_seconds),
    ]
}

fn about_store(api: &Api) -> [Metric; 4] {
    let figures = api.store.commit_figures();
    [
        Metric::histogram(
            "wasmill_store_commit_seconds",
            "Time of a commit, by whether it waits for the disk",
        )
        .spread(&[("synced", "true")], figures.synced_seconds)
        .spread(&[("synced", "false")], figures.unsynced_seconds),
        Metric::histogram("wasmill_store_commit_commands", "Writes that share one commit")
            .spread(&[], figures.commands),
        Metric::counter("wasmill_store_failed_commits", "Commits that were rolled back")
            .of(figures.failed as f64),
        Metric::gauge(
            "wasmill_retention_excess_tasks",
            "Ended tasks that are stored beyond the number that is kept",
        )
        .of(api.store.stats().excess as f64),
    ]
}

async fn about_webhooks(api: &Api) -> [Metric; 5] {
    let (delivered, failed, given_up) = api.webhooks.figures().read();
    // While the database cannot be read, nothing is known of it.
    let Backlog { pending, oldest } = api.store.backlog().await.unwrap_or_default();
    let age = oldest.and_then(|oldest| (api.clock.now() - oldest).to_std().ok()).unwrap_or_default();
    [
        Metric::counter(
            "wasmill_webhook_tries",
            "Tries to tell a receiver of the end of a task, by how they went",
        )
        .with(&[("result", "delivered")], delivered as f64)
        .with(&[("result", "failed")], failed as f64),
        Metric::counter("wasmill_webhook_given_up", "Deliveries that will not be tried again")
            .of(given_up as f64),
        Metric::counter(
            "wasmill_webhook_dropped",
            "Pending deliveries that retention dropped with their tasks, as they were too old or too many",
        )
        .of(api.store.stats().deliveries_dropped as f64),
        Metric::gauge("wasmill_webhook_pending", "Deliveries that wait for a try, counted to 100,000")
            .of(pending as f64),
        Metric::gauge(
            "wasmill_webhook_oldest_pending_age_seconds",
            "How long the delivery has been pending that has been for longest; 0 where none is",
        )
        .of(seconds(age)),
    ]
}

fn about_traces(tracer: &Tracer) -> [Metric; 2] {
    let TracerFigures { exported, dropped, refused, kept } = tracer.figures();
    [
        Metric::counter("wasmill_trace_spans", "Spans of traces, by what has become of them")
            .with(&[("result", "exported")], exported as f64)
            .with(&[("result", "dropped")], dropped as f64)
            .with(&[("result", "refused")], refused as f64),
        Metric::gauge("wasmill_trace_spans_kept", "Spans that wait to be sent to the collector")
            .of(kept as f64),
    ]
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

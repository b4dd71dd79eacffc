//! Collects the statistics of every crate and names the metrics. The names are stable: dashboards and alerts
//! use them, among others those of `docs/monitoring`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use wasmill_model::{PluginName, TimeDelta, Timestamp, Tracer, TracerStats, Usage};
use wasmill_runtime::{MemoryUsage, PluginState, PoolUsage};
use wasmill_scheduler::{ScheduleStats, SchedulerStats};
use wasmill_store::{DeliveryBacklog, PluginCounts};

use super::counters::LogEvents;
use super::exposition::Metric;
use super::{hosts, process};
use crate::state::Api;
use crate::tls::Tls;

/// Collects all metrics at about the same time.
pub(super) async fn gather(api: &Api) -> Vec<Metric> {
    let mut metrics = server_metrics(api);
    metrics.extend(keys_metrics(api));
    metrics.extend(tls_metrics(api));
    metrics.push(
        Metric::counter("wasmill_audit_lost", "Lines of the audit that could not be written since the start")
            .value(api.audit.lost() as f64),
    );
    metrics.extend(tasks_metrics(&api.store.plugin_counts()));
    // If the database cannot be read, the other metrics matter even more.
    let oldest = api.store.oldest_waiting().await.unwrap_or_default();
    metrics.push(waiting_metrics(&oldest, api.clock.now()));
    metrics.extend(attempts_metrics(api.scheduler.stats()));
    let events_posted = api.metrics.shared.events_posted.load(Ordering::Relaxed) as f64;
    metrics.push(
        Metric::counter("wasmill_events_posted", "Events that were posted to tasks and stored")
            .value(events_posted),
    );
    metrics.extend(schedules_metrics(api.schedules.stats()));
    metrics.extend(plugins_metrics(api));
    metrics.extend(store_metrics(api));
    metrics.extend(hosts::metrics(api).await);
    metrics.extend(webhooks_metrics(api).await);
    metrics.extend(traces_metrics(&api.tracer));
    metrics.extend(api.metrics.shared.http.metrics());
    metrics.extend(process::metrics(api.metrics.shared.started_at));
    metrics
}

fn server_metrics(api: &Api) -> Vec<Metric> {
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    let slots = api.scheduler.slots();
    let free = slots.total.saturating_sub(slots.used);
    let MemoryUsage { bytes_max, used_bytes } = api.runtime.memory_usage();
    let pool: PoolUsage = api.runtime.pool_usage();
    let LogEvents { errors, warnings } = &*api.metrics.shared.log;
    let read = |events: &std::sync::atomic::AtomicU64| events.load(Ordering::Relaxed) as f64;
    vec![
        Metric::info("wasmill_build", "Version of the running server", version),
        Metric::gauge("wasmill_slots", "Slots by state")
            .with(&[("state", "used")], slots.used as f64)
            .with(&[("state", "free")], free as f64),
        Metric::gauge("wasmill_draining", "1 while draining: no task starts or is accepted")
            .value(bool_value(api.scheduler.is_draining())),
        Metric::gauge(
            "wasmill_memory_budget_bytes",
            "Memory budget of all running tasks: memory_total minus the memory that free slots keep",
        )
        .value(bytes_max as f64),
        Metric::gauge("wasmill_memory_used_bytes", "Memory used by or reserved for running tasks")
            .value(used_bytes as f64),
        Metric::gauge("wasmill_memory_blocks_queue", "1 while the next task of the queue waits for memory")
            .value(bool_value(api.scheduler.is_memory_bound())),
        Metric::gauge(
            "wasmill_body_bytes",
            "Bytes of request and response bodies in flight, without bodies up to 8 KiB",
        )
        .value(api.config.body.budget.in_flight() as f64),
        Metric::gauge("wasmill_pool_instances", "Instances in the pools").value(pool.instances as f64),
        Metric::gauge("wasmill_pool_memories", "Linear memories in use in the pools")
            .value(pool.memories as f64),
        Metric::gauge("wasmill_pool_kept_bytes", "Resident memory kept by free pool slots")
            .value(pool.unused_bytes_resident as f64),
        Metric::counter("wasmill_log_events", "Log events by level")
            .with(&[("level", "error")], read(errors))
            .with(&[("level", "warn")], read(warnings)),
    ]
}

fn keys_metrics(api: &Api) -> [Metric; 5] {
    let (keys, now) = (api.access.keys(), api.clock.now());
    let mut ends = Metric::gauge(
        "wasmill_key_expires_seconds",
        "Time until a key ends, negative since then; missing if it never does",
    );
    let mut used = Metric::gauge(
        "wasmill_key_last_used_seconds",
        "Time since a key was last used; missing if not since the start",
    );
    let mut refused = Metric::counter(
        "wasmill_key_refused_requests",
        "Requests and batches refused for the rate of their key since the start; missing without a rate",
    );
    let seconds = |time: TimeDelta| time.num_milliseconds() as f64 / 1_000.0;
    for key in keys.list() {
        let labels = [("key", &*key.name), ("id", &*key.id)];
        if let Some(expires) = key.expires {
            ends.add(&labels, seconds(expires - now));
        }
        if key.rate.is_some() {
            refused.add(&labels, key.refused() as f64);
        }
        if let Some((last, _)) = key.last_used().get() {
            used.add(&labels, seconds(now - last));
        }
    }
    [
        Metric::gauge("wasmill_keys", "Keys in force; 0 if none is asked for")
            .value(keys.list().len() as f64),
        Metric::gauge(
            "wasmill_keys_stale",
            "1 while the files of keys cannot be read, and earlier keys are in force",
        )
        .value(bool_value(api.access.is_stale())),
        ends,
        used,
        refused,
    ]
}

fn tls_metrics(api: &Api) -> [Metric; 2] {
    let mut ends = Metric::gauge(
        "wasmill_tls_certificate_expires_seconds",
        "Time until the certificate ends, negative since then; missing without one",
    );
    if let Some(tls) = &api.tls {
        ends.add(&[], (tls.ends() - api.clock.now()).num_milliseconds() as f64 / 1_000.0);
    }
    let is_stale = api.tls.as_ref().is_some_and(Tls::is_stale);
    [
        ends,
        Metric::gauge(
            "wasmill_tls_stale",
            "1 while the files of the certificate are no pair, and an earlier one is in force",
        )
        .value(bool_value(is_stale)),
    ]
}

fn tasks_metrics(plugin_counts: &[(PluginName, PluginCounts)]) -> [Metric; 2] {
    let mut open = Metric::gauge(
        "wasmill_tasks",
        "Unfinished tasks by state: blocked, scheduled, suspended, available (these four wait) and running",
    );
    let mut ended = Metric::counter(
        "wasmill_tasks_finished",
        "Finished tasks by state, including deleted and pruned ones; it continues after a restart",
    );
    for (plugin, counts) in plugin_counts {
        let labels = |state| [("plugin", plugin.as_str()), ("state", state)];
        for (state, tasks) in [
            ("blocked", counts.blocked),
            ("scheduled", counts.scheduled),
            ("suspended", counts.suspended),
            ("available", counts.available),
            ("running", counts.running),
        ] {
            open.add(&labels(state), tasks as f64);
        }
        for (state, tasks) in
            [("completed", counts.completed), ("failed", counts.failed), ("cancelled", counts.cancelled)]
        {
            ended.add(&labels(state), tasks as f64);
        }
    }
    [open, ended]
}

fn waiting_metrics(oldest: &[(PluginName, Timestamp)], now: Timestamp) -> Metric {
    let mut ages = Metric::gauge(
        "wasmill_oldest_waiting_task_age_seconds",
        "Time since the longest waiting task became ready; missing if none waits",
    );
    for (plugin, ready_at) in oldest {
        // A scheduled task is not ready yet.
        let age = (now - *ready_at).to_std().unwrap_or_default();
        ages.add(&[("plugin", plugin.as_str())], age.as_secs_f64());
    }
    ages
}

/// A counter over all attempts of a plugin: name, help text and source.
type AttemptCounter = (&'static str, &'static str, fn(&Usage) -> f64);

const ATTEMPT_COUNTERS: [AttemptCounter; 12] = [
    ("wasmill_task_cpu_seconds", "CPU time of attempts", |used| seconds(used.cpu)),
    ("wasmill_task_instantiate_seconds", "Time spent creating instances", |used| seconds(used.instantiate)),
    ("wasmill_task_log_bytes", "Bytes written to task logs, stored or not", |used| used.log_bytes as f64),
    ("wasmill_task_checkpoints", "Checkpoints stored", |used| used.checkpoints as f64),
    ("wasmill_task_http_requests", "HTTP requests sent by guests", |used| used.http_requests as f64),
    (
        "wasmill_task_http_sent_bytes",
        "Bytes sent by HTTP requests of guests, including heads and TLS",
        |used| used.http_sent_bytes as f64,
    ),
    (
        "wasmill_task_http_received_bytes",
        "Bytes received by HTTP requests of guests, including heads and TLS",
        |used| used.http_received_bytes as f64,
    ),
    ("wasmill_task_disk_written_bytes", "Bytes written to granted folders, holes included", |used| {
        used.disk_written_bytes as f64
    }),
    ("wasmill_task_files_created", "Files, folders and links created in granted folders", |used| {
        used.files_created as f64
    }),
    ("wasmill_task_tcp_connections", "TCP connections that guests established", |used| {
        used.tcp_connections as f64
    }),
    ("wasmill_task_tcp_sent_bytes", "Bytes sent over TCP connections of guests", |used| {
        used.tcp_sent_bytes as f64
    }),
    ("wasmill_task_tcp_received_bytes", "Bytes received over TCP connections of guests", |used| {
        used.tcp_received_bytes as f64
    }),
];

fn attempts_metrics(figures: SchedulerStats) -> Vec<Metric> {
    let SchedulerStats { start_seconds, cancel_seconds, plugins } = figures;
    let mut attempts = Metric::counter(
        "wasmill_task_attempts",
        "Finished attempts by outcome: completed, the cause of a failure, stopped, interrupted, suspended, evicted",
    );
    let mut run = Metric::histogram("wasmill_task_run_seconds", "Run time of attempts");
    let mut memory = Metric::gauge(
        "wasmill_task_peak_memory_bytes",
        "Highest peak memory of an attempt since the server started",
    );
    let mut used: Vec<_> =
        ATTEMPT_COUNTERS.iter().map(|&(name, help, _)| Metric::counter(name, help)).collect();
    for (plugin, figures) in plugins {
        let labels = [("plugin", plugin.as_str())];
        for (how, ended) in figures.ended {
            attempts.add(&[("plugin", plugin.as_str()), ("outcome", how)], ended as f64);
        }
        run.add_histogram(&labels, figures.run_seconds);
        memory.add(&labels, figures.used.memory_bytes as f64);
        for (metric, (_, _, figure)) in used.iter_mut().zip(ATTEMPT_COUNTERS) {
            metric.add(&labels, figure(&figures.used));
        }
    }
    let start = "Time from when tasks were ready to their start";
    let cancel = "Time from a cancel request without grace to the end of the guest";
    used.extend([
        attempts,
        run,
        memory,
        Metric::histogram("wasmill_task_start_seconds", start).with_histogram(&[], start_seconds),
        Metric::histogram("wasmill_task_cancel_seconds", cancel).with_histogram(&[], cancel_seconds),
    ]);
    used
}

fn schedules_metrics(figures: ScheduleStats) -> [Metric; 3] {
    let ScheduleStats { started, skipped, late_seconds } = figures;
    let late = "Time from when a scheduled run was due to its start";
    [
        Metric::counter("wasmill_schedule_runs", "Scheduled runs started, manual ones included")
            .value(started as f64),
        Metric::counter(
            "wasmill_schedule_skipped_runs",
            "Scheduled runs skipped: missed, or due while an earlier one was active",
        )
        .value(skipped as f64),
        Metric::histogram("wasmill_schedule_late_seconds", late).with_histogram(&[], late_seconds),
    ]
}

fn plugins_metrics(api: &Api) -> [Metric; 4] {
    let (mut ready, mut compiling, mut rejected) = (0, 0, 0);
    for plugin in api.runtime.plugins_info() {
        match plugin.state {
            PluginState::Ready => ready += 1,
            PluginState::Compiling => compiling += 1,
            PluginState::Rejected(_) => rejected += 1,
        }
    }
    let loads = api.runtime.load_stats();
    let count = "Plugin files by the state of their newest version";
    [
        Metric::gauge("wasmill_plugins", count)
            .with(&[("state", "ready")], f64::from(ready))
            .with(&[("state", "compiling")], f64::from(compiling))
            .with(&[("state", "rejected")], f64::from(rejected)),
        Metric::counter("wasmill_plugin_loads", "Plugin files loaded, by result")
            .with(&[("result", "ready")], loads.ready as f64)
            .with(&[("result", "rejected")], loads.rejected as f64),
        Metric::counter("wasmill_plugin_cache_hits", "Plugins loaded from the compile cache")
            .value(loads.cached as f64),
        Metric::histogram("wasmill_plugin_compile_seconds", "Time spent compiling a plugin")
            .with_histogram(&[], loads.compile_seconds),
    ]
}

fn store_metrics(api: &Api) -> [Metric; 5] {
    let figures = api.store.commit_stats();
    [
        Metric::histogram(
            "wasmill_store_commit_seconds",
            "Time of a commit, by whether it was synced to disk",
        )
        .with_histogram(&[("synced", "true")], figures.synced_seconds)
        .with_histogram(&[("synced", "false")], figures.unsynced_seconds),
        Metric::histogram(
            "wasmill_store_turn_seconds",
            "Time until a transaction had its turn among those of all hosts; none with the embedded database",
        )
        .with_histogram(&[], figures.turn_seconds),
        Metric::histogram("wasmill_store_commit_commands", "Writes per commit")
            .with_histogram(&[], figures.commands),
        Metric::counter("wasmill_store_failed_commits", "Commits rolled back").value(figures.failed as f64),
        Metric::gauge("wasmill_retention_excess_tasks", "Finished tasks stored beyond --keep-max: a few thousand under load, more while results or webhooks keep them")
            .value(api.store.stats().excess as f64),
    ]
}

async fn webhooks_metrics(api: &Api) -> [Metric; 5] {
    let (delivered, failed, given_up) = api.webhooks.stats().read();
    // Unknown if the database cannot be read.
    let DeliveryBacklog { pending, oldest } = api.store.delivery_backlog().await.unwrap_or_default();
    let age = oldest.and_then(|oldest| (api.clock.now() - oldest).to_std().ok()).unwrap_or_default();
    [
        Metric::counter("wasmill_webhook_attempts", "Delivery attempts of webhooks by result")
            .with(&[("result", "delivered")], delivered as f64)
            .with(&[("result", "failed")], failed as f64),
        Metric::counter("wasmill_webhook_given_up", "Webhook deliveries given up").value(given_up as f64),
        Metric::counter(
            "wasmill_webhook_dropped",
            "Pending webhook deliveries that retention dropped with their tasks: pending for more than 7 days, or too many",
        )
        .value(api.store.stats().deliveries_dropped as f64),
        Metric::gauge("wasmill_webhook_pending", "Pending webhook deliveries, counted up to 100,000")
            .value(pending as f64),
        Metric::gauge(
            "wasmill_webhook_oldest_pending_age_seconds",
            "Age of the oldest pending webhook delivery; 0 if none is pending",
        )
        .value(seconds(age)),
    ]
}

fn traces_metrics(tracer: &Tracer) -> [Metric; 2] {
    let TracerStats { exported, dropped, refused, kept } = tracer.stats();
    [
        Metric::counter(
            "wasmill_trace_spans",
            "Trace spans by result: exported to the collector, refused by it, or dropped from a full buffer",
        )
        .with(&[("result", "exported")], exported as f64)
        .with(&[("result", "dropped")], dropped as f64)
        .with(&[("result", "refused")], refused as f64),
        Metric::gauge("wasmill_trace_spans_kept", "Trace spans buffered for export").value(kept as f64),
    ]
}

fn bool_value(value: bool) -> f64 {
    f64::from(u8::from(value))
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

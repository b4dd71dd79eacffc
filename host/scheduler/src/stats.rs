//! Statistics of the scheduler, for monitoring.
//!
//! Written by the dispatcher, the runs and the cancellers; read through `Scheduler::stats`. They influence no
//! decision.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmill_model::{Histogram, LATENCY_SECONDS, PluginName, RUN_SECONDS, Usage};

/// Statistics since the start.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerStats {
    /// Seconds between a task becoming available and its start.
    pub start_seconds: Histogram,
    /// Seconds between the request to stop a running task and the end of its guest, for requests without a grace
    /// period.
    pub cancel_seconds: Histogram,
    /// Statistics of attempts by plugin.
    pub plugins: BTreeMap<PluginName, AttemptStats>,
}

/// How long tasks waited and ran since the start, over all plugins.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyStats {
    /// Seconds between a task becoming available and its start.
    pub start_seconds: Histogram,
    /// Seconds between the start and the end of attempts.
    pub run_seconds: Histogram,
}

/// The ended attempts of one plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptStats {
    /// Attempts by outcome: `completed`, `suspended`, `stopped`, `interrupted`, `evicted`, or the cause of a failure,
    /// where all exit codes count as `exit`.
    pub ended: BTreeMap<&'static str, u64>,
    /// Seconds between the start and the end of attempts.
    pub run_seconds: Histogram,
    /// Total resource usage; the maximum for memory.
    pub used: Usage,
}

impl Default for AttemptStats {
    fn default() -> Self {
        Self { ended: BTreeMap::new(), run_seconds: Histogram::new(RUN_SECONDS), used: Usage::default() }
    }
}

impl AttemptStats {
    fn add(&mut self, outcome: &'static str, usage: &Usage) {
        *self.ended.entry(outcome).or_default() += 1;
        self.run_seconds.observe_time(usage.wall);
        let used = &mut self.used;
        used.cpu += usage.cpu;
        used.wall += usage.wall;
        used.queue += usage.queue;
        used.instantiate += usage.instantiate;
        used.memory_bytes = used.memory_bytes.max(usage.memory_bytes);
        used.log_bytes += usage.log_bytes;
        used.http_requests += usage.http_requests;
        used.http_sent_bytes += usage.http_sent_bytes;
        used.http_received_bytes += usage.http_received_bytes;
        used.checkpoints += usage.checkpoints;
        used.disk_written_bytes += usage.disk_written_bytes;
        used.files_created += usage.files_created;
        used.tcp_connections += usage.tcp_connections;
        used.tcp_sent_bytes += usage.tcp_sent_bytes;
        used.tcp_received_bytes += usage.tcp_received_bytes;
    }
}

/// Collects the statistics.
pub(crate) struct StatsRecorder(Mutex<SchedulerStats>);

impl StatsRecorder {
    pub(crate) fn started(&self, queue: Duration) {
        self.stats().start_seconds.observe_time(queue);
    }

    pub(crate) fn cancelled(&self, took: Duration) {
        self.stats().cancel_seconds.observe_time(took);
    }

    pub(crate) fn ended(&self, plugin: &PluginName, outcome: &'static str, usage: &Usage) {
        let mut stats = self.stats();
        if !stats.plugins.contains_key(plugin) {
            stats.plugins.insert(plugin.clone(), AttemptStats::default());
        }
        if let Some(attempts) = stats.plugins.get_mut(plugin) {
            attempts.add(outcome, usage);
        }
    }

    pub(crate) fn read(&self) -> SchedulerStats {
        self.stats().clone()
    }

    /// Sums up the plugins, which is much cheaper than to copy all.
    pub(crate) fn latency(&self) -> LatencyStats {
        let stats = self.stats();
        let mut run_seconds = Histogram::new(RUN_SECONDS);
        stats.plugins.values().for_each(|attempts| run_seconds.add(&attempts.run_seconds));
        LatencyStats { start_seconds: stats.start_seconds.clone(), run_seconds }
    }

    fn stats(&self) -> MutexGuard<'_, SchedulerStats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for StatsRecorder {
    fn default() -> Self {
        Self(Mutex::new(SchedulerStats {
            start_seconds: Histogram::new(LATENCY_SECONDS),
            cancel_seconds: Histogram::new(LATENCY_SECONDS),
            plugins: BTreeMap::new(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use wasmill_model::Cause;

    use super::*;

    #[test]
    fn attempts_are_counted_by_plugin_and_outcome() {
        let stats = StatsRecorder::default();
        let plugin: PluginName = "a".parse().expect("valid");
        let usage = |memory_bytes| Usage {
            cpu: Duration::from_secs(1),
            wall: Duration::from_secs(2),
            memory_bytes,
            http_requests: 3,
            ..Usage::default()
        };
        stats.ended(&plugin, "completed", &usage(9));
        stats.ended(&plugin, Cause::Exit(7).kind(), &usage(5));
        stats.ended(&plugin, Cause::Exit(8).kind(), &usage(5));
        let read = stats.read();
        let attempts = &read.plugins[&plugin];
        assert_eq!(attempts.ended, BTreeMap::from([("completed", 1), ("exit", 2)]));
        assert_eq!((attempts.used.cpu, attempts.used.memory_bytes), (Duration::from_secs(3), 9));
        assert_eq!((attempts.used.http_requests, attempts.run_seconds.count()), (9, 3));
        stats.ended(&"b".parse().expect("valid"), "completed", &usage(1));
        assert_eq!(stats.latency().run_seconds.count(), 4);
    }
}

//! What the scheduler does, in figures: for whoever watches the server.
//!
//! The dispatcher, the runs and the cancellers count; `Scheduler::figures` shows. It decides nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmill_model::{Histogram, LATENCY_SECONDS, PluginName, RUN_SECONDS, Usage};

/// What was done since the start.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerFigures {
    /// Seconds that tasks were ready before they were started.
    pub start_seconds: Histogram,
    /// Seconds from the wish to stop a running task to the end of its guest, where it had no grace.
    pub cancel_seconds: Histogram,
    /// The attempts of each plugin.
    pub plugins: BTreeMap<PluginName, AttemptFigures>,
}

/// The attempts of one plugin that ended.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptFigures {
    /// How many ended in each way: `completed`, `stopped`, `drained`, `crowded-out`, or the cause of a
    /// failure, for which all exit codes count as `exit`.
    pub ended: BTreeMap<&'static str, u64>,
    /// Seconds from their start to their end.
    pub run_seconds: Histogram,
    /// What they used together; the most for memory.
    pub used: Usage,
}

impl Default for AttemptFigures {
    fn default() -> Self {
        Self { ended: BTreeMap::new(), run_seconds: Histogram::new(RUN_SECONDS), used: Usage::default() }
    }
}

impl AttemptFigures {
    fn add(&mut self, how: &'static str, usage: &Usage) {
        *self.ended.entry(how).or_default() += 1;
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
    }
}

/// Counts.
pub(crate) struct Figures(Mutex<SchedulerFigures>);

impl Figures {
    pub(crate) fn started(&self, queue: Duration) {
        self.figures().start_seconds.observe_time(queue);
    }

    pub(crate) fn cancelled(&self, took: Duration) {
        self.figures().cancel_seconds.observe_time(took);
    }

    pub(crate) fn ended(&self, plugin: &PluginName, how: &'static str, usage: &Usage) {
        let mut figures = self.figures();
        if !figures.plugins.contains_key(plugin) {
            figures.plugins.insert(plugin.clone(), AttemptFigures::default());
        }
        if let Some(attempts) = figures.plugins.get_mut(plugin) {
            attempts.add(how, usage);
        }
    }

    pub(crate) fn read(&self) -> SchedulerFigures {
        self.figures().clone()
    }

    fn figures(&self) -> MutexGuard<'_, SchedulerFigures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Figures {
    fn default() -> Self {
        Self(Mutex::new(SchedulerFigures {
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
    fn attempts_add_up_by_plugin_and_end() {
        let figures = Figures::default();
        let plugin: PluginName = "a".parse().expect("valid");
        let usage = |memory_bytes| Usage {
            cpu: Duration::from_secs(1),
            wall: Duration::from_secs(2),
            memory_bytes,
            http_requests: 3,
            ..Usage::default()
        };
        figures.ended(&plugin, "completed", &usage(9));
        figures.ended(&plugin, Cause::Exit(7).kind(), &usage(5));
        figures.ended(&plugin, Cause::Exit(8).kind(), &usage(5));
        let read = figures.read();
        let attempts = &read.plugins[&plugin];
        assert_eq!(attempts.ended, BTreeMap::from([("completed", 1), ("exit", 2)]));
        assert_eq!((attempts.used.cpu, attempts.used.memory_bytes), (Duration::from_secs(3), 9));
        assert_eq!((attempts.used.http_requests, attempts.run_seconds.count()), (9, 3));
    }
}

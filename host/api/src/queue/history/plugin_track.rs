//! The samples of one plugin: ten seconds each for an hour.

use std::collections::BTreeMap;

use wasmill_model::Histogram;
use wasmill_scheduler::AttemptStats;
use wasmill_store::PluginCounts;

use super::rings::Ring;
use super::sample::{Quantiles, count};

/// Samples kept.
pub(super) const SAMPLES_MAX: usize = 360;

/// Plugins with samples; an idle one makes room for a busy one.
pub(super) const PLUGINS_MAX: usize = 64;

/// Samples of failures by cause: five minutes.
pub(super) const RECENT: usize = 30;

/// Attempts that did not fail.
const NO_FAILURES: [&str; 5] = ["completed", "suspended", "stopped", "interrupted", "evicted"];

/// What happened to the tasks of a plugin in ten seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PluginSample {
    /// Its end, in milliseconds since 1970.
    pub(super) at_ms: i64,
    pub(super) seconds: f32,
    pub(super) completed: u32,
    pub(super) failed: u32,
    pub(super) cancelled: u32,
    pub(super) waiting: u32,
    pub(super) running: u32,
    pub(super) run: Quantiles,
}

/// The samples of a plugin.
#[derive(Debug)]
pub(super) struct PluginTrack {
    pub(super) samples: Ring<PluginSample>,
    /// Failed attempts by cause in each of the newest samples; most are empty.
    pub(super) causes: Ring<Vec<(&'static str, u32)>>,
    tasks: PluginCounts,
    attempts: Option<AttemptStats>,
    /// When something last happened to its tasks.
    pub(super) active_at_ms: i64,
}

impl PluginTrack {
    pub(super) fn new(tasks: PluginCounts, attempts: Option<&AttemptStats>, at_ms: i64) -> Self {
        Self {
            samples: Ring::new(SAMPLES_MAX),
            causes: Ring::new(RECENT),
            tasks,
            attempts: attempts.cloned(),
            active_at_ms: at_ms,
        }
    }

    /// Adds the sample of a step that ends now.
    pub(super) fn observe(
        &mut self,
        tasks: PluginCounts,
        attempts: Option<&AttemptStats>,
        at_ms: i64,
        seconds: f32,
    ) {
        let before = self.tasks;
        let sample = PluginSample {
            at_ms,
            seconds,
            completed: count(tasks.completed.saturating_sub(before.completed)),
            failed: count(tasks.failed.saturating_sub(before.failed)),
            cancelled: count(tasks.cancelled.saturating_sub(before.cancelled)),
            waiting: count(tasks.waiting()),
            running: count(tasks.running),
            run: self.run_times(attempts),
        };
        if tasks != before || tasks.running > 0 {
            self.active_at_ms = at_ms;
        }
        self.causes.push(self.failures(attempts));
        self.samples.push(sample);
        self.tasks = tasks;
        self.attempts = attempts.cloned();
    }

    fn run_times(&self, attempts: Option<&AttemptStats>) -> Quantiles {
        let Some(now) = attempts else { return Quantiles::default() };
        match &self.attempts {
            Some(before) => Quantiles::since(&now.run_seconds, &before.run_seconds),
            None => Quantiles::since(&now.run_seconds, &Histogram::new(wasmill_model::RUN_SECONDS)),
        }
    }

    /// Returns the attempts that failed since the newest sample.
    fn failures(&self, attempts: Option<&AttemptStats>) -> Vec<(&'static str, u32)> {
        let ended = |attempts: Option<&AttemptStats>, cause| {
            attempts.and_then(|attempts| attempts.ended.get(cause).copied()).unwrap_or(0)
        };
        let empty = BTreeMap::new();
        let causes = attempts.map_or(&empty, |attempts| &attempts.ended).keys();
        causes
            .filter(|cause| !NO_FAILURES.contains(cause))
            .map(|cause| {
                let before = ended(self.attempts.as_ref(), cause);
                (*cause, count(ended(attempts, cause).saturating_sub(before)))
            })
            .filter(|(_, failed)| *failed > 0)
            .collect()
    }
}

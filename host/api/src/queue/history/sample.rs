//! One sample, and the counters that it comes from.

use std::time::Duration;

use tokio::time::Instant;
use wasmill_model::{Histogram, Timestamp};
use wasmill_scheduler::LatencyStats;
use wasmill_store::PluginCounts;

/// What happened in one step, and what was so at its end. About 100 bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// Its end, in milliseconds since 1970.
    pub(super) at_ms: i64,
    /// How long the step really was.
    pub(super) seconds: f32,
    pub(super) accepted: u32,
    pub(super) completed: u32,
    pub(super) failed: u32,
    pub(super) cancelled: u32,
    pub(super) blocked: u32,
    pub(super) scheduled: u32,
    pub(super) suspended: u32,
    pub(super) available: u32,
    pub(super) running: u32,
    pub(super) slots_used: u32,
    pub(super) memory_kib: u32,
    pub(super) webhooks_given_up: u32,
    /// Quantiles in milliseconds; none if nothing was measured.
    pub(super) start: Quantiles,
    pub(super) run: Quantiles,
    pub(super) commit: Quantiles,
}

/// Quantiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Quantiles {
    pub(super) p50: Option<f32>,
    pub(super) p99: Option<f32>,
}

impl Quantiles {
    /// Estimates the quantiles of what was measured since an earlier copy.
    pub(super) fn since(now: &Histogram, earlier: &Histogram) -> Self {
        let measured = now.since(earlier);
        let of = |quantile| measured.quantile(quantile).map(|seconds| (seconds * 1_000.0) as f32);
        Self { p50: of(0.5), p99: of(0.99) }
    }
}

/// The counters at one time.
#[derive(Clone, Debug)]
pub(super) struct Counters {
    pub(super) read_at: Instant,
    pub(super) at: Timestamp,
    pub(super) tasks: PluginCounts,
    pub(super) slots_used: usize,
    pub(super) memory_bytes: u64,
    pub(super) webhooks_given_up: u64,
    pub(super) latency: LatencyStats,
    pub(super) commit_seconds: Histogram,
}

impl Counters {
    /// Returns true once this much time has passed since then, within a tick.
    pub(super) fn is_older_than(&self, step: Duration, now: &Self) -> bool {
        const TOLERANCE: Duration = Duration::from_millis(500);
        now.read_at.saturating_duration_since(self.read_at) + TOLERANCE >= step
    }

    /// Returns what happened since earlier counters.
    pub(super) fn since(&self, earlier: &Self) -> Sample {
        let (now, before) = (&self.tasks, &earlier.tasks);
        Sample {
            at_ms: self.at.timestamp_millis(),
            seconds: self.read_at.saturating_duration_since(earlier.read_at).as_secs_f32(),
            // A task that is deleted before it finished is not counted any more.
            accepted: count(ever(now).saturating_sub(ever(before))),
            completed: count(now.completed.saturating_sub(before.completed)),
            failed: count(now.failed.saturating_sub(before.failed)),
            cancelled: count(now.cancelled.saturating_sub(before.cancelled)),
            blocked: count(now.blocked),
            scheduled: count(now.scheduled),
            suspended: count(now.suspended),
            available: count(now.available),
            running: count(now.running),
            slots_used: count(self.slots_used as u64),
            memory_kib: count(self.memory_bytes >> 10),
            webhooks_given_up: count(self.webhooks_given_up.saturating_sub(earlier.webhooks_given_up)),
            start: Quantiles::since(&self.latency.start_seconds, &earlier.latency.start_seconds),
            run: Quantiles::since(&self.latency.run_seconds, &earlier.latency.run_seconds),
            commit: Quantiles::since(&self.commit_seconds, &earlier.commit_seconds),
        }
    }
}

/// Returns the number of tasks that were ever accepted.
fn ever(counts: &PluginCounts) -> u64 {
    counts.waiting() + counts.running + counts.completed + counts.failed + counts.cancelled
}

/// Returns a count as samples hold it.
pub(super) fn count(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

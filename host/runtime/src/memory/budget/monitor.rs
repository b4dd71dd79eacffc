//! Measures the memory of guests, and selects the runs to evict.
//!
//! Called when a run asks for memory, and on each tick while guests are polled: memory granted long ago is touched
//! without another request.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::{BYTES_BITS, Budget, MemoryReservation, WINDOW_MS};
use crate::observe::instance_status::InstanceState;

/// The interval between checks. A core touches at most about 2 GiB a second, which is 10 MiB in this time.
const CHECK_INTERVAL_MS: u64 = 5;
/// How long a measurement of the host's own memory is valid.
pub(super) const HOST_BYTES_AGE_MS: u64 = 100;

impl Budget {
    /// Measures the memory that guests use now.
    pub(super) fn measure(&self) {
        if !self.is_measured {
            return;
        }
        let mut monitor = self.monitor();
        let now_ms = self.age_ms();
        if now_ms.saturating_sub(monitor.window_since_ms) >= WINDOW_MS {
            monitor.window_since_ms = now_ms;
            let window = self.window.load(Relaxed) + 1;
            self.recent_in(window).store(0, Relaxed);
            self.window.store(window, Relaxed);
        }
        let host_bytes = monitor.host_bytes;
        drop(monitor);
        if let Some(bytes) = (self.gauge)() {
            self.resident.store(bytes.saturating_sub(host_bytes), Relaxed);
            self.measured_at_ms.store(now_ms, Relaxed);
        }
    }

    /// Records the resident bytes as the host's own: the first run is about to start.
    pub(super) fn measure_host_bytes(&self) {
        let mut monitor = self.monitor();
        let now_ms = self.age_ms();
        if now_ms.saturating_sub(monitor.host_measured_at_ms) < HOST_BYTES_AGE_MS {
            return;
        }
        monitor.host_measured_at_ms = now_ms;
        if let Some(bytes) = (self.gauge)() {
            monitor.host_bytes = bytes;
        }
    }

    /// Checks whether guests exceed the budget, and evicts runs if so. `is_last` if there may be no further check
    /// for a long time.
    pub(crate) fn check(&self, is_last: bool, runs: impl FnOnce() -> Vec<Arc<MemoryReservation>>) {
        let now_ms = self.age_ms();
        {
            let mut monitor = self.monitor();
            if !self.is_measured
                || (!is_last && now_ms.saturating_sub(monitor.checked_at_ms) < CHECK_INTERVAL_MS)
            {
                return;
            }
            monitor.checked_at_ms = now_ms;
        }
        self.measure();
        let excess_bytes = self.resident.load(Relaxed).saturating_sub(self.bytes_max);
        let is_over = excess_bytes > 0 && self.totals.load(Relaxed) >> BYTES_BITS > 1;
        if is_over {
            self.evict(excess_bytes, runs());
        }
        self.is_over.store(is_over, Relaxed);
    }

    /// Evicts runs that may have touched `bytes` in total: only those of at least average size; computing ones
    /// first, because they touch memory and lose the least; the youngest first. Runs that are already being evicted
    /// count towards `bytes`.
    fn evict(&self, mut bytes: u64, mut runs: Vec<Arc<MemoryReservation>>) {
        runs.sort_by_key(|run| Reverse(run.status.created_at()));
        let (leaving, staying): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| run.eviction().is_some());
        bytes = bytes.saturating_sub(leaving.iter().map(|run| run.used()).sum());
        let mut may_leave =
            (self.totals.load(Relaxed) >> BYTES_BITS).saturating_sub(1 + leaving.len() as u64);
        let average = staying.iter().map(|run| run.used()).sum::<u64>() / (staying.len() as u64).max(1);
        let waits = |run: &Arc<MemoryReservation>| {
            matches!(run.status.snapshot().state, InstanceState::Waiting { .. })
        };
        let large = staying.into_iter().filter(|run| run.used() >= average);
        let (waiting, computing): (Vec<_>, Vec<_>) = large.partition(waits);
        for run in computing.into_iter().chain(waiting) {
            if bytes == 0 || may_leave == 0 {
                break;
            }
            run.evict();
            bytes = bytes.saturating_sub(run.used());
            may_leave -= 1;
        }
    }
}

//! Statistics on loading plugins, for metrics.
//!
//! The loader counts; `Runtime::load_stats` returns a snapshot.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmill_model::{Histogram, RUN_SECONDS};

/// Statistics on loading plugins since the start.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadStats {
    /// Durations of compilations, successful or not.
    pub compile_seconds: Histogram,
    /// Plugins found in the cache.
    pub cached: u64,
    /// Files that were accepted.
    pub ready: u64,
    /// Files that were rejected.
    pub rejected: u64,
}

/// Counts loads.
pub(crate) struct LoadCounters(Mutex<LoadStats>);

impl LoadCounters {
    pub(crate) fn compiled(&self, took: Duration) {
        self.stats().compile_seconds.observe_time(took);
    }

    pub(crate) fn found_in_cache(&self) {
        self.stats().cached += 1;
    }

    pub(crate) fn loaded(&self, well: bool) {
        let mut stats = self.stats();
        *(if well { &mut stats.ready } else { &mut stats.rejected }) += 1;
    }

    pub(crate) fn snapshot(&self) -> LoadStats {
        self.stats().clone()
    }

    fn stats(&self) -> MutexGuard<'_, LoadStats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for LoadCounters {
    fn default() -> Self {
        let compile_seconds = Histogram::new(RUN_SECONDS);
        Self(Mutex::new(LoadStats { compile_seconds, cached: 0, ready: 0, rejected: 0 }))
    }
}

//! What loading plugins costs, and how it ends: for whoever watches the server.
//!
//! The loader counts, `Runtime::load_stats` shows.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmill_model::{Histogram, RUN_SECONDS};

/// How plugins were loaded since the start.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadStats {
    /// Seconds that compiling took, well or badly.
    pub compile_seconds: Histogram,
    /// Plugins whose code was in the cache.
    pub cached: u64,
    /// Files that became plugins.
    pub ready: u64,
    /// Files that did not.
    pub rejected: u64,
}

/// Counts.
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

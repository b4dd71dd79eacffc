//! What loading plugins costs, and how it ends: for whoever watches the server.
//!
//! The loader counts, `Runtime::load_figures` shows.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmill_model::{Histogram, RUN_SECONDS};

/// How plugins were loaded since the start.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadFigures {
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
pub(crate) struct Figures(Mutex<LoadFigures>);

impl Figures {
    pub(crate) fn compiled(&self, took: Duration) {
        self.figures().compile_seconds.observe_time(took);
    }

    pub(crate) fn found_in_cache(&self) {
        self.figures().cached += 1;
    }

    pub(crate) fn loaded(&self, well: bool) {
        let mut figures = self.figures();
        *(if well { &mut figures.ready } else { &mut figures.rejected }) += 1;
    }

    pub(crate) fn read(&self) -> LoadFigures {
        self.figures().clone()
    }

    fn figures(&self) -> MutexGuard<'_, LoadFigures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Figures {
    fn default() -> Self {
        let compile_seconds = Histogram::new(RUN_SECONDS);
        Self(Mutex::new(LoadFigures { compile_seconds, cached: 0, ready: 0, rejected: 0 }))
    }
}

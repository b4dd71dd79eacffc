//! Counters of the API and the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmill_model::Timestamp;

use super::http::HttpMetrics;

/// The counters. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) http: HttpMetrics,
    pub(super) log: Arc<LogEvents>,
    pub(super) events_posted: AtomicU64,
    pub(super) started_at: Timestamp,
}

/// Counts log events at `error` and `warn`.
#[derive(Debug, Default)]
pub struct LogEvents {
    pub(super) errors: AtomicU64,
    pub(super) warnings: AtomicU64,
}

impl LogEvents {
    /// Counts an error.
    pub fn add_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a warning.
    pub fn add_warning(&self) {
        self.warnings.fetch_add(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Creates the counters of a process with this start time and these log events.
    pub fn new(log: Arc<LogEvents>, started_at: Timestamp) -> Self {
        let (http, events_posted) = (HttpMetrics::default(), AtomicU64::default());
        Self { shared: Arc::new(Shared { http, log, events_posted, started_at }) }
    }

    /// Counts an event that was stored for a task.
    pub(crate) fn add_event_posted(&self) {
        self.shared.events_posted.fetch_add(1, Ordering::Relaxed);
    }
}

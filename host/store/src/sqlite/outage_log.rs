//! Logs an outage once and not per request: when it starts, periodically while it lasts, and when it ends.
//!
//! The writer and the readers report results to it. It decides nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::StoreError;

/// Minimum interval between log lines of an outage that lasts or comes and goes.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// Something that may fail for a while.
#[derive(Debug)]
pub(super) struct OutageLog {
    what: &'static str,
    is_ongoing: AtomicBool,
    logged_at: Mutex<Option<Instant>>,
}

impl OutageLog {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, is_ongoing: AtomicBool::new(false), logged_at: Mutex::default() }
    }

    /// Records the result of an operation and returns it.
    pub(super) fn record<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            Ok(_) => self.succeeded(),
            Err(StoreError::Closed) => {}
            Err(error) => self.failed(error),
        }
        result
    }

    /// Returns true if the last operation failed.
    pub(super) fn is_ongoing(&self) -> bool {
        self.is_ongoing.load(Ordering::Relaxed)
    }

    fn succeeded(&self) {
        if self.is_ongoing.load(Ordering::Relaxed) && self.is_ongoing.swap(false, Ordering::Relaxed) {
            tracing::info!("{} works again", self.what);
        }
    }

    fn failed(&self, error: &StoreError) {
        self.is_ongoing.store(true, Ordering::Relaxed);
        let mut logged_at = self.logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        if logged_at.is_none_or(|logged_at| logged_at.elapsed() > LOG_INTERVAL) {
            *logged_at = Some(Instant::now());
            tracing::error!(%error, "{} fails; running tasks continue, operations that need it are refused or retried", self.what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_lasts_until_an_operation_succeeds() {
        let outage_log = OutageLog::new("testing");
        let full = || StoreError::Unavailable { message: "disk full".to_owned() };
        assert_eq!(outage_log.record::<()>(Err(full())), Err(full()));
        assert!(outage_log.is_ongoing());
        assert_eq!(outage_log.record(Err::<(), _>(StoreError::Closed)), Err(StoreError::Closed));
        assert!(outage_log.is_ongoing(), "a closed store says nothing about the disk");
        assert_eq!(outage_log.record(Ok(1)), Ok(1));
        assert!(!outage_log.is_ongoing());
    }
}

//! Logs an outage once and not per request: when it starts, periodically while it lasts, and when it ends.
//!
//! The writer and the readers report results to it. It decides nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::StoreError;

/// Minimum interval between log lines of an outage that lasts or comes and goes.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// Time without failures after which an outage is over. On a disk that is nearly full, small writes succeed
/// between large ones that fail.
const RECOVERY_TIME: Duration = Duration::from_secs(5);

/// Something that may fail for a while.
#[derive(Debug)]
pub struct OutageLog {
    what: &'static str,
    is_ongoing: AtomicBool,
    /// True from the log entry of a failure to the one of the recovery.
    is_logged: AtomicBool,
    failure_times: Mutex<FailureTimes>,
}

#[derive(Debug, Default)]
struct FailureTimes {
    /// The first failure of this outage.
    began_at: Option<Instant>,
    failed_at: Option<Instant>,
    logged_at: Option<Instant>,
}

impl OutageLog {
    /// Creates the log of something, such as "writing to the database".
    pub fn new(what: &'static str) -> Self {
        Self {
            what,
            is_ongoing: AtomicBool::new(false),
            is_logged: AtomicBool::new(false),
            failure_times: Mutex::default(),
        }
    }

    /// Records the result of an operation and returns it.
    pub fn record<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            Ok(_) => self.succeeded(),
            Err(StoreError::Closed) => {}
            Err(error) => self.failed(error),
        }
        result
    }

    /// Returns true if the last operation failed.
    pub fn is_ongoing(&self) -> bool {
        self.is_ongoing.load(Ordering::Relaxed)
    }

    fn succeeded(&self) {
        // Writes shared memory only after a failure: nearly all operations succeed, on many threads.
        if self.is_ongoing() {
            self.is_ongoing.store(false, Ordering::Relaxed);
        }
        if self.is_logged.load(Ordering::Relaxed)
            && let Some(outage) = self.recovered(Instant::now())
        {
            tracing::info!("{} works again, after {} s", self.what, outage.as_secs().max(1));
        }
    }

    /// Returns once how long the logged outage lasted, from its first failure to its last one, when it is over.
    fn recovered(&self, now: Instant) -> Option<Duration> {
        let times = self.failure_times();
        let failed_at = times.failed_at?;
        let failed_recently = now.saturating_duration_since(failed_at) < RECOVERY_TIME;
        if failed_recently || !self.is_logged.swap(false, Ordering::Relaxed) {
            return None;
        }
        times.began_at.map(|began_at| failed_at.saturating_duration_since(began_at))
    }

    fn failed(&self, error: &StoreError) {
        self.is_ongoing.store(true, Ordering::Relaxed);
        if self.should_log(Instant::now()) {
            tracing::error!(%error, "{} fails; running tasks continue, operations that need it are refused or retried", self.what);
        }
    }

    /// Records a failure; returns true if it is to be logged.
    fn should_log(&self, now: Instant) -> bool {
        let mut times = self.failure_times();
        let is_recent =
            times.failed_at.is_some_and(|failed_at| now.saturating_duration_since(failed_at) < RECOVERY_TIME);
        if !is_recent && !self.is_logged.load(Ordering::Relaxed) {
            times.began_at = Some(now);
        }
        times.failed_at = Some(now);
        let is_due =
            times.logged_at.is_none_or(|logged_at| now.saturating_duration_since(logged_at) > LOG_INTERVAL);
        if is_due {
            times.logged_at = Some(now);
            self.is_logged.store(true, Ordering::Relaxed);
        }
        is_due
    }

    fn failure_times(&self) -> MutexGuard<'_, FailureTimes> {
        self.failure_times.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn an_intermittent_outage_is_logged_once_and_ends_after_a_while_without_failures() {
        let outage_log = OutageLog::new("testing");
        let start = Instant::now();
        let seconds = |seconds| start + Duration::from_secs(seconds);
        assert!(outage_log.should_log(start));
        for second in 1..20 {
            assert_eq!(outage_log.recovered(seconds(second)), None);
            assert!(!outage_log.should_log(seconds(second)));
        }
        assert_eq!(
            outage_log.recovered(seconds(24)),
            Some(Duration::from_secs(19)),
            "from the first failure to the last"
        );
        assert_eq!(outage_log.recovered(seconds(25)), None, "the recovery is logged once");
        assert!(!outage_log.should_log(seconds(26)), "a failure was logged a moment ago");
        assert!(outage_log.should_log(seconds(60)));
        assert_eq!(outage_log.recovered(seconds(70)), Some(Duration::ZERO), "another outage");
    }
}

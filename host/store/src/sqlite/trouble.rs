//! Tells of trouble once, not with every request: when it begins, now and then while it lasts, and when
//! it is over.
//!
//! The writer and the readers report to it what they see. It decides nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::StoreError;

/// How long the log says nothing more of a trouble that lasts, or comes and goes.
const QUIET: Duration = Duration::from_secs(30);

/// How long nothing may have failed before the trouble is over. On a disk that is nearly full, small writes fit
/// between large ones that do not.
const SETTLED: Duration = Duration::from_secs(5);

/// What may be in trouble.
#[derive(Debug)]
pub(super) struct Trouble {
    what: &'static str,
    lasts: AtomicBool,
    /// Whether the log says that it fails, and not yet that it works again.
    is_told: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    failed_at: Option<Instant>,
    told_at: Option<Instant>,
}

impl Trouble {
    pub(super) fn of(what: &'static str) -> Self {
        Self { what, lasts: AtomicBool::new(false), is_told: AtomicBool::new(false), seen: Mutex::default() }
    }

    /// Takes note of how one attempt ended, and hands it on.
    pub(super) fn note<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            Ok(_) => self.worked(),
            Err(StoreError::Closed) => {}
            Err(error) => self.failed(error),
        }
        result
    }

    /// Says whether the last attempt failed.
    pub(super) fn lasts(&self) -> bool {
        self.lasts.load(Ordering::Relaxed)
    }

    fn worked(&self) {
        // Without a write to what all threads read, as nearly always nothing is wrong.
        if self.lasts() {
            self.lasts.store(false, Ordering::Relaxed);
        }
        if self.is_told.load(Ordering::Relaxed) && self.has_settled(Instant::now()) {
            tracing::info!("{} works again", self.what);
        }
    }

    /// Says whether the trouble that was told is over, once.
    fn has_settled(&self, now: Instant) -> bool {
        let seen = self.seen();
        let fails =
            seen.failed_at.is_some_and(|failed_at| now.saturating_duration_since(failed_at) < SETTLED);
        !fails && self.is_told.swap(false, Ordering::Relaxed)
    }

    fn failed(&self, error: &StoreError) {
        self.lasts.store(true, Ordering::Relaxed);
        if self.is_to_be_told(Instant::now()) {
            tracing::error!(%error, "{} fails; running tasks go on, what needs it is refused or tried again", self.what);
        }
    }

    /// Notes a failure, and says whether the log is to tell of it.
    fn is_to_be_told(&self, now: Instant) -> bool {
        let mut seen = self.seen();
        seen.failed_at = Some(now);
        let is_new = seen.told_at.is_none_or(|told_at| now.saturating_duration_since(told_at) > QUIET);
        if is_new {
            seen.told_at = Some(now);
            self.is_told.store(true, Ordering::Relaxed);
        }
        is_new
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_lasts_until_something_works() {
        let trouble = Trouble::of("testing");
        let full = || StoreError::Unavailable { message: "disk full".to_owned() };
        assert_eq!(trouble.note::<()>(Err(full())), Err(full()));
        assert!(trouble.lasts());
        assert_eq!(trouble.note(Err::<(), _>(StoreError::Closed)), Err(StoreError::Closed));
        assert!(trouble.lasts(), "a closed store says nothing about the disk");
        assert_eq!(trouble.note(Ok(1)), Ok(1));
        assert!(!trouble.lasts());
    }

    #[test]
    fn trouble_that_comes_and_goes_is_told_once_and_is_over_once_nothing_has_failed_for_a_while() {
        let trouble = Trouble::of("testing");
        let start = Instant::now();
        let seconds = |seconds| start + Duration::from_secs(seconds);
        assert!(trouble.is_to_be_told(start));
        for second in 1..20 {
            assert!(!trouble.has_settled(seconds(second)));
            assert!(!trouble.is_to_be_told(seconds(second)));
        }
        assert!(trouble.has_settled(seconds(24)));
        assert!(!trouble.has_settled(seconds(25)), "it is told once");
        assert!(!trouble.is_to_be_told(seconds(26)), "it was told a moment ago");
        assert!(trouble.is_to_be_told(seconds(60)));
    }
}

//! Tells of trouble once, not with every request: when it begins, now and then while it lasts, and when
//! it is over.
//!
//! The writer and the readers report to it what they see. It decides nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::StoreError;

/// How long the log says nothing more of a trouble that lasts, or comes and goes.
const QUIET: Duration = Duration::from_secs(30);

/// What may be in trouble.
#[derive(Debug)]
pub(super) struct Trouble {
    what: &'static str,
    lasts: AtomicBool,
    told: Mutex<Option<Instant>>,
}

impl Trouble {
    pub(super) fn of(what: &'static str) -> Self {
        Self { what, lasts: AtomicBool::new(false), told: Mutex::default() }
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
        if self.lasts.load(Ordering::Relaxed) && self.lasts.swap(false, Ordering::Relaxed) {
            tracing::info!("{} works again", self.what);
        }
    }

    fn failed(&self, error: &StoreError) {
        self.lasts.store(true, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() > QUIET) {
            *told = Some(Instant::now());
            tracing::error!(%error, "{} fails; running tasks go on, what needs it is refused or tried again", self.what);
        }
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
}

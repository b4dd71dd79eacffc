//! Counts delivery attempts by their outcome.

use std::sync::atomic::{AtomicU64, Ordering};

use wasmill_store::AttemptOutcome;

/// Counters since the server started.
#[derive(Debug, Default)]
pub struct DeliveryStats {
    delivered: AtomicU64,
    failed: AtomicU64,
    given_up: AtomicU64,
}

impl DeliveryStats {
    /// Returns the numbers of successful attempts, failed attempts, and deliveries given up.
    pub fn read(&self) -> (u64, u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.delivered), read(&self.failed), read(&self.given_up))
    }

    pub(crate) fn count(&self, after: AttemptOutcome) {
        let count = if after == AttemptOutcome::Delivered { &self.delivered } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
        if after == AttemptOutcome::GivenUp {
            self.given_up.fetch_add(1, Ordering::Relaxed);
        }
    }
}

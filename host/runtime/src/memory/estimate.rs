//! The estimated memory of one run of a plugin.
//!
//! Part of each plugin; queried and updated by the runtime. It never refuses anything.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::memory::budget::{Budget, Evicted, MemoryReservation, STEP_BYTES};

/// The estimate for the first run of a plugin: somewhat more than a small guest starts with.
const FIRST_BYTES: u64 = 2 << 20;
/// Each run that used less than estimated lowers the estimate by this fraction of the difference.
const DECAY_DIVISOR: u64 = 16;
/// How long the estimate does not decrease after an eviction, so that the requeued run finds enough memory.
const HOLD_AFTER_EVICTION_MS: u64 = 60_000;

/// The estimated memory of one run of a plugin, learned from previous runs.
#[derive(Debug, Default)]
pub(crate) struct MemoryEstimate {
    /// 0 while nothing is known.
    bytes: AtomicU64,
    /// Until when the estimate must not decrease, in the age of the budget; 0 if no run was ever evicted.
    hold_until_ms: AtomicU64,
}

impl MemoryEstimate {
    /// Returns true if runs of the plugin reserve the full estimate for their lifetime, because one was evicted
    /// recently.
    pub(crate) fn reserves_in_full(&self, budget: &Budget) -> bool {
        let until_ms = self.hold_until_ms.load(Relaxed);
        until_ms > 0 && budget.age_ms() < until_ms
    }

    /// Returns the estimate for a plugin with this memory limit.
    pub(crate) fn expected(&self, limit_bytes: u64) -> u64 {
        let bytes = self.bytes.load(Relaxed);
        let bytes = if bytes == 0 { FIRST_BYTES } else { bytes };
        bytes.next_multiple_of(STEP_BYTES).min(limit_bytes)
    }

    /// Updates the estimate after a run. Stores only on a change, because every run passes here.
    pub(crate) fn record_run(&self, reservation: &MemoryReservation) {
        let (known, used) = (self.bytes.load(Relaxed), reservation.used());
        if used > known || known == 0 {
            self.bytes.store(used, Relaxed);
        } else if known - used >= STEP_BYTES
            && reservation.budget.age_ms() >= self.hold_until_ms.load(Relaxed)
        {
            self.bytes.store(known - (known - used) / DECAY_DIVISOR, Relaxed);
        }
    }

    /// Updates the estimate after an eviction. Runs evicted in one round raise it only once, as each starts from
    /// its own expectation.
    pub(crate) fn record_eviction(
        &self,
        reservation: &MemoryReservation,
        evicted: Evicted,
        limit_bytes: u64,
    ) {
        let expect = evicted.asked_bytes.max(reservation.expected.saturating_mul(4)).min(limit_bytes);
        self.bytes.fetch_max(expect, Relaxed);
        self.hold_until_ms.store(reservation.budget.age_ms().saturating_add(HOLD_AFTER_EVICTION_MS), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn budget() -> Arc<Budget> {
        Arc::new(Budget::new(1 << 40, Box::new(|| None)))
    }

    #[test]
    fn the_estimate_follows_the_usage() {
        let (budget, estimate) = (budget(), MemoryEstimate::default());
        assert_eq!(estimate.expected(64 * MIB), FIRST_BYTES);
        assert_eq!(estimate.expected(MIB), MIB);
        let run = |bytes| {
            let reservation = budget.reserve(0, false);
            reservation.grow_to(bytes).unwrap();
            estimate.record_run(&reservation);
            estimate.expected(64 * MIB)
        };
        assert_eq!(run(MIB), MIB);
        assert_eq!(run(33 * MIB), 33 * MIB);
        assert_eq!(run(MIB), 31 * MIB);
        for _ in 0..100 {
            run(MIB);
        }
        assert!(estimate.expected(64 * MIB) <= MIB + STEP_BYTES);
        assert!(!estimate.reserves_in_full(&budget));
    }

    #[test]
    fn evictions_of_one_round_raise_the_estimate_once_and_hold_it() {
        let (budget, estimate) = (budget(), MemoryEstimate::default());
        let evicted = Evicted { asked_bytes: 3 * MIB };
        let reservations = [2, 2, 2].map(|mib| budget.reserve(mib * MIB, false));
        for reservation in &reservations {
            estimate.record_eviction(reservation, evicted, 64 * MIB);
            assert_eq!(estimate.expected(64 * MIB), 8 * MIB);
        }
        assert!(estimate.reserves_in_full(&budget));
        estimate.record_run(&budget.reserve(0, false));
        assert_eq!(estimate.expected(64 * MIB), 8 * MIB);
        estimate.record_eviction(&budget.reserve(60 * MIB, false), evicted, 64 * MIB);
        assert_eq!(estimate.expected(64 * MIB), 64 * MIB);
    }
}

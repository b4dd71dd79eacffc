//! What one run of a plugin is expected to use.
//!
//! Part of each plugin; asked and told by the runtime. It never refuses anything.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Budget, Evicted, Hold, STEP_BYTES};

/// What the first run of a plugin is expected to use: somewhat more than a small guest begins with.
const FIRST_BYTES: u64 = 2 << 20;
/// The share of what was expected in vain that is forgotten with each run.
const FORGET_SHARE: u64 = 16;
/// How long nothing is forgotten after a run was put back, so that it finds room when its turn comes.
const REMEMBER_MS: u64 = 60_000;

/// What one run of a plugin is expected to use, learned from those that were.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    /// 0 while nothing is known.
    bytes: AtomicU64,
    /// Until when nothing is forgotten, by the age of the budget; 0 if none was ever put back.
    remember_until_ms: AtomicU64,
}

impl Demand {
    /// Says whether runs of the plugin hold all that is expected of them as long as they live: lately some
    /// had to be put back.
    pub(crate) fn counts_in_full(&self, budget: &Budget) -> bool {
        let until_ms = self.remember_until_ms.load(Relaxed);
        until_ms > 0 && budget.age_ms() < until_ms
    }

    /// Returns what a run is expected to use, for a plugin with this limit.
    pub(crate) fn expected(&self, limit_bytes: u64) -> u64 {
        let bytes = self.bytes.load(Relaxed);
        let bytes = if bytes == 0 { FIRST_BYTES } else { bytes };
        bytes.next_multiple_of(STEP_BYTES).min(limit_bytes)
    }

    /// Learns from a run that is over. It writes only what has changed: every run comes by here.
    pub(crate) fn learn(&self, hold: &Hold) {
        let (known, used) = (self.bytes.load(Relaxed), hold.used());
        if used > known || known == 0 {
            self.bytes.store(used, Relaxed);
        } else if known - used >= STEP_BYTES && hold.budget.age_ms() >= self.remember_until_ms.load(Relaxed) {
            self.bytes.store(known - (known - used) / FORGET_SHARE, Relaxed);
        }
    }

    /// Learns from a run that was put back. Those of one round raise it only once: each by what had been
    /// expected of it.
    pub(crate) fn learn_more(&self, hold: &Hold, evicted: Evicted, limit_bytes: u64) {
        let expect = evicted.asked_bytes.max(hold.expected.saturating_mul(4)).min(limit_bytes);
        self.bytes.fetch_max(expect, Relaxed);
        self.remember_until_ms.store(hold.budget.age_ms().saturating_add(REMEMBER_MS), Relaxed);
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
    fn what_is_expected_follows_what_was_used() {
        let (budget, demand) = (budget(), Demand::default());
        assert_eq!(demand.expected(64 * MIB), FIRST_BYTES);
        assert_eq!(demand.expected(MIB), MIB);
        let run = |bytes| {
            let hold = budget.hold(0, false);
            hold.grow_to(bytes).unwrap();
            demand.learn(&hold);
            demand.expected(64 * MIB)
        };
        assert_eq!(run(MIB), MIB);
        assert_eq!(run(33 * MIB), 33 * MIB);
        assert_eq!(run(MIB), 31 * MIB);
        for _ in 0..100 {
            run(MIB);
        }
        assert!(demand.expected(64 * MIB) <= MIB + STEP_BYTES);
        assert!(!demand.counts_in_full(&budget));
    }

    #[test]
    fn those_put_back_in_one_round_raise_it_once_and_nothing_is_forgotten_soon_after() {
        let (budget, demand) = (budget(), Demand::default());
        let evicted = Evicted { asked_bytes: 3 * MIB };
        let holds = [2, 2, 2].map(|mib| budget.hold(mib * MIB, false));
        for hold in &holds {
            demand.learn_more(hold, evicted, 64 * MIB);
            assert_eq!(demand.expected(64 * MIB), 8 * MIB);
        }
        assert!(demand.counts_in_full(&budget));
        demand.learn(&budget.hold(0, false));
        assert_eq!(demand.expected(64 * MIB), 8 * MIB);
        demand.learn_more(&budget.hold(60 * MIB, false), evicted, 64 * MIB);
        assert_eq!(demand.expected(64 * MIB), 64 * MIB);
    }
}

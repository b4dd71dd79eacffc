//! The memory of all guests together: what they hold, what more of them would take, and who gives way when
//! it runs out.
//!
//! Owned by the runtime. Each run holds what its plugin is expected to use, from the moment it is begun, and
//! more as it grows. The scheduler asks how much room is left before it begins another. A run that needs
//! more than was expected of it when there is no more room is put back to waiting: others have a right to
//! what they hold. That run alone is never put back, so whoever is last gets on; and what its plugin is
//! expected to use grows fourfold each time, up to its limit, so that after a few rounds those that are let
//! in together fit together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Runs take memory of the budget in steps of this size, so that the counter they share is touched rarely.
const STEP_BYTES: u64 = 256 << 10;
/// What the first run of a plugin is expected to use: somewhat more than a small guest begins with.
const FIRST_BYTES: u64 = 2 << 20;
/// The share of what was expected in vain that is forgotten with each run.
const FORGET_SHARE: u64 = 16;
/// How long nothing is forgotten after a run was put back, so that it finds room when its turn comes.
const REMEMBER_MS: u64 = 60_000;
/// Bits of the counter that hold bytes, 16 TiB of them; the bits above count runs.
const BYTES_BITS: u32 = 44;
const BYTES_MASK: u64 = (1 << BYTES_BITS) - 1;

/// What all runs together may hold.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: u64,
    /// Runs and bytes in one number, so that whoever takes more knows whether it is alone.
    taken: AtomicU64,
    made_at: Instant,
}

impl Budget {
    pub(crate) fn new(bytes_max: u64) -> Self {
        // Half of what the counter can hold leaves room for those that may go over.
        Self { bytes_max: bytes_max.min(BYTES_MASK / 2), taken: AtomicU64::new(0), made_at: Instant::now() }
    }

    /// Begins a run that is expected to use so much. Never refuses: who is let in was asked before.
    pub(crate) fn hold(self: &Arc<Self>, bytes: u64) -> Hold {
        let bytes = bytes.min(self.bytes_max);
        self.taken.fetch_add((1 << BYTES_BITS) + bytes, Relaxed);
        Hold {
            budget: Arc::clone(self),
            expected: bytes,
            held: AtomicU64::new(bytes),
            used: AtomicU64::new(0),
        }
    }

    /// Returns the most that all runs may hold.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Returns the bytes that all runs hold.
    pub(crate) fn held(&self) -> u64 {
        self.taken.load(Relaxed) & BYTES_MASK
    }

    /// Returns the bytes that are left for further runs.
    pub(crate) fn room(&self) -> u64 {
        self.bytes_max.saturating_sub(self.held())
    }

    /// Takes more for a run, if there is more or if it is the only one.
    fn take(&self, more: u64) -> bool {
        let take = |taken: u64| {
            let (runs, bytes) = (taken >> BYTES_BITS, taken & BYTES_MASK);
            (bytes + more <= self.bytes_max || runs == 1).then_some(taken + more)
        };
        self.taken.fetch_update(Relaxed, Relaxed, take).is_ok()
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.made_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// What one run holds of the budget; given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    budget: Arc<Budget>,
    expected: u64,
    held: AtomicU64,
    used: AtomicU64,
}

/// There is no memory left for this run while others run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the memory of all tasks together is used up; this run would have used {asked_bytes} bytes")]
pub(crate) struct CrowdedOut {
    /// What the guest would have used.
    pub(crate) asked_bytes: u64,
}

impl Hold {
    /// Lets the run use so much in all.
    ///
    /// # Errors
    ///
    /// Fails if that is more than was expected, there is no more, and others run.
    pub(crate) fn grow_to(&self, bytes: u64) -> Result<(), CrowdedOut> {
        let held = self.held.load(Relaxed);
        if bytes > held {
            let more = (bytes - held).next_multiple_of(STEP_BYTES);
            if !self.budget.take(more) {
                return Err(CrowdedOut { asked_bytes: bytes });
            }
            self.held.store(held + more, Relaxed);
        }
        self.used.store(bytes, Relaxed);
        Ok(())
    }

    /// Returns the most that the run has used; memories and tables never shrink.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub((1 << BYTES_BITS) + self.held.load(Relaxed), Relaxed);
    }
}

/// What one run of a plugin is expected to use, learned from those that were.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    /// 0 while nothing is known.
    bytes: AtomicU64,
    /// Until when nothing is forgotten, by the age of the budget.
    remember_until_ms: AtomicU64,
}

impl Demand {
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
    pub(crate) fn learn_more(&self, hold: &Hold, crowded_out: CrowdedOut, limit_bytes: u64) {
        let expect = crowded_out.asked_bytes.max(hold.expected.saturating_mul(4)).min(limit_bytes);
        self.bytes.fetch_max(expect, Relaxed);
        self.remember_until_ms.store(hold.budget.age_ms().saturating_add(REMEMBER_MS), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn budget(bytes: u64) -> Arc<Budget> {
        Arc::new(Budget::new(bytes))
    }

    #[test]
    fn what_is_held_is_given_back() {
        let budget = budget(10 * MIB);
        let hold = budget.hold(2 * MIB);
        hold.grow_to(5 * MIB).unwrap();
        assert_eq!((budget.held(), budget.room(), hold.used()), (5 * MIB, 5 * MIB, 5 * MIB));
        drop(hold);
        assert_eq!((budget.held(), budget.room()), (0, 10 * MIB));
    }

    #[test]
    fn a_run_that_outgrows_what_was_expected_gives_way_and_the_others_keep_what_they_hold() {
        let budget = budget(10 * MIB);
        let (neighbour, hog) = (budget.hold(4 * MIB), budget.hold(2 * MIB));
        hog.grow_to(6 * MIB).unwrap();
        assert_eq!(hog.grow_to(7 * MIB), Err(CrowdedOut { asked_bytes: 7 * MIB }));
        neighbour.grow_to(4 * MIB).unwrap();
    }

    #[test]
    fn a_run_alone_may_go_over() {
        let budget = budget(10 * MIB);
        let hold = budget.hold(2 * MIB);
        hold.grow_to(30 * MIB).unwrap();
        assert_eq!(budget.room(), 0);
        let other = budget.hold(MIB);
        assert!(hold.grow_to(31 * MIB).is_err());
        drop(other);
        hold.grow_to(31 * MIB).unwrap();
    }

    #[test]
    fn no_plugin_is_expected_to_use_more_than_there_is() {
        let budget = budget(10 * MIB);
        drop(budget.hold(64 * MIB));
        let hold = budget.hold(64 * MIB);
        assert_eq!((budget.held(), budget.room()), (10 * MIB, 0));
        drop(hold);
    }

    #[test]
    fn what_is_expected_follows_what_was_used() {
        let (budget, demand) = (budget(1 << 40), Demand::default());
        assert_eq!(demand.expected(64 * MIB), FIRST_BYTES);
        assert_eq!(demand.expected(MIB), MIB);
        let run = |bytes| {
            let hold = budget.hold(0);
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
    }

    #[test]
    fn those_put_back_in_one_round_raise_it_once_and_nothing_is_forgotten_soon_after() {
        let (budget, demand) = (budget(1 << 40), Demand::default());
        let crowded_out = CrowdedOut { asked_bytes: 3 * MIB };
        let holds = [2, 2, 2].map(|mib| budget.hold(mib * MIB));
        for hold in &holds {
            demand.learn_more(hold, crowded_out, 64 * MIB);
            assert_eq!(demand.expected(64 * MIB), 8 * MIB);
        }
        demand.learn(&budget.hold(0));
        assert_eq!(demand.expected(64 * MIB), 8 * MIB);
        demand.learn_more(&budget.hold(60 * MIB), crowded_out, 64 * MIB);
        assert_eq!(demand.expected(64 * MIB), 64 * MIB);
    }

    #[test]
    fn many_threads_never_hold_more_than_there_is() {
        let budget = budget(8 * MIB);
        // Keeps the others from being alone.
        let neighbour = budget.hold(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let hold = budget.hold(0);
                        let grown = (1..=4).take_while(|mib| hold.grow_to(mib * MIB).is_ok()).count();
                        assert!(grown <= 4 && budget.held() <= 8 * MIB);
                    }
                });
            }
        });
        drop(neighbour);
        assert_eq!(budget.held(), 0);
    }
}

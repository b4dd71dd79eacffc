//! The memory of all guests together: what they use, what more of them would take, and who gives way when
//! it runs out.
//!
//! Owned by the runtime. What guests may use and what they use is far apart: a small Rust program declares
//! 1.1 MiB and touches 80 KiB, and thousands of those asleep have to fit. So what counts is what is resident,
//! as the kernel tells it, and what was handed out so recently that it may not have been touched yet. The
//! scheduler asks how much room is left before it begins another run.
//!
//! When there is no room, a run that grows is put back to waiting; and when guests touch what they were given
//! long ago and it is too much, large and young ones are put back until the rest fits. Of a plugin whose
//! runs had to be put back, more is expected from then on, and each of its runs holds all of that as long as
//! it lives, so that after a few rounds those that are let in together fit together. A run that is alone is
//! never put back, so whoever is last gets on.

mod account;
mod demand;
mod resident;
mod watch;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

pub(crate) use self::account::Account;
pub(crate) use self::demand::Demand;
pub(crate) use self::resident::ResidentMemory;
use self::watch::Watch;
use crate::place::Place;

/// Runs take memory of the budget in steps of this size, so that the counters they share are touched rarely.
const STEP_BYTES: u64 = 256 << 10;
/// Bits of the counter that hold bytes, 16 TiB of them; the bits above count runs.
const BYTES_BITS: u32 = 44;
const BYTES_MASK: u64 = (1 << BYTES_BITS) - 1;
/// How long what is handed out counts in full, at least; a guest has touched it by then, or sleeps.
const RECENT_MS: u64 = 20;
/// How old the measured figure may be when somebody asks.
const FRESH_MS: u64 = 1;

/// Tells the bytes that are resident for the host and its guests; `None` where nobody knows.
pub(crate) type Gauge = Box<dyn Fn() -> Option<u64> + Send + Sync>;

/// What all runs together may use.
pub(crate) struct Budget {
    bytes_max: u64,
    gauge: Gauge,
    /// Whether the gauge tells anything; else each run holds what it may have touched.
    is_measured: bool,
    /// Runs, and the bytes that some of them hold as long as they live, in one number, so that whoever takes
    /// more knows whether it is alone.
    taken: AtomicU64,
    /// Bytes handed out in this stretch of time and in the one before, one of them even and one odd.
    recent: [AtomicU64; 2],
    /// The number of this stretch of time.
    stretch: AtomicU64,
    /// Bytes resident for guests when that was last measured.
    resident: AtomicU64,
    measured_at_ms: AtomicU64,
    /// Whether guests were found to use more than there is, and some of them are to go.
    is_over: AtomicBool,
    made_at: Instant,
    watch: Mutex<Watch>,
}

impl Budget {
    /// Makes a budget of so many bytes, which are measured by `gauge`.
    pub(crate) fn new(bytes_max: u64, gauge: Gauge) -> Self {
        let own_bytes = gauge();
        Self {
            // Half of what the counter can hold leaves room for those that may go over.
            bytes_max: bytes_max.min(BYTES_MASK / 2),
            gauge,
            is_measured: own_bytes.is_some(),
            taken: AtomicU64::new(0),
            recent: Default::default(),
            stretch: AtomicU64::new(1),
            resident: AtomicU64::new(0),
            measured_at_ms: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            made_at: Instant::now(),
            watch: Mutex::new(Watch::new(own_bytes.unwrap_or_default())),
        }
    }

    /// Begins a run that is expected to use so much; `in_full` if it is to hold that as long as it lives.
    /// Never refuses: who is let in was asked before.
    pub(crate) fn hold(self: &Arc<Self>, bytes: u64, in_full: bool) -> Hold {
        let bytes = bytes.min(self.bytes_max);
        let in_full = in_full || !self.is_measured;
        let before = self.taken.fetch_add((1 << BYTES_BITS) + if in_full { bytes } else { 0 }, Relaxed);
        if before >> BYTES_BITS == 0 {
            self.nothing_ran();
        }
        let stretch = self.hand_out(bytes);
        Hold {
            budget: Arc::clone(self),
            expected: bytes,
            stretch,
            in_full,
            held: AtomicU64::new(bytes),
            used: AtomicU64::new(0),
            is_evicted: AtomicBool::new(false),
            waker: Mutex::default(),
            place: Place::new(),
        }
    }

    /// Returns the most that all runs may use.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Returns the bytes that all runs use, with what was handed out to them lately or for good.
    pub(crate) fn used(&self) -> u64 {
        let age_ms = self.age_ms().saturating_sub(self.measured_at_ms.load(Relaxed));
        if age_ms > FRESH_MS || self.used_as_known() > self.bytes_max / 2 {
            self.measure();
        }
        self.used_as_known()
    }

    /// Returns the bytes that are left for further runs.
    pub(crate) fn room(&self) -> u64 {
        self.bytes_max.saturating_sub(self.used())
    }

    fn used_as_known(&self) -> u64 {
        let taken = self.taken.load(Relaxed);
        if taken >> BYTES_BITS == 0 { 0 } else { self.measured().max(taken & BYTES_MASK) }
    }

    /// Returns what is resident, with what may be soon.
    fn measured(&self) -> u64 {
        let recent = self.recent.iter().map(|recent| recent.load(Relaxed)).sum::<u64>();
        self.resident.load(Relaxed).saturating_add(recent)
    }

    /// Takes more for a run, if there is more or if it is the only one.
    fn take(&self, more: u64, in_full: bool) -> bool {
        if !self.fits(more) {
            self.measure();
            if !self.fits(more) {
                return false;
            }
        }
        if !in_full {
            self.hand_out(more);
            return true;
        }
        let take = |taken: u64| {
            let (runs, bytes) = (taken >> BYTES_BITS, taken & BYTES_MASK);
            (bytes + more <= self.bytes_max || runs == 1).then_some(taken + more)
        };
        let is_taken = self.taken.fetch_update(Relaxed, Relaxed, take).is_ok();
        if is_taken {
            self.hand_out(more);
        }
        is_taken
    }

    /// Counts what a run may not have touched yet, and returns in which stretch of time.
    fn hand_out(&self, bytes: u64) -> u64 {
        let stretch = self.stretch.load(Relaxed);
        if self.is_measured {
            self.recent_of(stretch).fetch_add(bytes, Relaxed);
        }
        stretch
    }

    fn recent_of(&self, stretch: u64) -> &AtomicU64 {
        &self.recent[(stretch % 2) as usize]
    }

    fn fits(&self, more: u64) -> bool {
        self.taken.load(Relaxed) >> BYTES_BITS == 1 || self.measured().saturating_add(more) <= self.bytes_max
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.made_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn watch(&self) -> std::sync::MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("bytes_max", &self.bytes_max)
            .field("used", &self.used_as_known())
            .finish()
    }
}

/// What one run holds of the budget, given back when this is dropped; and where its guest is, for others to see.
#[derive(Debug)]
pub(crate) struct Hold {
    budget: Arc<Budget>,
    expected: u64,
    /// When that was handed out.
    stretch: u64,
    in_full: bool,
    held: AtomicU64,
    used: AtomicU64,
    is_evicted: AtomicBool,
    /// Wakes the run if it sleeps.
    waker: Mutex<Option<Waker>>,
    place: Place,
}

/// There is no memory left for this run while others run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the memory of all tasks together is used up; this run would have used {asked_bytes} bytes")]
pub(crate) struct Evicted {
    /// What the guest would have used.
    pub(crate) asked_bytes: u64,
}

impl Hold {
    /// Lets the run use so much in all.
    ///
    /// # Errors
    ///
    /// Fails if that is more than was expected, there is no more, and others run.
    pub(crate) fn grow_to(&self, bytes: u64) -> Result<(), Evicted> {
        let held = self.held.load(Relaxed);
        if bytes > held {
            let more = (bytes - held).next_multiple_of(STEP_BYTES);
            if !self.budget.take(more, self.in_full) {
                return Err(Evicted { asked_bytes: bytes });
            }
            self.held.store(held + more, Relaxed);
        }
        self.used.fetch_max(bytes, Relaxed);
        Ok(())
    }

    /// Returns where the guest is.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Returns the most that the run may have touched so far, with what the host keeps for it.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Has `waker` called when the run has to give way.
    pub(crate) fn wake_to_give_way(&self, waker: &Waker) {
        let mut known = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *known {
            Some(known) => known.clone_from(waker),
            None => *known = Some(waker.clone()),
        }
    }

    /// Says whether the run has to give way.
    pub(crate) fn must_give_way(&self) -> Option<Evicted> {
        self.is_evicted.load(SeqCst).then(|| Evicted { asked_bytes: self.used() })
    }

    /// Says whether the run has to pause until others that were asked to go are gone: else it touches more
    /// in that time than they give back.
    pub(crate) fn has_to_pause(&self) -> bool {
        self.budget.is_over.load(Relaxed) && !self.is_evicted.load(SeqCst)
    }

    fn evict(&self) {
        self.is_evicted.store(true, SeqCst);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let bytes = if self.in_full { self.held.load(Relaxed) } else { 0 };
        let budget = &self.budget;
        budget.taken.fetch_sub((1 << BYTES_BITS) + bytes, Relaxed);
        // What was handed out to the many short runs is back long before it would no longer count.
        if budget.is_measured && self.stretch + 1 >= budget.stretch.load(Relaxed) {
            let give_back = |recent: u64| Some(recent.saturating_sub(self.expected));
            let _ = budget.recent_of(self.stretch).fetch_update(Relaxed, Relaxed, give_back);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A budget that counts what is held, as there is nothing to measure.
    fn counted(bytes: u64) -> Arc<Budget> {
        Arc::new(Budget::new(bytes, Box::new(|| None)))
    }

    /// A budget, and what is resident.
    fn measured(bytes: u64) -> (Arc<Budget>, Arc<AtomicU64>) {
        let resident = Arc::new(AtomicU64::new(100 * MIB));
        let gauge = Arc::clone(&resident);
        (Arc::new(Budget::new(bytes, Box::new(move || Some(gauge.load(Relaxed))))), resident)
    }

    /// Waits until what was handed out before counts no longer.
    fn let_recent_pass(budget: &Budget) {
        let stretch = budget.stretch.load(Relaxed);
        while budget.stretch.load(Relaxed) < stretch + 2 {
            budget.measure();
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_is_held_is_given_back() {
        let budget = counted(10 * MIB);
        let hold = budget.hold(2 * MIB, false);
        hold.grow_to(5 * MIB).unwrap();
        assert_eq!((budget.used(), budget.room(), hold.used()), (5 * MIB, 5 * MIB, 5 * MIB));
        drop(hold);
        assert_eq!((budget.used(), budget.room()), (0, 10 * MIB));
    }

    #[test]
    fn a_run_that_outgrows_what_was_expected_gives_way_and_the_others_keep_what_they_hold() {
        let budget = counted(10 * MIB);
        let (neighbour, hog) = (budget.hold(4 * MIB, false), budget.hold(2 * MIB, false));
        hog.grow_to(6 * MIB).unwrap();
        assert_eq!(hog.grow_to(7 * MIB), Err(Evicted { asked_bytes: 7 * MIB }));
        neighbour.grow_to(4 * MIB).unwrap();
    }

    #[test]
    fn a_run_alone_may_go_over() {
        let (measured, _resident) = measured(10 * MIB);
        for budget in [counted(10 * MIB), measured] {
            let hold = budget.hold(2 * MIB, false);
            hold.grow_to(30 * MIB).unwrap();
            assert_eq!(budget.room(), 0);
            let other = budget.hold(MIB, false);
            assert!(hold.grow_to(31 * MIB).is_err());
            drop(other);
            hold.grow_to(31 * MIB).unwrap();
        }
    }

    #[test]
    fn no_plugin_is_expected_to_use_more_than_there_is() {
        let budget = counted(10 * MIB);
        drop(budget.hold(64 * MIB, false));
        let hold = budget.hold(64 * MIB, false);
        assert_eq!((budget.used(), budget.room()), (10 * MIB, 0));
        drop(hold);
    }

    #[test]
    fn many_threads_never_hold_more_than_there_is() {
        let budget = counted(8 * MIB);
        // Keeps the others from being alone.
        let neighbour = budget.hold(0, false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let hold = budget.hold(0, false);
                        let grown = (1..=4).take_while(|mib| hold.grow_to(mib * MIB).is_ok()).count();
                        assert!(grown <= 4 && budget.used() <= 8 * MIB);
                    }
                });
            }
        });
        drop(neighbour);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_guests_never_touch_is_there_for_others() {
        let (budget, resident) = measured(10 * MIB);
        let sleepers: Vec<_> = (0..5).map(|_| budget.hold(2 * MIB, false)).collect();
        assert_eq!(budget.room(), 0, "who was let in a moment ago may touch it all");
        resident.fetch_add(MIB, Relaxed);
        let_recent_pass(&budget);
        assert_eq!(budget.room(), 9 * MIB);
        drop(sleepers);
        assert_eq!((budget.used(), budget.room()), (0, 10 * MIB));
    }

    #[test]
    fn what_was_handed_out_to_short_runs_is_back_at_their_end() {
        let (budget, _resident) = measured(10 * MIB);
        let neighbour = budget.hold(MIB, false);
        for _ in 0..1_000 {
            drop(budget.hold(8 * MIB, false));
        }
        assert_eq!(budget.room(), 9 * MIB);
        drop(neighbour);
    }

    #[test]
    fn what_is_held_in_full_counts_though_it_is_not_touched() {
        let (budget, _resident) = measured(10 * MIB);
        let hold = budget.hold(4 * MIB, true);
        hold.grow_to(6 * MIB).unwrap();
        let_recent_pass(&budget);
        assert_eq!(budget.room(), 4 * MIB);
        drop(hold);
    }

    #[test]
    fn when_too_much_is_touched_the_youngest_of_the_large_ones_give_way_but_never_the_last() {
        let (budget, resident) = measured(10 * MIB);
        let holds: Vec<_> = [8, 1, 8, 8, 1]
            .map(|mib| {
                let hold = Arc::new(budget.hold(MIB, false));
                let_recent_pass(&budget);
                hold.grow_to(mib * MIB).unwrap();
                hold
            })
            .into();
        let look = || budget.look(true, || holds.clone());
        let evicted = || holds.iter().map(|hold| hold.must_give_way().is_some()).collect::<Vec<_>>();
        let paused = || holds.iter().map(|hold| hold.has_to_pause()).collect::<Vec<_>>();
        let_recent_pass(&budget);
        look();
        assert_eq!((evicted(), paused()), (vec![false; 5], vec![false; 5]));
        resident.fetch_add(20 * MIB, Relaxed);
        look();
        assert_eq!(evicted(), [false, false, true, true, false]);
        assert_eq!(paused(), [true, true, false, false, true]);
        look();
        assert_eq!(evicted(), [false, false, true, true, false], "those two have not had the time to go");
        resident.fetch_add(1_000 * MIB, Relaxed);
        look();
        assert_eq!(evicted(), [true, false, true, true, false]);
        look();
        look();
        assert_eq!(evicted().iter().filter(|evicted| !**evicted).count(), 1, "{:?}", evicted());
        resident.fetch_sub(1_020 * MIB, Relaxed);
        look();
        assert_eq!(paused(), [false; 5]);
    }

    #[test]
    fn a_run_that_sleeps_is_woken_to_give_way() {
        struct Flag(AtomicBool);
        impl std::task::Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Relaxed);
            }
        }
        let (budget, resident) = measured(10 * MIB);
        let (hog, other) = (Arc::new(budget.hold(8 * MIB, false)), budget.hold(MIB, false));
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        hog.wake_to_give_way(&Arc::clone(&flag).into());
        assert!(hog.must_give_way().is_none());
        resident.fetch_add(20 * MIB, Relaxed);
        budget.look(true, || vec![Arc::clone(&hog)]);
        assert!(flag.0.load(Relaxed));
        assert!(hog.must_give_way().is_some());
        drop(other);
    }

    #[test]
    fn what_the_host_itself_uses_is_not_counted() {
        let (budget, resident) = measured(10 * MIB);
        resident.fetch_add(50 * MIB, Relaxed);
        while budget.age_ms() <= watch::OWN_MS {
            std::thread::yield_now();
        }
        let hold = budget.hold(MIB, false);
        assert_eq!(budget.room(), 9 * MIB);
        drop(hold);
    }
}

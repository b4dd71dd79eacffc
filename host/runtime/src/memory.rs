//! The memory budget of all guests: what they use, what further runs would use, and which runs are evicted when
//! memory runs out.
//!
//! Owned by the runtime. Declared and touched memory differ widely: a small Rust program declares 1.1 MiB and
//! touches 80 KiB, and thousands of idle guests have to fit. So the budget counts resident memory, as reported by
//! the kernel, plus memory granted so recently that the guest may not have touched it yet. The scheduler asks for
//! the available memory before it starts another run.
//!
//! When no memory is available, a run that grows is evicted and its task requeued. When guests touch memory that
//! was granted long ago and exceed the budget, large and young runs are evicted until the rest fits. After an
//! eviction, the estimate of the plugin rises and each of its runs reserves all of it for its lifetime, so that
//! after a few rounds the runs admitted together fit together. A run that is alone is never evicted, so there is
//! always progress.

mod account;
mod estimate;
mod monitor;
mod resident;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

pub(crate) use self::account::Account;
pub(crate) use self::estimate::MemoryEstimate;
use self::monitor::MonitorState;
pub(crate) use self::resident::ResidentMemory;
use crate::instance_status::InstanceStatus;

/// Runs take memory from the budget in steps of this size, to keep contention on the shared counters low.
const STEP_BYTES: u64 = 256 << 10;
/// The lower bits of `totals` hold bytes (up to 16 TiB), the bits above count runs.
const BYTES_BITS: u32 = 44;
const BYTES_MASK: u64 = (1 << BYTES_BITS) - 1;
/// The length of a window. Memory granted in the current and the previous window counts in full; after that, a
/// guest has touched it or is idle.
const WINDOW_MS: u64 = 20;
/// The maximum age of a measurement when the usage is queried.
const MEASUREMENT_AGE_MAX_MS: u64 = 1;

/// Returns the resident bytes of the host and its guests; `None` where this is not known.
pub(crate) type Gauge = Box<dyn Fn() -> Option<u64> + Send + Sync>;

/// The memory that all runs together may use.
pub(crate) struct Budget {
    bytes_max: u64,
    gauge: Gauge,
    /// Whether the gauge returns values; if not, each run reserves all that it may have touched.
    is_measured: bool,
    /// The number of runs and the bytes of full reservations, packed into one word, so that a run that takes more
    /// memory knows atomically whether it is alone.
    totals: AtomicU64,
    /// Bytes granted in the current window and in the previous one, indexed by the parity of the window.
    recent: [AtomicU64; 2],
    /// The number of the current window.
    window: AtomicU64,
    /// Bytes resident for guests at the last measurement.
    resident: AtomicU64,
    measured_at_ms: AtomicU64,
    /// Whether guests exceed the budget and some of them are being evicted.
    is_over: AtomicBool,
    created_at: Instant,
    monitor: Mutex<MonitorState>,
}

impl Budget {
    /// Creates a budget of `bytes_max`, measured by `gauge`.
    pub(crate) fn new(bytes_max: u64, gauge: Gauge) -> Self {
        let host_bytes = gauge();
        Self {
            // Half of the range of the counter leaves room for single runs that go over.
            bytes_max: bytes_max.min(BYTES_MASK / 2),
            gauge,
            is_measured: host_bytes.is_some(),
            totals: AtomicU64::new(0),
            recent: Default::default(),
            window: AtomicU64::new(1),
            resident: AtomicU64::new(0),
            measured_at_ms: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            created_at: Instant::now(),
            monitor: Mutex::new(MonitorState::new(host_bytes.unwrap_or_default())),
        }
    }

    /// Registers a run that is expected to use `bytes`; if `is_full`, it reserves them for its lifetime. Never
    /// fails: admission was checked before.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64, is_full: bool) -> MemoryReservation {
        let bytes = bytes.min(self.bytes_max);
        let is_full = is_full || !self.is_measured;
        let before = self.totals.fetch_add((1 << BYTES_BITS) + if is_full { bytes } else { 0 }, Relaxed);
        if before >> BYTES_BITS == 0 {
            self.measure_host_bytes();
        }
        let window = self.record_recent(bytes);
        MemoryReservation {
            budget: Arc::clone(self),
            expected: bytes,
            window,
            is_full,
            reserved: AtomicU64::new(bytes),
            used: AtomicU64::new(0),
            is_evicted: AtomicBool::new(false),
            waker: Mutex::default(),
            status: InstanceStatus::new(),
        }
    }

    /// Returns the budget in bytes.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Returns the bytes in use, including recently granted and fully reserved memory.
    pub(crate) fn used(&self) -> u64 {
        let age_ms = self.age_ms().saturating_sub(self.measured_at_ms.load(Relaxed));
        if age_ms > MEASUREMENT_AGE_MAX_MS || self.cached_used() > self.bytes_max / 2 {
            self.measure();
        }
        self.cached_used()
    }

    /// Returns the bytes available for further runs.
    pub(crate) fn available(&self) -> u64 {
        self.bytes_max.saturating_sub(self.used())
    }

    fn cached_used(&self) -> u64 {
        let totals = self.totals.load(Relaxed);
        if totals >> BYTES_BITS == 0 { 0 } else { self.measured().max(totals & BYTES_MASK) }
    }

    /// Returns the resident bytes plus those granted recently.
    fn measured(&self) -> u64 {
        let recent = self.recent.iter().map(|recent| recent.load(Relaxed)).sum::<u64>();
        self.resident.load(Relaxed).saturating_add(recent)
    }

    /// Takes `more` bytes for a run, if they are available or if the run is alone.
    fn try_take(&self, more: u64, is_full: bool) -> bool {
        if !self.fits(more) {
            self.measure();
            if !self.fits(more) {
                return false;
            }
        }
        if !is_full {
            self.record_recent(more);
            return true;
        }
        let try_take = |totals: u64| {
            let (runs, bytes) = (totals >> BYTES_BITS, totals & BYTES_MASK);
            (bytes + more <= self.bytes_max || runs == 1).then_some(totals + more)
        };
        let is_taken = self.totals.fetch_update(Relaxed, Relaxed, try_take).is_ok();
        if is_taken {
            self.record_recent(more);
        }
        is_taken
    }

    /// Counts bytes that a run may not have touched yet, and returns the current window.
    fn record_recent(&self, bytes: u64) -> u64 {
        let window = self.window.load(Relaxed);
        if self.is_measured {
            self.recent_in(window).fetch_add(bytes, Relaxed);
        }
        window
    }

    fn recent_in(&self, window: u64) -> &AtomicU64 {
        &self.recent[(window % 2) as usize]
    }

    fn fits(&self, more: u64) -> bool {
        self.totals.load(Relaxed) >> BYTES_BITS == 1 || self.measured().saturating_add(more) <= self.bytes_max
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.created_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn monitor(&self) -> std::sync::MutexGuard<'_, MonitorState> {
        self.monitor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("bytes_max", &self.bytes_max)
            .field("used", &self.cached_used())
            .finish()
    }
}

/// The memory that one run reserves, released on drop, and the status of its guest.
#[derive(Debug)]
pub(crate) struct MemoryReservation {
    budget: Arc<Budget>,
    expected: u64,
    /// The window in which `expected` was granted.
    window: u64,
    is_full: bool,
    reserved: AtomicU64,
    used: AtomicU64,
    is_evicted: AtomicBool,
    /// Wakes the run if it is waiting.
    waker: Mutex<Option<Waker>>,
    status: InstanceStatus,
}

/// No memory is left for this run while others are running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the memory budget of all tasks is exhausted; this run would have used {asked_bytes} bytes")]
pub(crate) struct Evicted {
    /// The memory that the guest would have used.
    pub(crate) asked_bytes: u64,
}

impl MemoryReservation {
    /// Allows the run to use `bytes` in total.
    ///
    /// # Errors
    ///
    /// Fails if that exceeds the reservation, no more memory is available, and other runs exist.
    pub(crate) fn grow_to(&self, bytes: u64) -> Result<(), Evicted> {
        let reserved = self.reserved.load(Relaxed);
        if bytes > reserved {
            let more = (bytes - reserved).next_multiple_of(STEP_BYTES);
            if !self.budget.try_take(more, self.is_full) {
                return Err(Evicted { asked_bytes: bytes });
            }
            self.reserved.store(reserved + more, Relaxed);
        }
        self.used.fetch_max(bytes, Relaxed);
        Ok(())
    }

    /// Returns the status of the guest.
    pub(crate) fn status(&self) -> &InstanceStatus {
        &self.status
    }

    /// Returns the most memory that the run may have touched so far, including what the host keeps for it.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Sets the waker to call when the run is evicted.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        let mut known = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *known {
            Some(known) => known.clone_from(waker),
            None => *known = Some(waker.clone()),
        }
    }

    /// Returns the reason if the run has been evicted.
    pub(crate) fn eviction(&self) -> Option<Evicted> {
        self.is_evicted.load(SeqCst).then(|| Evicted { asked_bytes: self.used() })
    }

    /// Returns true if the run has to pause until evicted runs are gone; otherwise it would touch more memory in
    /// that time than they release.
    pub(crate) fn must_pause(&self) -> bool {
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

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        let bytes = if self.is_full { self.reserved.load(Relaxed) } else { 0 };
        let budget = &self.budget;
        budget.totals.fetch_sub((1 << BYTES_BITS) + bytes, Relaxed);
        // Short runs return what they were granted before it would expire with its window.
        if budget.is_measured && self.window + 1 >= budget.window.load(Relaxed) {
            let give_back = |recent: u64| Some(recent.saturating_sub(self.expected));
            let _ = budget.recent_in(self.window).fetch_update(Relaxed, Relaxed, give_back);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Creates a budget that counts reservations, as nothing is measured.
    fn counted(bytes: u64) -> Arc<Budget> {
        Arc::new(Budget::new(bytes, Box::new(|| None)))
    }

    /// Creates a budget, and returns it with its resident bytes.
    fn measured(bytes: u64) -> (Arc<Budget>, Arc<AtomicU64>) {
        let resident = Arc::new(AtomicU64::new(100 * MIB));
        let gauge = Arc::clone(&resident);
        (Arc::new(Budget::new(bytes, Box::new(move || Some(gauge.load(Relaxed))))), resident)
    }

    /// Waits until earlier grants have expired.
    fn expire_recent(budget: &Budget) {
        let window = budget.window.load(Relaxed);
        while budget.window.load(Relaxed) < window + 2 {
            budget.measure();
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_dropped_reservation_is_released() {
        let budget = counted(10 * MIB);
        let reservation = budget.reserve(2 * MIB, false);
        reservation.grow_to(5 * MIB).unwrap();
        assert_eq!((budget.used(), budget.available(), reservation.used()), (5 * MIB, 5 * MIB, 5 * MIB));
        drop(reservation);
        assert_eq!((budget.used(), budget.available()), (0, 10 * MIB));
    }

    #[test]
    fn a_run_that_outgrows_its_estimate_is_evicted_and_others_keep_theirs() {
        let budget = counted(10 * MIB);
        let (neighbour, hog) = (budget.reserve(4 * MIB, false), budget.reserve(2 * MIB, false));
        hog.grow_to(6 * MIB).unwrap();
        assert_eq!(hog.grow_to(7 * MIB), Err(Evicted { asked_bytes: 7 * MIB }));
        neighbour.grow_to(4 * MIB).unwrap();
    }

    #[test]
    fn a_run_alone_may_exceed_the_budget() {
        let (measured, _resident) = measured(10 * MIB);
        for budget in [counted(10 * MIB), measured] {
            let reservation = budget.reserve(2 * MIB, false);
            reservation.grow_to(30 * MIB).unwrap();
            assert_eq!(budget.available(), 0);
            let other = budget.reserve(MIB, false);
            assert!(reservation.grow_to(31 * MIB).is_err());
            drop(other);
            reservation.grow_to(31 * MIB).unwrap();
        }
    }

    #[test]
    fn an_estimate_never_exceeds_the_budget() {
        let budget = counted(10 * MIB);
        drop(budget.reserve(64 * MIB, false));
        let reservation = budget.reserve(64 * MIB, false);
        assert_eq!((budget.used(), budget.available()), (10 * MIB, 0));
        drop(reservation);
    }

    #[test]
    fn concurrent_reservations_never_exceed_the_budget() {
        let budget = counted(8 * MIB);
        // Ensures that no other run is alone.
        let neighbour = budget.reserve(0, false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let reservation = budget.reserve(0, false);
                        let grown = (1..=4).take_while(|mib| reservation.grow_to(mib * MIB).is_ok()).count();
                        assert!(grown <= 4 && budget.used() <= 8 * MIB);
                    }
                });
            }
        });
        drop(neighbour);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn untouched_memory_is_available_to_others() {
        let (budget, resident) = measured(10 * MIB);
        let sleepers: Vec<_> = (0..5).map(|_| budget.reserve(2 * MIB, false)).collect();
        assert_eq!(budget.available(), 0, "runs just admitted may touch all they were granted");
        resident.fetch_add(MIB, Relaxed);
        expire_recent(&budget);
        assert_eq!(budget.available(), 9 * MIB);
        drop(sleepers);
        assert_eq!((budget.used(), budget.available()), (0, 10 * MIB));
    }

    #[test]
    fn memory_granted_to_short_runs_is_released_at_their_end() {
        let (budget, _resident) = measured(10 * MIB);
        let neighbour = budget.reserve(MIB, false);
        for _ in 0..1_000 {
            drop(budget.reserve(8 * MIB, false));
        }
        assert_eq!(budget.available(), 9 * MIB);
        drop(neighbour);
    }

    #[test]
    fn a_full_reservation_counts_even_if_untouched() {
        let (budget, _resident) = measured(10 * MIB);
        let reservation = budget.reserve(4 * MIB, true);
        reservation.grow_to(6 * MIB).unwrap();
        expire_recent(&budget);
        assert_eq!(budget.available(), 4 * MIB);
        drop(reservation);
    }

    #[test]
    fn over_budget_the_youngest_large_runs_are_evicted_but_never_the_last() {
        let (budget, resident) = measured(10 * MIB);
        let reservations: Vec<_> = [8, 1, 8, 8, 1]
            .map(|mib| {
                let reservation = Arc::new(budget.reserve(MIB, false));
                expire_recent(&budget);
                reservation.grow_to(mib * MIB).unwrap();
                reservation
            })
            .into();
        let check = || budget.check(true, || reservations.clone());
        let evicted =
            || reservations.iter().map(|reservation| reservation.eviction().is_some()).collect::<Vec<_>>();
        let paused = || reservations.iter().map(|reservation| reservation.must_pause()).collect::<Vec<_>>();
        expire_recent(&budget);
        check();
        assert_eq!((evicted(), paused()), (vec![false; 5], vec![false; 5]));
        resident.fetch_add(20 * MIB, Relaxed);
        check();
        assert_eq!(evicted(), [false, false, true, true, false]);
        assert_eq!(paused(), [true, true, false, false, true]);
        check();
        assert_eq!(evicted(), [false, false, true, true, false], "those two have not had the time to go");
        resident.fetch_add(1_000 * MIB, Relaxed);
        check();
        assert_eq!(evicted(), [true, false, true, true, false]);
        check();
        check();
        assert_eq!(evicted().iter().filter(|evicted| !**evicted).count(), 1, "{:?}", evicted());
        resident.fetch_sub(1_020 * MIB, Relaxed);
        check();
        assert_eq!(paused(), [false; 5]);
    }

    #[test]
    fn a_sleeping_run_is_woken_when_it_is_evicted() {
        struct Flag(AtomicBool);
        impl std::task::Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Relaxed);
            }
        }
        let (budget, resident) = measured(10 * MIB);
        let (hog, other) = (Arc::new(budget.reserve(8 * MIB, false)), budget.reserve(MIB, false));
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        hog.set_waker(&Arc::clone(&flag).into());
        assert!(hog.eviction().is_none());
        resident.fetch_add(20 * MIB, Relaxed);
        budget.check(true, || vec![Arc::clone(&hog)]);
        assert!(flag.0.load(Relaxed));
        assert!(hog.eviction().is_some());
        drop(other);
    }

    #[test]
    fn memory_of_the_host_itself_is_not_counted() {
        let (budget, resident) = measured(10 * MIB);
        resident.fetch_add(50 * MIB, Relaxed);
        while budget.age_ms() <= monitor::HOST_BYTES_AGE_MS {
            std::thread::yield_now();
        }
        let reservation = budget.reserve(MIB, false);
        assert_eq!(budget.available(), 9 * MIB);
        drop(reservation);
    }
}

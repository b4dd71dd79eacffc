//! The budget of all guests and the reservation of each run: what they use, and what further runs would use.

mod monitor;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

use crate::observe::instance_status::InstanceStatus;

/// Runs take memory from the budget in steps of this size, to keep contention on the shared counters low.
pub(super) const STEP_BYTES: u64 = 256 << 10;
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

/// The last measurements and their times.
#[derive(Debug)]
struct MonitorState {
    /// Bytes resident while no guest was running.
    host_bytes: u64,
    host_measured_at_ms: u64,
    window_since_ms: u64,
    checked_at_ms: u64,
}

impl MonitorState {
    fn new(host_bytes: u64) -> Self {
        Self { host_bytes, host_measured_at_ms: 0, window_since_ms: 0, checked_at_ms: 0 }
    }
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

    pub(super) fn age_ms(&self) -> u64 {
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
    pub(super) budget: Arc<Budget>,
    pub(super) expected: u64,
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

    pub(super) fn evict(&self) {
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
mod tests;

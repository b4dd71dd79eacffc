//! The memory account of one guest: its memories and tables, and what the host keeps for it.
//!
//! Shared by `limiter`, by `guest`, which counts the memory behind handles, and by the stdout buffer of a program.
//! Only one thread at a time polls a guest, so relaxed ordering is sufficient.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::memory::budget::{Evicted, MemoryReservation};

/// The account of one guest.
#[derive(Debug)]
pub(crate) struct Account {
    bytes_max: u64,
    /// Bytes of memories and tables.
    own: AtomicU64,
    /// Bytes of buffers that the host keeps: input, result and the like.
    texts: AtomicU64,
    /// Bytes that the host keeps behind handles.
    handles: AtomicU64,
    has_refused: AtomicBool,
    is_overdrawn: AtomicBool,
    reservation: Arc<MemoryReservation>,
}

impl Account {
    /// Opens the account of a guest with an input of `input_bytes`.
    pub(crate) fn new(bytes_max: u64, input_bytes: u64, reservation: Arc<MemoryReservation>) -> Self {
        Self {
            bytes_max,
            own: AtomicU64::new(0),
            texts: AtomicU64::new(input_bytes),
            handles: AtomicU64::new(0),
            has_refused: AtomicBool::new(false),
            is_overdrawn: AtomicBool::new(false),
            reservation,
        }
    }

    /// Returns the memory limit of the guest.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Returns the reservation of the run in the shared budget.
    pub(crate) fn reservation(&self) -> &MemoryReservation {
        &self.reservation
    }

    /// Returns true if a request of the guest for memory was ever denied.
    pub(crate) fn has_refused(&self) -> bool {
        self.has_refused.load(Relaxed)
    }

    /// Returns true if the host had to keep more for the guest than its limit allows.
    pub(crate) fn is_overdrawn(&self) -> bool {
        self.is_overdrawn.load(Relaxed)
    }

    /// Returns the bytes available.
    fn available(&self) -> u64 {
        self.bytes_max.saturating_sub(self.used())
    }

    fn used(&self) -> u64 {
        let kept = self.texts.load(Relaxed).saturating_add(self.handles.load(Relaxed));
        self.own.load(Relaxed).saturating_add(kept)
    }

    /// Counts the growth of a memory or table; returns false if it exceeds the limit.
    ///
    /// # Errors
    ///
    /// Fails if no memory is left for this run while others are running.
    pub(crate) fn grow(&self, more: u64) -> Result<bool, Evicted> {
        if more > self.available() {
            self.has_refused.store(true, Relaxed);
            return Ok(false);
        }
        // Counted even if the allocation then fails, which errs on the safe side.
        self.reservation.grow_to(self.used() + more)?;
        self.own.fetch_add(more, Relaxed);
        Ok(true)
    }

    /// Counts bytes that the host keeps until they are released or the run ends; returns false if they exceed the
    /// limit.
    pub(crate) fn keep(&self, more: u64) -> bool {
        if more > self.available() {
            self.is_overdrawn.store(true, Relaxed);
            return false;
        }
        self.texts.fetch_add(more, Relaxed);
        self.update_reservation();
        true
    }

    /// Records what the host keeps behind the guest's handles; returns false if it exceeds the limit.
    pub(crate) fn set_handles(&self, bytes: u64) -> bool {
        if self.handles.swap(bytes, Relaxed) != bytes {
            if self.used() > self.bytes_max {
                self.is_overdrawn.store(true, Relaxed);
                return false;
            }
            self.update_reservation();
        }
        true
    }

    /// Stops counting `bytes` that were kept.
    pub(crate) fn release(&self, bytes: u64) {
        self.texts.fetch_sub(bytes, Relaxed);
    }

    /// The host already holds these bytes, so a run that does not fit is evicted at the next opportunity.
    fn update_reservation(&self) {
        if self.reservation.grow_to(self.used()).is_err() {
            self.reservation.evict();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Budget;

    const MIB: u64 = 1 << 20;

    fn account(bytes_max: u64) -> Account {
        let budget = Arc::new(Budget::new(10 * MIB, Box::new(|| None)));
        Account::new(bytes_max, 0, Arc::new(budget.reserve(0, false)))
    }

    #[test]
    fn host_and_guest_memory_of_a_run_share_one_limit() {
        let account = account(1_000);
        assert!(account.grow(400).unwrap() && account.keep(300) && account.set_handles(200));
        assert_eq!((account.available(), account.reservation().used()), (100, 900));
        assert!(!account.grow(101).unwrap());
        assert!(account.has_refused() && !account.is_overdrawn());
        assert!(!account.keep(101) && account.is_overdrawn());
    }

    #[test]
    fn memory_behind_handles_is_released_with_them() {
        let account = account(1_000);
        assert!(account.set_handles(900) && account.set_handles(0));
        assert!(account.grow(1_000).unwrap());
        assert_eq!(account.reservation().used(), 1_000);
        assert!(!account.set_handles(1) && account.is_overdrawn());
    }

    #[test]
    fn an_input_counts_from_the_start() {
        let budget = Arc::new(Budget::new(10 * MIB, Box::new(|| None)));
        let account = Account::new(1_000, 600, Arc::new(budget.reserve(0, false)));
        assert!(!account.grow(500).unwrap() && account.grow(400).unwrap());
    }

    #[test]
    fn a_run_is_evicted_if_the_host_keeps_too_much_for_it() {
        let budget = Arc::new(Budget::new(10 * MIB, Box::new(|| None)));
        let account = Account::new(64 * MIB, 0, Arc::new(budget.reserve(0, false)));
        let neighbour = budget.reserve(MIB, false);
        assert!(account.set_handles(8 * MIB) && account.reservation().eviction().is_none());
        assert!(account.set_handles(12 * MIB), "its own limit is larger");
        assert!(account.reservation().eviction().is_some());
        drop(neighbour);
    }
}

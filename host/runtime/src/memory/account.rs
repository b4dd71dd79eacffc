//! What one guest uses of its memory limit: its memories and tables, and what the host keeps for it.
//!
//! Shared by `limiter`, by `guest`, which counts what handles keep, and by the answer of a program. One thread at a
//! time polls a guest, so the numbers need no order among each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::{Evicted, Hold};

/// The account of one guest.
#[derive(Debug)]
pub(crate) struct Account {
    bytes_max: u64,
    /// Bytes of memories and tables.
    own: AtomicU64,
    /// Bytes of texts that the host keeps: input, output and the like.
    texts: AtomicU64,
    /// Bytes that the host keeps for handles.
    handles: AtomicU64,
    has_refused: AtomicBool,
    is_overdrawn: AtomicBool,
    hold: Arc<Hold>,
}

impl Account {
    /// Opens the account of a guest, whose input takes so many bytes.
    pub(crate) fn new(bytes_max: u64, input_bytes: u64, hold: Arc<Hold>) -> Self {
        Self {
            bytes_max,
            own: AtomicU64::new(0),
            texts: AtomicU64::new(input_bytes),
            handles: AtomicU64::new(0),
            has_refused: AtomicBool::new(false),
            is_overdrawn: AtomicBool::new(false),
            hold,
        }
    }

    /// Returns the most that the guest may use.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Returns what the guest holds of the memory of all.
    pub(crate) fn hold(&self) -> &Hold {
        &self.hold
    }

    /// Returns true if the guest ever asked for more memory than there is for it.
    pub(crate) fn has_refused(&self) -> bool {
        self.has_refused.load(Relaxed)
    }

    /// Returns true if the host had to keep more for the guest than it may use.
    pub(crate) fn is_overdrawn(&self) -> bool {
        self.is_overdrawn.load(Relaxed)
    }

    /// Returns the bytes that are left.
    fn room(&self) -> u64 {
        self.bytes_max.saturating_sub(self.used())
    }

    fn used(&self) -> u64 {
        let kept = self.texts.load(Relaxed).saturating_add(self.handles.load(Relaxed));
        self.own.load(Relaxed).saturating_add(kept)
    }

    /// Counts what a memory or table is about to grow by; false if that is too much.
    ///
    /// # Errors
    ///
    /// Fails if there is no memory left for this run while others run.
    pub(crate) fn grow(&self, more: u64) -> Result<bool, Evicted> {
        if more > self.room() {
            self.has_refused.store(true, Relaxed);
            return Ok(false);
        }
        // Counted even if the host then has no memory for it, which only errs against the guest.
        self.hold.grow_to(self.used() + more)?;
        self.own.fetch_add(more, Relaxed);
        Ok(true)
    }

    /// Counts what the host is about to keep, until it is released or the run is over; false if that is too much.
    pub(crate) fn keep(&self, more: u64) -> bool {
        if more > self.room() {
            self.is_overdrawn.store(true, Relaxed);
            return false;
        }
        self.texts.fetch_add(more, Relaxed);
        self.tell_hold();
        true
    }

    /// Notes what the host keeps for the handles of the guest; false if that is too much.
    pub(crate) fn set_handles(&self, bytes: u64) -> bool {
        if self.handles.swap(bytes, Relaxed) != bytes {
            if self.used() > self.bytes_max {
                self.is_overdrawn.store(true, Relaxed);
                return false;
            }
            self.tell_hold();
        }
        true
    }

    /// Counts no longer what was kept.
    pub(crate) fn release(&self, bytes: u64) {
        self.texts.fetch_sub(bytes, Relaxed);
    }

    /// The host has these bytes already, so a run that finds no room for them gives way as soon as it can.
    fn tell_hold(&self) {
        if self.hold.grow_to(self.used()).is_err() {
            self.hold.evict();
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
        Account::new(bytes_max, 0, Arc::new(budget.hold(0, false)))
    }

    #[test]
    fn what_the_host_keeps_and_what_the_guest_has_share_one_limit() {
        let account = account(1_000);
        assert!(account.grow(400).unwrap() && account.keep(300) && account.set_handles(200));
        assert_eq!((account.room(), account.hold().used()), (100, 900));
        assert!(!account.grow(101).unwrap());
        assert!(account.has_refused() && !account.is_overdrawn());
        assert!(!account.keep(101) && account.is_overdrawn());
    }

    #[test]
    fn what_handles_keep_is_given_back_with_them() {
        let account = account(1_000);
        assert!(account.set_handles(900) && account.set_handles(0));
        assert!(account.grow(1_000).unwrap());
        assert_eq!(account.hold().used(), 1_000);
        assert!(!account.set_handles(1) && account.is_overdrawn());
    }

    #[test]
    fn an_input_counts_from_the_start() {
        let budget = Arc::new(Budget::new(10 * MIB, Box::new(|| None)));
        let account = Account::new(1_000, 600, Arc::new(budget.hold(0, false)));
        assert!(!account.grow(500).unwrap() && account.grow(400).unwrap());
    }

    #[test]
    fn a_run_for_which_the_host_keeps_more_than_there_is_gives_way() {
        let budget = Arc::new(Budget::new(10 * MIB, Box::new(|| None)));
        let account = Account::new(64 * MIB, 0, Arc::new(budget.hold(0, false)));
        let neighbour = budget.hold(MIB, false);
        assert!(account.set_handles(8 * MIB) && account.hold().must_give_way().is_none());
        assert!(account.set_handles(12 * MIB), "its own limit is larger");
        assert!(account.hold().must_give_way().is_some());
        drop(neighbour);
    }
}

//! The lease of a host: until when it may run guests. Kept by the backend, read by the scheduler before each turn of a
//! guest.
//!
//! The times are those since the machine started, which nobody can set and which include a suspend, so a host that was
//! stopped finds out by itself that others may have taken over its tasks.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use wasmill_model::boot_time;

/// The end of a lease that never ends.
const FOREVER: u64 = u64::MAX;

/// Until when a host may run guests. Cheap to clone; all clones are the same lease.
#[derive(Clone, Debug)]
pub struct Lease(Arc<LeaseState>);

#[derive(Debug)]
struct LeaseState {
    /// Which registration of the host this is. A host that others took for dead registers anew.
    term: AtomicI64,
    /// The end, in nanoseconds since the machine started.
    until: AtomicU64,
    /// How long earlier leases had run out before they were renewed, in nanoseconds.
    frozen: AtomicU64,
    /// Held while the lease is changed; the readers need no lock.
    changing: Mutex<()>,
    /// Notified when a lease that had run out is valid again, and when another term begins.
    changed: watch::Sender<()>,
}

impl Lease {
    /// Creates the lease of the only host of a database, which never ends.
    pub fn forever() -> Self {
        Self::new(FOREVER)
    }

    /// Creates a lease that is not valid before its first term.
    pub fn none() -> Self {
        Self::new(0)
    }

    fn new(until: u64) -> Self {
        Self(Arc::new(LeaseState {
            term: AtomicI64::new(0),
            until: AtomicU64::new(until),
            frozen: AtomicU64::new(0),
            changing: Mutex::default(),
            changed: watch::Sender::new(()),
        }))
    }

    /// Returns the current term.
    pub fn term(&self) -> i64 {
        self.0.term.load(Ordering::SeqCst)
    }

    /// Returns true if guests of this term may run now.
    pub fn is_valid(&self, term: i64) -> bool {
        // In this order: a new end is set after its term.
        let until = self.0.until.load(Ordering::SeqCst);
        self.term() == term && (until == FOREVER || nanos(boot_time()) < until)
    }

    /// Waits until guests of the current term may run.
    pub async fn wait_valid(&self) {
        let mut changed = self.0.changed.subscribe();
        while !self.is_valid(self.term()) {
            // The sender lives as long as `self`.
            let _ = changed.changed().await;
        }
    }

    /// Returns how long guests could not run so far, including a pause that still lasts.
    pub fn frozen(&self) -> Duration {
        let until = self.0.until.load(Ordering::SeqCst);
        let now = if until == FOREVER { 0 } else { nanos(boot_time()).saturating_sub(until) };
        Duration::from_nanos(self.0.frozen.load(Ordering::SeqCst) + now)
    }

    /// Returns how much longer guests may run, zero while they may not; `None` for a lease that never ends.
    pub fn remaining(&self) -> Option<Duration> {
        let until = self.0.until.load(Ordering::SeqCst);
        (until != FOREVER).then(|| Duration::from_nanos(until.saturating_sub(nanos(boot_time()))))
    }

    /// Subscribes to the moments at which a lease that had run out is valid again, or another term begins.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Extends the lease of this term until that time since the machine started.
    pub fn renew(&self, term: i64, until: Duration) {
        let _changing = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.term() != term {
            return;
        }
        let late = nanos(boot_time()).saturating_sub(self.0.until.load(Ordering::SeqCst));
        self.0.until.fetch_max(nanos(until), Ordering::SeqCst);
        if late > 0 {
            self.0.frozen.fetch_add(late, Ordering::SeqCst);
            self.0.changed.send_replace(());
        }
    }

    /// Ends the lease at once: what runs now may run elsewhere.
    pub fn end(&self) {
        let _changing = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.until.fetch_min(nanos(boot_time()), Ordering::SeqCst);
    }

    /// Begins another term: guests of the one before never run again.
    pub fn begin(&self, term: i64, until: Duration) {
        let _changing = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.until.store(0, Ordering::SeqCst);
        self.0.term.store(term, Ordering::SeqCst);
        self.0.until.store(nanos(until), Ordering::SeqCst);
        self.0.changed.send_replace(());
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(FOREVER - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_runs_out_and_is_valid_again_once_renewed() {
        let lease = Lease::none();
        assert!(!lease.is_valid(0));
        lease.begin(7, boot_time());
        assert!(!lease.is_valid(7), "it has run out");
        std::thread::sleep(Duration::from_millis(5));
        let frozen = lease.frozen();
        assert!(frozen >= Duration::from_millis(5));
        lease.renew(7, boot_time() + Duration::from_secs(60));
        assert!(lease.is_valid(7) && !lease.is_valid(0));
        assert!(lease.frozen() >= frozen, "the pause counts");
        assert!(lease.remaining().is_some_and(|remaining| remaining > Duration::from_secs(30)));
        lease.end();
        assert_eq!((lease.is_valid(7), lease.remaining()), (false, Some(Duration::ZERO)));
        assert_eq!(Lease::forever().remaining(), None);
    }

    #[test]
    fn guests_of_an_earlier_term_never_run_again() {
        let lease = Lease::none();
        let later = boot_time() + Duration::from_secs(60);
        lease.begin(1, later);
        lease.begin(2, later);
        assert!(!lease.is_valid(1) && lease.is_valid(2));
        lease.renew(1, later + later);
        assert!(!lease.is_valid(1) && lease.is_valid(2));
        assert!(Lease::forever().is_valid(0));
    }
}

//! What this host knows of the others, shared by the writer, the keeper of the lease and the operations.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use wasmill_store::{HeldSnapshot, Lease, OwnHost, SharedSettings, StopRequest};

use crate::cluster::hints::Hints;

/// How often an idle host looks for changes of the others, for each host, and the most.
const POLL_PER_HOST: Duration = Duration::from_millis(10);
const POLL_MAX: Duration = Duration::from_millis(500);

/// What this host knows of the others.
#[derive(Debug)]
pub(crate) struct Others {
    pub(crate) lease: Lease,
    pub(crate) own: OwnHost,
    /// What the others are told at once.
    pub(crate) hints: Hints,
    /// The least time between two looks of an idle host.
    poll_min: Duration,
    hosts: AtomicI64,
    is_on_duty: AtomicBool,
    snapshot: Mutex<Option<HeldSnapshot>>,
    /// For how many transactions somebody has held a snapshot, as of the last look.
    held_transactions: AtomicU64,
    /// From how many on claims note how far a queue has been claimed.
    floor_min: u64,
    /// Notified when this host is on duty, and was not before.
    pub(crate) duty: Notify,
    /// Notified when another host has written.
    pub(crate) wrote: Notify,
    stops: Mutex<Vec<StopRequest>>,
    stopping: Notify,
}

impl Others {
    pub(crate) fn new(settings: SharedSettings, poll_min: Duration, floor_min: u64) -> Self {
        Self {
            lease: Lease::none(),
            own: OwnHost::new(settings),
            hints: Hints::default(),
            poll_min,
            hosts: AtomicI64::new(1),
            is_on_duty: AtomicBool::new(false),
            snapshot: Mutex::default(),
            held_transactions: AtomicU64::new(0),
            floor_min,
            duty: Notify::new(),
            wrote: Notify::new(),
            stops: Mutex::default(),
            stopping: Notify::new(),
        }
    }

    /// Returns how many hosts are live, at least one.
    pub(crate) fn hosts(&self) -> i64 {
        self.hosts.load(Ordering::SeqCst).max(1)
    }

    pub(crate) fn set_hosts(&self, hosts: i64) {
        self.hosts.store(hosts, Ordering::SeqCst);
    }

    /// Returns true if this host is not the only one.
    pub(crate) fn is_any(&self) -> bool {
        self.hosts() > 1
    }

    /// Returns how long an idle host waits before it looks again.
    pub(crate) fn poll(&self) -> Duration {
        let poll = POLL_PER_HOST.saturating_mul(u32::try_from(self.hosts()).unwrap_or(u32::MAX));
        poll.min(POLL_MAX).max(self.poll_min)
    }

    pub(crate) fn is_on_duty(&self) -> bool {
        self.is_on_duty.load(Ordering::SeqCst)
    }

    pub(crate) fn set_on_duty(&self, is_on_duty: bool) {
        if is_on_duty && !self.is_on_duty.swap(is_on_duty, Ordering::SeqCst) {
            self.duty.notify_one();
        }
        self.is_on_duty.store(is_on_duty, Ordering::SeqCst);
    }

    /// Returns the oldest snapshot that somebody holds.
    pub(crate) fn snapshot(&self) -> Option<HeldSnapshot> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_snapshot(&self, snapshot: Option<HeldSnapshot>) {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    pub(crate) fn set_held_transactions(&self, transactions: u64) {
        self.held_transactions.store(transactions, Ordering::SeqCst);
    }

    /// Of how many claimed tasks one raises the floor of its queue; none unless somebody holds a snapshot.
    pub(crate) fn floor_every(&self) -> Option<i64> {
        let is_held = self.held_transactions.load(Ordering::SeqCst) >= self.floor_min;
        is_held.then(|| i64::try_from(self.floor_min).unwrap_or(i64::MAX).max(1))
    }

    pub(crate) fn set_stops(&self, stops: Vec<StopRequest>) {
        let is_empty = stops.is_empty();
        *self.stops.lock().unwrap_or_else(PoisonError::into_inner) = stops;
        if !is_empty {
            self.stopping.notify_one();
        }
    }

    pub(crate) async fn wait_for_stops(&self) -> Vec<StopRequest> {
        loop {
            self.stopping.notified().await;
            let stops = std::mem::take(&mut *self.stops.lock().unwrap_or_else(PoisonError::into_inner));
            if !stops.is_empty() {
                return stops;
            }
        }
    }
}

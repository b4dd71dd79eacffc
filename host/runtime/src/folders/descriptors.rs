//! The number of file descriptors that guests may hold together, so that enough are left for clients, the folder
//! watch and the database.
//!
//! Derived by the runtime from the limit of the process. Opening something for a guest takes a permit, which is
//! held as long as the descriptor is open.

use std::sync::Arc;

use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Descriptors reserved for the process itself: database, plugins, timers, standard streams.
pub const OWN_DESCRIPTORS: u64 = 256;
/// Clients that are served concurrently; further ones wait to be accepted.
pub const CLIENT_DESCRIPTORS: u64 = 10_000;
/// An upper bound; the limit of a process can be in the billions.
const GUESTS_MAX: u64 = 1 << 20;

/// Returns how many descriptors guests may hold in a process with this limit: what clients leave, or half if there
/// are too few for both.
pub fn guest_descriptors(limit: u64) -> u64 {
    let shared = limit.saturating_sub(OWN_DESCRIPTORS);
    shared.saturating_sub(CLIENT_DESCRIPTORS).max(shared / 2).min(GUESTS_MAX)
}

/// The descriptors shared by all guests.
#[derive(Clone, Debug)]
pub(crate) struct Descriptors {
    permits: Arc<Semaphore>,
    one_guest_max: usize,
}

/// A permit for one open descriptor.
#[derive(Debug)]
pub(crate) struct DescriptorPermit {
    _permit: OwnedSemaphorePermit,
}

impl Descriptors {
    /// Creates the pool for the limit of this process.
    pub(crate) fn of_process() -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::new(usize::try_from(guest_descriptors(limit)).unwrap_or(usize::MAX))
    }

    fn new(max: usize) -> Self {
        // A guest that opens as many as it can leaves some for the others.
        Self { permits: Arc::new(Semaphore::new(max)), one_guest_max: (max / 4).max(1) }
    }

    /// Returns how many one guest may hold.
    pub(crate) fn one_guest_max(&self) -> usize {
        self.one_guest_max
    }

    /// Takes a permit; `None` if guests hold all descriptors.
    pub(crate) fn take(&self) -> Option<DescriptorPermit> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(DescriptorPermit { _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_leave_descriptors_for_the_server_whatever_the_limit() {
        for limit in [0, 256, 512, 1_024, 4_096, 20_000, 1 << 20, u64::MAX] {
            let guests = guest_descriptors(limit);
            let left = limit - guests;
            assert!(left >= limit.min(OWN_DESCRIPTORS), "{limit}: {left} left");
            assert!(guests <= left || left >= OWN_DESCRIPTORS + CLIENT_DESCRIPTORS, "{limit}: {left} left");
        }
        assert_eq!(guest_descriptors(1_024), 384);
        assert_eq!(guest_descriptors(50_256), 40_000);
    }

    #[test]
    fn a_dropped_permit_is_available_again() {
        let descriptors = Descriptors::new(2);
        let (first, second) = (descriptors.take(), descriptors.take());
        assert!(first.is_some() && second.is_some() && descriptors.take().is_none());
        drop(first);
        assert!(descriptors.take().is_some());
    }
}

//! What a database does for the store. A new operation is named here, written once in each backend, and
//! called through [`Store`](crate::Store).

mod children;
mod cluster;
mod delivery;
mod files;
mod inbox;
mod plugins;
mod posted;
mod queue;
mod read;
mod schedule;
mod upkeep;

use std::fmt::Debug;

pub use children::Children;
pub use cluster::Cluster;
pub use delivery::Deliveries;
pub use files::Files;
pub use inbox::Inbox;
pub use plugins::SharedPlugins;
pub use posted::PostedEvents;
pub use queue::TaskQueue;
pub use read::TaskReads;
pub use schedule::Schedules;
pub use upkeep::Upkeep;

use crate::live::LiveRuns;

/// A database that keeps tasks.
///
/// Writes happen as a whole or not at all, also if their future is dropped. Times come from the caller. What
/// a write changed is published to the [live runs](Backend::live_runs) after its commit, in the order of
/// commits. The crate `wasmill-store-suite` tests all of it.
///
/// # Errors
///
/// Every method may fail with [`StoreError::Unavailable`](crate::StoreError::Unavailable), `Corrupt` or
/// `Closed`; later calls are tried all the same. A failed write changed nothing.
pub trait Backend:
    TaskQueue
    + PostedEvents
    + Children
    + TaskReads
    + Schedules
    + Deliveries
    + Files
    + Inbox
    + SharedPlugins
    + Upkeep
    + Cluster
    + Debug
    + Send
    + Sync
{
    /// Returns the runs and events of this host.
    fn live_runs(&self) -> &LiveRuns;
}

//! Several hosts on one database: who they are, who may run what, and what the others do.

use std::future::pending;

use wasmill_model::{TaskId, Timestamp};

use crate::{HeldSnapshot, Host, HostReport, Lease, StopRequest, StoreError};

/// Several hosts on one database. A database that only one host can open implements the required methods alone. See
/// [`Backend`](crate::Backend) for what holds for every method.
#[async_trait::async_trait]
pub trait Cluster {
    /// Returns until when this host may run guests.
    fn lease(&self) -> &Lease;

    /// Tells the other hosts about this one, with a delay.
    fn report(&self, report: HostReport);

    /// Returns all hosts, the one that registered first at the top.
    async fn hosts(&self) -> Result<Vec<Host>, StoreError>;

    /// Returns the secret that all hosts share under this name. Stores this one if there is none yet, or if the stored
    /// one is that which it replaces; durable on return. `None` if no other host can open the database, which then
    /// stores none.
    async fn share_secret(
        &self,
        _name: &'static str,
        _own: Vec<u8>,
        _replaced: Option<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    /// Publishes pending progress, at most 1,000 tasks per call. The caller decides how often.
    async fn publish_progress(&self, now: Timestamp);

    /// Returns true if this host does what one does for all: retention and webhooks. For a moment two may, or none.
    fn is_on_duty(&self) -> bool {
        true
    }

    /// Returns the oldest snapshot that somebody has held for a minute or more, as of the last seconds; `None` if this
    /// host is not on duty.
    fn held_snapshot(&self) -> Option<HeldSnapshot> {
        None
    }

    /// Resolves when this host is on duty since the last call.
    async fn wait_for_duty(&self) {
        pending::<()>().await;
    }

    /// Returns runs of this host that are to stop, once another host has changed something, or the end of their parent has
    /// cancelled them. Those that are stopping already may be among them.
    async fn wait_for_stops(&self) -> Vec<StopRequest>;

    /// Resolves when another host has changed something since the last call.
    async fn wait_for_others(&self) {
        pending::<()>().await;
    }

    /// Returns true if a task runs under this claim, at whichever host.
    async fn is_claimed(&self, _id: TaskId, _token: i64) -> Result<bool, StoreError> {
        Ok(false)
    }
}

//! The other hosts.

use async_trait::async_trait;
use wasmill_model::{TaskId, Timestamp};
use wasmill_store::{Cluster, HeldSnapshot, Host, HostReport, Lease, StopRequest, StoreError};

use crate::cluster::membership;
use crate::cluster::secret::{self, Share};
use crate::postgres::Postgres;
use crate::read::queries;
use crate::writer::events::PublishProgress;

#[async_trait]
impl Cluster for Postgres {
    fn lease(&self) -> &Lease {
        &self.others.lease
    }

    fn report(&self, report: HostReport) {
        self.others.own.set_report(report);
    }

    async fn hosts(&self) -> Result<Vec<Host>, StoreError> {
        let own = self.others.lease.term();
        self.readers.read(async move |connection| membership::hosts(&connection, own).await).await
    }

    async fn share_secret(
        &self,
        name: &'static str,
        own: Vec<u8>,
        replaced: Option<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let stored = self.readers.read(async move |connection| secret::find(&connection, name).await).await?;
        let is_agreed =
            stored.as_ref().is_some_and(|stored| *stored == own || replaced.as_ref() != Some(stored));
        if is_agreed {
            return Ok(stored);
        }
        self.writer.write(Share { name, own, replaced }).await
    }

    async fn publish_progress(&self, now: Timestamp) {
        let events = self.live_runs.take_progress(now);
        if events.is_empty() {
            return;
        }
        if self.others.is_any() {
            // Newer progress comes soon; the store has logged why this is lost.
            let _ = self.writer.write(PublishProgress { events }).await;
        } else {
            self.live_runs.event_bus.publish(events);
        }
    }

    fn is_on_duty(&self) -> bool {
        self.others.is_on_duty() || !self.others.is_any()
    }

    fn held_snapshot(&self) -> Option<HeldSnapshot> {
        self.others.snapshot()
    }

    async fn wait_for_duty(&self) {
        self.others.duty.notified().await;
    }

    async fn wait_for_stops(&self) -> Vec<StopRequest> {
        tokio::select! {
            stops = self.others.wait_for_stops() => stops,
            stops = self.live_runs.wait_for_stops() => stops,
        }
    }

    async fn wait_for_others(&self) {
        self.others.wrote.notified().await;
    }

    async fn is_claimed(&self, id: TaskId, token: i64) -> Result<bool, StoreError> {
        self.readers.read(async move |connection| queries::is_claimed(&connection, id, token).await).await
    }
}

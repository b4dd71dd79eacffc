//! The only host of the database.

use std::time::Duration;

use async_trait::async_trait;
use wasmill_model::Timestamp;
use wasmill_store::{Cluster, Host, HostReport, Inbox, Lease, SharedPlugins, StopRequest, StoreError};

use crate::sqlite::Sqlite;

/// Nobody else opens the database.
impl Inbox for Sqlite {}
impl SharedPlugins for Sqlite {}

#[async_trait]
impl Cluster for Sqlite {
    fn lease(&self) -> &Lease {
        &self.lease
    }

    fn report(&self, report: HostReport) {
        self.host.set_report(report);
    }

    async fn hosts(&self) -> Result<Vec<Host>, StoreError> {
        Ok(vec![Host {
            id: self.lease.term(),
            name: self.host.name.clone(),
            version: self.host.version.clone(),
            started_at: self.started_at,
            renewed: Duration::ZERO,
            is_live: true,
            is_self: true,
            is_on_duty: true,
            report: self.host.report(),
            settings: self.host.settings.clone(),
            plugins_version: 0,
        }])
    }

    async fn wait_for_stops(&self) -> Vec<StopRequest> {
        self.live_runs.wait_for_stops().await
    }

    async fn publish_progress(&self, now: Timestamp) {
        self.live_runs.event_bus.publish(self.live_runs.take_progress(now));
    }
}

//! Retention, health and the end of the store.

use async_trait::async_trait;
use wasmill_model::Timestamp;
use wasmill_store::{
    CommitStats, Excess, PruneCursor, PruneStep, Pruned, RetentionBounds, StoreError, StoreStats, Upkeep,
};

use crate::postgres::Postgres;
use crate::queue::idempotency::{self, PruneKeys};
use crate::retention::prune::{self, Prune};
use crate::writer::probe::Probe;

#[async_trait]
impl Upkeep for Postgres {
    async fn prune_keys(&self, now: Timestamp) -> Result<u64, StoreError> {
        // Usually nothing has expired: a read avoids a needless write.
        if !self.readers.read(async move |connection| idempotency::any_over(&connection, now).await).await? {
            return Ok(0);
        }
        self.writer.write(PruneKeys { now }).await
    }

    async fn excess(
        &self,
        keep: RetentionBounds,
        cursor: PruneCursor,
        tasks_max: usize,
    ) -> Result<Excess, StoreError> {
        // Counted before the scan: tasks that finish in between are found by the next one.
        let stored = self.stats.plugin_counts().stored();
        self.stats.note_kept(keep.tasks_max);
        self.readers
            .read(async move |connection| prune::excess(&connection, &keep, cursor, stored, tasks_max).await)
            .await
    }

    async fn prune(&self, step: PruneStep) -> Result<Pruned, StoreError> {
        self.writer.write(Prune { step }).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.writer.write(Probe).await
    }

    fn stats(&self) -> StoreStats {
        self.stats.stats()
    }

    fn commit_stats(&self) -> CommitStats {
        self.stats.commit_stats()
    }

    async fn closed(&self) {
        self.writer.closed().await;
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

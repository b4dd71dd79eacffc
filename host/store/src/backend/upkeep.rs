//! Retention, health and the end of a store.

use wasmill_model::Timestamp;

use crate::{CommitStats, Excess, PruneCursor, PruneStep, Pruned, RetentionBounds, StoreError, StoreStats};

/// Retention, health and the end of a store. See [`Backend`](crate::Backend) for what holds for every method.
#[async_trait::async_trait]
pub trait Upkeep {
    /// Removes idempotency keys older than 24 hours, as many as fit into one short transaction; returns how
    /// many, 0 if none are left.
    async fn prune_keys(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Scans finished tasks, oldest first, until it has found about `tasks_max` tasks beyond the bounds, or
    /// for a bounded time. Does not wait for writes.
    ///
    /// Skips tasks whose result a dependent still needs and tasks kept by a pending delivery; both count as
    /// stored.
    async fn excess(
        &self,
        keep: RetentionBounds,
        cursor: PruneCursor,
        tasks_max: usize,
    ) -> Result<Excess, StoreError>;

    /// Removes these tasks, except those that are needed since they were found.
    ///
    /// Not durable: after a power cut, what came back is pruned again.
    async fn prune(&self, step: PruneStep) -> Result<Pruned, StoreError>;

    /// Checks that the database is writable, by a small durable write.
    async fn probe(&self) -> Result<(), StoreError>;

    /// Returns write statistics since the store was opened.
    fn stats(&self) -> StoreStats;

    /// Returns the distribution of commits since the store was opened; cheap.
    fn commit_stats(&self) -> CommitStats;

    /// Resolves when the store accepts no more writes: it is being closed, or its writer has died.
    async fn closed(&self);

    /// Finishes queued writes and releases the data folder. Later calls on any clone fail with
    /// [`StoreError::Closed`].
    ///
    /// Dropping the last clone does the same but blocks the thread.
    async fn close(&self);
}

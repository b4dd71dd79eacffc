//! Cancels every task that matches a filter, in batches that let other writes through.
//!
//! Called by the API through [`Scheduler`].

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use wasmill_store::{Filter, Stopping, StoreError, TaskRef};

use crate::scheduler::{Scheduler, run_detached};
use crate::shared::Shared;

/// Maximum tasks cancelled in one write: a few milliseconds during which other writes wait.
const BATCH_MAX: usize = 500;

impl Scheduler {
    /// Cancels every unfinished task that matches, and returns how many this call cancelled; tasks that finish on
    /// their own meanwhile are not counted. Each task gets the guarantees of [`Scheduler::cancel_within`]; all share
    /// one grace period.
    ///
    /// # Errors
    ///
    /// Fails if the store does. Some tasks may already be cancelled; none of their guests still runs.
    pub async fn cancel_many(&self, filter: Filter, grace: Duration) -> Result<u64, StoreError> {
        let shared = Arc::clone(&self.shared);
        run_detached(async move {
            let found = shared.store.find_open(filter.clone()).await?;
            let mut stops = JoinSet::new();
            let cancelled = cancel_in_batches(&shared, &found, &filter, grace, &mut stops).await;
            // Also after a failure: a task whose cancellation is stored must not keep running.
            let stopped: Result<Vec<()>, StoreError> = stops.join_all().await.into_iter().collect();
            cancelled.and_then(|cancelled| stopped.map(|_| cancelled))
        })
        .await
    }
}

async fn cancel_in_batches(
    shared: &Arc<Shared>,
    found: &[TaskRef],
    filter: &Filter,
    grace: Duration,
    stops: &mut JoinSet<Result<(), StoreError>>,
) -> Result<u64, StoreError> {
    let mut cancelled = 0;
    for batch in found.chunks(BATCH_MAX) {
        let cancelled_batch =
            shared.store.cancel_many(batch.to_vec(), filter.clone(), grace, shared.clock.now()).await?;
        cancelled += cancelled_batch.waiting;
        for Stopping { id, token, was_requested } in cancelled_batch.running {
            // The first request to stop a task has already counted it.
            cancelled += u64::from(!was_requested);
            let shared = Arc::clone(shared);
            stops.spawn(async move { shared.stop_within(id, Some(token), grace).await });
        }
    }
    Ok(cancelled)
}

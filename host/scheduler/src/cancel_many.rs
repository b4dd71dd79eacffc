//! Cancels all tasks that fit a filter, in steps that let other writes through.
//!
//! The API calls it through [`Scheduler`].

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use wasmill_store::{Filter, Found, Stopping, StoreError};

use crate::scheduler::{Scheduler, Shared, carry_out};

/// The most tasks cancelled in one write of the store: a few milliseconds that others wait for.
const STEP: usize = 500;

impl Scheduler {
    /// Cancels every task that waits or runs now and fits, and returns how many it cancelled itself:
    /// those that end meanwhile are not counted. Promises for each what
    /// [`Scheduler::cancel_within`] does; all have the same grace at the same time.
    ///
    /// # Errors
    ///
    /// Fails if the store does; some tasks may be cancelled by then, and no guest of those runs.
    pub async fn cancel_many(&self, filter: Filter, grace: Duration) -> Result<u64, StoreError> {
        let shared = Arc::clone(&self.shared);
        carry_out(async move {
            let found = shared.store.find_open(filter.clone()).await?;
            let mut stops = JoinSet::new();
            let cancelled = cancel_in_steps(&shared, &found, &filter, grace, &mut stops).await;
            // Also after a failure: what was asked to stop must not run on.
            let stopped: Result<Vec<()>, StoreError> = stops.join_all().await.into_iter().collect();
            cancelled.and_then(|cancelled| stopped.map(|_| cancelled))
        })
        .await
    }
}

async fn cancel_in_steps(
    shared: &Arc<Shared>,
    found: &[Found],
    filter: &Filter,
    grace: Duration,
    stops: &mut JoinSet<Result<(), StoreError>>,
) -> Result<u64, StoreError> {
    let mut cancelled = 0;
    for step in found.chunks(STEP) {
        let done = shared.store.cancel_many(step.to_vec(), filter.clone(), shared.clock.now()).await?;
        cancelled += done.waiting;
        for Stopping { id, token, was_requested } in done.running {
            // Whoever asked first has counted it.
            cancelled += u64::from(!was_requested);
            let shared = Arc::clone(shared);
            stops.spawn(async move { shared.stop_within(id, Some(token), grace).await });
        }
    }
    Ok(cancelled)
}

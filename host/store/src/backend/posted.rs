//! Events that somebody posts to a task.

use wasmill_model::{NewEvent, PostedEvent, Timestamp};

use crate::{Claim, IdempotencyKey, PostOutcome, StoreError};

/// Events that somebody posts to a task, kept until a run has taken them for good. See [`Backend`](crate::Backend) for what
/// holds for every method.
#[async_trait::async_trait]
pub trait PostedEvents {
    /// Stores an event for an unfinished task; durable on return. If the task is suspended until an event, it is available
    /// on return. A request with an idempotency key used in the last 24 hours stores nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::KeyReused`] if the idempotency key belongs to another request.
    async fn post_event(
        &self,
        event: NewEvent,
        request: Option<IdempotencyKey>,
        now: Timestamp,
    ) -> Result<PostOutcome, StoreError>;

    /// Returns the oldest event of the task that this run has not [taken](Claim::take_events); `None` if there is none, or
    /// the claim was revoked.
    ///
    /// What a run has taken is gone once it has saved a checkpoint or a transition after that; otherwise the next run gets it
    /// again.
    async fn next_event(&self, claim: &Claim) -> Result<Option<PostedEvent>, StoreError>;
}

//! Webhook deliveries and their attempts.

use wasmill_model::{TaskId, Timestamp};

use crate::{
    AttemptOutcome, Delivery, DeliveryAttempt, DeliveryBacklog, DueDeliveries, DueQuery, Redelivery,
    StoreError, WebhookStatus,
};

/// Webhook deliveries and their attempts. See [`Backend`](crate::Backend) for what holds for every method.
#[async_trait::async_trait]
pub trait Deliveries {
    /// Returns due deliveries, origin by origin. A delivery in flight is among them: it is due until its
    /// attempt is [recorded](Deliveries::record_attempt).
    async fn due_deliveries(&self, query: DueQuery) -> Result<DueDeliveries, StoreError>;

    /// Resolves on a hint that a delivery became due. Hints may be lost.
    async fn wait_for_delivery(&self);

    /// Records a delivery attempt and its outcome. Returns false, and records nothing, if the task is gone or
    /// the delivery was restarted since.
    ///
    /// Not durable: after a power cut the receiver may get the delivery again.
    async fn record_attempt(
        &self,
        delivery: &Delivery,
        tried: DeliveryAttempt,
        after: AttemptOutcome,
    ) -> Result<bool, StoreError>;

    /// Returns the webhook of a task: `None` if the task does not exist, `Some(None)` if it has no webhook.
    async fn webhook(&self, task: TaskId) -> Result<Option<Option<WebhookStatus>>, StoreError>;

    /// Makes the delivery of a finished task due again, whether it was delivered or given up; durable on
    /// return.
    async fn redeliver(&self, task: TaskId, now: Timestamp) -> Result<Redelivery, StoreError>;

    /// Returns how many deliveries are pending and since when the oldest is.
    async fn delivery_backlog(&self) -> Result<DeliveryBacklog, StoreError>;
}

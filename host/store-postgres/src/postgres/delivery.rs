//! The operations of deliveries.

use async_trait::async_trait;
use wasmill_model::{TaskId, Timestamp};
use wasmill_store::{
    AttemptOutcome, Deliveries, Delivery, DeliveryAttempt, DeliveryBacklog, DueDeliveries, DueQuery,
    Redelivery, StoreError, WebhookStatus,
};

use crate::delivery::deliveries::{self, Redeliver, Tried};
use crate::postgres::Postgres;

#[async_trait]
impl Deliveries for Postgres {
    async fn due_deliveries(&self, query: DueQuery) -> Result<DueDeliveries, StoreError> {
        self.readers.read(async move |connection| deliveries::due(&connection, &query).await).await
    }

    async fn wait_for_delivery(&self) {
        self.stats.wait_for_delivery.notified().await;
    }

    async fn record_attempt(
        &self,
        delivery: &Delivery,
        tried: DeliveryAttempt,
        after: AttemptOutcome,
    ) -> Result<bool, StoreError> {
        self.writer.write(Tried { delivery: delivery.clone(), tried, after }).await
    }

    async fn webhook(&self, task: TaskId) -> Result<Option<Option<WebhookStatus>>, StoreError> {
        self.readers.read(async move |connection| deliveries::log(&connection, task).await).await
    }

    async fn redeliver(&self, task: TaskId, now: Timestamp) -> Result<Redelivery, StoreError> {
        self.writer.write(Redeliver { task, now }).await
    }

    async fn delivery_backlog(&self) -> Result<DeliveryBacklog, StoreError> {
        self.readers.read(async move |connection| deliveries::backlog(&connection).await).await
    }
}

//! The operations of posted events.

use async_trait::async_trait;
use wasmill_model::{NewEvent, PostedEvent, Timestamp};
use wasmill_store::{Claim, IdempotencyKey, PostOutcome, PostedEvents, StoreError};

use crate::postgres::Postgres;
use crate::queue::post_event::{self, PostEvent};

#[async_trait]
impl PostedEvents for Postgres {
    async fn post_event(
        &self,
        event: NewEvent,
        request: Option<IdempotencyKey>,
        now: Timestamp,
    ) -> Result<PostOutcome, StoreError> {
        self.writer.write(PostEvent { event, request, now }).await?
    }

    async fn next_event(&self, claim: &Claim) -> Result<Option<PostedEvent>, StoreError> {
        let claim = claim.clone();
        self.readers.read(async move |connection| post_event::next(&connection, &claim).await).await
    }
}

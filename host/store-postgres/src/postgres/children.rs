//! The operations of children.

use async_trait::async_trait;
use wasmill_model::{Child, ChildBounds, NewTask};
use wasmill_store::{Children, ChildrenOutcome, Claim, StoreError};

use crate::dependency::children;
use crate::postgres::Postgres;
use crate::queue::submit_children::SubmitChildren;

#[async_trait]
impl Children for Postgres {
    async fn submit_children(
        &self,
        claim: &Claim,
        children: Vec<NewTask>,
        bounds: ChildBounds,
    ) -> Result<ChildrenOutcome, StoreError> {
        let (claim, waiting_max) = (claim.clone(), self.waiting_max);
        self.writer.write(SubmitChildren { claim, children, bounds, waiting_max }).await?
    }

    async fn children(&self, claim: &Claim, start: u64) -> Result<Vec<Child>, StoreError> {
        let claim = claim.clone();
        self.readers.read(async move |connection| children::read(&connection, &claim, start).await).await
    }
}

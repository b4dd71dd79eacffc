//! The operations of children.

use async_trait::async_trait;
use wasmill_model::{Child, ChildBounds, NewTask};
use wasmill_store::{Children, ChildrenOutcome, Claim, StoreError};

use crate::dependency::children;
use crate::queue::submit_children::SubmitChildren;
use crate::sqlite::Sqlite;

#[async_trait]
impl Children for Sqlite {
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
        self.readers.read(move |connection| children::read(connection, &claim, start)).await
    }
}

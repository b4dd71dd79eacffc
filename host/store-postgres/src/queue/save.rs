//! Stores the checkpoint of a running task, if the claim still holds, and deletes that of a finished one,
//! with the events that nobody will take.

use async_trait::async_trait;
use wasmill_store::Claim;
use wasmill_store::commit::large;

use crate::connection::fault::Result;
use crate::queue::post_event;
use crate::read::rows::{host, seq, uuid};
use crate::writer::batch::{Batch, Operation};

const SAVE: &str = "
    INSERT INTO checkpoint (seq, body)
    SELECT seq, $4 FROM task WHERE seq = $1 AND id = $2 AND claim_token = $3 AND host = $5 AND state = 'running'
    ON CONFLICT (seq) DO UPDATE SET body = excluded.body";
const DROP_CHECKPOINT: &str = "
    WITH events AS (DELETE FROM posted_event WHERE seq = $1)
    DELETE FROM checkpoint WHERE seq = $1";

#[derive(Debug)]
pub(crate) struct Save {
    pub(crate) claim: Claim,
    pub(crate) state: Vec<u8>,
}

#[async_trait]
impl Operation for Save {
    type Answer = bool;
    const DURABLE: bool = true;

    fn cost(&self) -> u64 {
        1 + large(self.state.len())
    }

    async fn run(&self, batch: &mut Batch<'_>) -> Result<bool> {
        save(batch, &self.claim, &self.state).await
    }
}

/// Replaces the checkpoint, which knows of the events that the run has taken; false if the claim was revoked.
pub(crate) async fn save(batch: &Batch<'_>, claim: &Claim, state: &[u8]) -> Result<bool> {
    let rows = batch
        .connection
        .execute(
            SAVE,
            &[&seq(claim.task_ref()), &uuid(claim.id), &claim.token(), &state, &host(claim.task_ref())],
        )
        .await?;
    let is_saved = rows == 1;
    if is_saved {
        post_event::drop_taken(batch, claim).await?;
    }
    Ok(is_saved)
}

/// Deletes the checkpoint and the posted events of a finished task, if it has any.
pub(crate) async fn drop_checkpoint(batch: &Batch<'_>, seq: i64) -> Result<()> {
    batch.connection.execute(DROP_CHECKPOINT, &[&seq]).await?;
    Ok(())
}

//! Stores the checkpoint of a running task, if the claim still holds, and deletes that of a finished one.

use rusqlite::params;
use wasmill_store::Claim;

use crate::queue::post_event;
use crate::read::rows::seq;
use crate::writer::batch::{Batch, Operation, large};

pub(crate) const SAVE: &str = "
    INSERT INTO checkpoint (seq, body)
    SELECT seq, ?4 FROM task WHERE seq = ?1 AND id = ?2 AND claim_token = ?3 AND state = 'running'
    ON CONFLICT (seq) DO UPDATE SET body = excluded.body";
pub(crate) const DROP_CHECKPOINT: &str = "DELETE FROM checkpoint WHERE seq = ?1";

#[derive(Debug)]
pub(crate) struct Save {
    pub(crate) claim: Claim,
    pub(crate) state: Vec<u8>,
}

impl Operation for Save {
    type Answer = bool;
    const DURABLE: bool = true;

    fn cost(&self) -> u64 {
        1 + large(self.state.len())
    }

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<bool> {
        save(batch, &self.claim, &self.state)
    }
}

/// Replaces the checkpoint, which knows of the events that the run has taken; false if the claim was revoked.
pub(crate) fn save(batch: &Batch<'_>, claim: &Claim, state: &[u8]) -> rusqlite::Result<bool> {
    let mut statement = batch.connection.prepare_cached(SAVE)?;
    let values = params![seq(claim.task_ref()), claim.id.as_bytes(), claim.token(), state];
    let is_saved = statement.execute(values)? == 1;
    if is_saved {
        post_event::drop_taken(batch, claim)?;
    }
    Ok(is_saved)
}

/// Deletes the checkpoint of a finished task, if it has one.
pub(crate) fn drop_checkpoint(batch: &Batch<'_>, seq: i64) -> rusqlite::Result<()> {
    batch.connection.prepare_cached(DROP_CHECKPOINT)?.execute([seq])?;
    Ok(())
}

//! Stores the checkpoint of a running task, if the claim still holds, and deletes what a finished one needs no more.

use rusqlite::params;
use wasmill_store::Claim;

use crate::queue::post_event::{self, DROP_ALL};
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
pub(crate) fn save(batch: &mut Batch<'_>, claim: &Claim, state: &[u8]) -> rusqlite::Result<bool> {
    let mut statement = batch.connection.prepare_cached(SAVE)?;
    let values = params![seq(claim.task_ref()), claim.id.as_bytes(), claim.token(), state];
    let is_saved = statement.execute(values)? == 1;
    if is_saved {
        batch.writer_state.has_leftovers = true;
        post_event::drop_taken(batch, claim)?;
    }
    Ok(is_saved)
}

/// Deletes the checkpoint and the posted events of a finished task, if it has any. Not by a trigger: that costs every
/// task a frame, and SQLite a load of all columns.
pub(crate) fn drop_leftovers(batch: &Batch<'_>, seq: i64) -> rusqlite::Result<()> {
    if batch.writer_state.has_leftovers {
        batch.connection.prepare_cached(DROP_CHECKPOINT)?.execute([seq])?;
        batch.connection.prepare_cached(DROP_ALL)?.execute([seq])?;
    }
    Ok(())
}

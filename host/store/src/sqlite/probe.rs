//! A write without changes, to check that the database is writable.

use super::batch::{Batch, Operation};
use super::migrations::VERSION;

#[derive(Debug)]
pub(super) struct Probe;

impl Operation for Probe {
    type Answer = ();
    const DURABLE: bool = true;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        // This writes the first page even if the number stays the same.
        batch.connection.pragma_update(None, "user_version", VERSION)
    }
}

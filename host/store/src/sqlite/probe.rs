//! Writes what is there already, to see that it can be written.

use super::batch::{Batch, Operation};
use super::migrations::VERSION;

#[derive(Debug)]
pub(super) struct Probe;

impl Operation for Probe {
    type Answer = ();
    const DURABLE: bool = true;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        // The first page is written also when the number in it stays the same.
        batch.connection.pragma_update(None, "user_version", VERSION)
    }
}

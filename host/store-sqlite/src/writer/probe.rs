//! A write without changes, to check that the database is writable.

use crate::file::migrations::VERSION;
use crate::writer::batch::{Batch, Operation};

#[derive(Debug)]
pub(crate) struct Probe;

impl Operation for Probe {
    type Answer = ();
    const DURABLE: bool = true;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        // This writes the first page even if the number stays the same.
        batch.connection.pragma_update(None, "user_version", VERSION)
    }
}

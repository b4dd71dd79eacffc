//! Checks that the database can be written.

use async_trait::async_trait;

use crate::connection::fault::Result;
use crate::writer::batch::{Batch, Operation};

const PROBE: &str = "UPDATE cluster SET latest = latest WHERE id = 0";

/// A small durable write.
#[derive(Debug)]
pub(crate) struct Probe;

#[async_trait]
impl Operation for Probe {
    type Answer = ();
    const DURABLE: bool = true;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<()> {
        batch.connection.execute(PROBE, &[]).await?;
        Ok(())
    }
}

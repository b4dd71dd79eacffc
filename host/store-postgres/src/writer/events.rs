//! Reserves event numbers, so that no two hosts assign the same.

use crate::connection::fault::Result;
use crate::writer::batch::Batch;

/// Numbers reserved per start.
const BLOCK: i64 = 1 << 32;

const RESERVED: &str = "SELECT events_reserved FROM host WHERE id = 0";
const RESERVE: &str = "UPDATE host SET events_reserved = $1 WHERE id = 0";

/// Returns the first number that a host may assign after reserving up to this one.
pub(crate) fn first(events_reserved: i64) -> u64 {
    (events_reserved - BLOCK).unsigned_abs()
}

/// Reserves the numbers of a starting host.
pub(crate) async fn begin(batch: &mut Batch<'_>) -> Result<()> {
    batch.writer_state.events_reserved = batch.connection.one(RESERVED, &[]).await?.get(0);
    extend(batch).await
}

/// Reserves more when half of them are used.
pub(crate) async fn reserve(batch: &mut Batch<'_>) -> Result<()> {
    let next = i64::try_from(batch.live_runs.event_bus.next()).unwrap_or(i64::MAX);
    if batch.writer_state.events_reserved - next > BLOCK / 2 { Ok(()) } else { extend(batch).await }
}

async fn extend(batch: &mut Batch<'_>) -> Result<()> {
    batch.writer_state.events_reserved += BLOCK;
    batch.connection.execute(RESERVE, &[&batch.writer_state.events_reserved]).await?;
    Ok(())
}

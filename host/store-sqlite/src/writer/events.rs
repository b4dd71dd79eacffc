//! Reserves event numbers, so that no two hosts assign the same.

use crate::writer::batch::Batch;

/// Numbers reserved per start. At 100,000 events a second they last half a day; numbers stay exact in JSON
/// for two million starts.
const BLOCK: i64 = 1 << 32;

pub(crate) const RESERVED: &str = "SELECT events_reserved FROM host WHERE id = 0";
pub(crate) const RESERVE: &str = "UPDATE host SET events_reserved = ?1 WHERE id = 0";

/// Returns the first number that a host may assign after reserving up to this one.
pub(crate) fn first(events_reserved: i64) -> u64 {
    (events_reserved - BLOCK).unsigned_abs()
}

/// Reserves the numbers of a starting host.
pub(crate) fn begin(batch: &mut Batch<'_>) -> rusqlite::Result<()> {
    batch.writer_state.events_reserved = batch.connection.query_one(RESERVED, [], |row| row.get(0))?;
    extend(batch)
}

/// Reserves more when half of them are used.
pub(crate) fn reserve(batch: &mut Batch<'_>) -> rusqlite::Result<()> {
    let next = i64::try_from(batch.live_runs.event_bus.next()).unwrap_or(i64::MAX);
    if batch.writer_state.events_reserved - next > BLOCK / 2 { Ok(()) } else { extend(batch) }
}

fn extend(batch: &mut Batch<'_>) -> rusqlite::Result<()> {
    batch.writer_state.events_reserved += BLOCK;
    batch.connection.prepare_cached(RESERVE)?.execute([batch.writer_state.events_reserved])?;
    Ok(())
}

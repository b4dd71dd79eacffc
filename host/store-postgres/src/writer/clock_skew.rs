//! Waiting tasks when the system clock goes back.
//!
//! No delay, backoff or suspension may become longer than requested, counted from the moment the skew is detected. A
//! task scheduled for a calendar time waits for that time.

use wasmill_store::commit::WriterState;

use crate::connection::database::{Connection, Write};
use crate::connection::fault::Result;

/// Skew below this is ordinary jitter.
pub(crate) const JUMP_NANOS: i64 = 1_000_000_000;

const SHORTEN: &str = "
    UPDATE task SET sort_key = sort_key + $1::bigint + wait_ns - ready_at, ready_at = $1 + wait_ns
    WHERE state IN ('scheduled', 'suspended') AND ready_at > $1 AND wait_ns IS NOT NULL
        AND ready_at > $1 + wait_ns";
const LATEST: &str = "SELECT latest FROM cluster WHERE id = 0";
const STORE_LATEST: &str = "UPDATE cluster SET latest = $1 WHERE id = 0";

/// Shortens waits on open if the clock went back since the last run; returns how many.
pub(crate) async fn open(connection: &Connection, writer_state: &mut WriterState, now: i64) -> Result<u64> {
    let latest: i64 = connection.one(LATEST, &[]).await?.get(0);
    let mut shortened = 0;
    if latest.saturating_sub(now) > JUMP_NANOS {
        shortened = shorten_waits(connection, now).await?;
    }
    writer_state.latest = now;
    writer_state.latest_stored = now;
    connection.execute(STORE_LATEST, &[&now]).await?;
    Ok(shortened)
}

/// Stores the latest observed time, once a second.
pub(crate) fn store_latest(writer_state: &mut WriterState) -> Option<Write<'static>> {
    if writer_state.latest - writer_state.latest_stored < JUMP_NANOS {
        return None;
    }
    writer_state.latest_stored = writer_state.latest;
    Some(Write { sql: STORE_LATEST, values: vec![Box::new(writer_state.latest)] })
}

/// Shortens waits that have become too long; returns how many.
pub(crate) async fn shorten_waits(connection: &Connection, now: i64) -> Result<u64> {
    connection.execute(SHORTEN, &[&now]).await
}

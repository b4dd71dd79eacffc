//! Waiting tasks when the system clock goes back.
//!
//! No delay, backoff or suspension may become longer than requested, counted from the moment the skew is detected. A
//! task scheduled for a calendar time waits for that time.

use rusqlite::Connection;
use wasmill_store::commit::WriterState;

/// Skew below this is ordinary jitter.
pub(crate) const JUMP_NANOS: i64 = 1_000_000_000;

pub(crate) const SHORTEN: &str = "
    UPDATE task INDEXED BY task_due SET sort_key = sort_key + ?1 + wait_ns - ready_at, ready_at = ?1 + wait_ns
    WHERE (state = 'scheduled' OR state = 'suspended') AND ready_at > ?1 AND wait_ns IS NOT NULL
        AND ready_at > ?1 + wait_ns";

pub(crate) const LATEST: &str = "SELECT latest FROM host WHERE id = 0";
pub(crate) const STORE_LATEST: &str = "UPDATE host SET latest = ?1 WHERE id = 0";

/// Shortens waits on open if the clock went back since the last run; returns how many. Scans all scheduled
/// and suspended tasks, seconds for a million.
pub(crate) fn open(
    connection: &Connection,
    writer_state: &mut WriterState,
    now: i64,
) -> rusqlite::Result<usize> {
    let latest: i64 = connection.prepare_cached(LATEST)?.query_one([], |row| row.get(0))?;
    let mut shortened = 0;
    if latest.saturating_sub(now) > JUMP_NANOS {
        shortened = shorten_waits(connection, now)?;
    }
    writer_state.latest = now;
    writer_state.latest_stored = writer_state.latest;
    connection.prepare_cached(STORE_LATEST)?.execute([writer_state.latest])?;
    Ok(shortened)
}

/// Stores the latest observed time, once a second.
pub(crate) fn store_latest(connection: &Connection, writer_state: &mut WriterState) -> rusqlite::Result<()> {
    if writer_state.latest - writer_state.latest_stored >= JUMP_NANOS {
        connection.prepare_cached(STORE_LATEST)?.execute([writer_state.latest])?;
        writer_state.latest_stored = writer_state.latest;
    }
    Ok(())
}

/// Shortens waits that have become too long; returns how many.
pub(crate) fn shorten_waits(connection: &Connection, now: i64) -> rusqlite::Result<usize> {
    connection.prepare_cached(SHORTEN)?.execute([now])
}

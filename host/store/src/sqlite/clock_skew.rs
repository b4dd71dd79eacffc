//! Waiting tasks when the system clock goes back.
//!
//! A task that is available at once has `ready_at = created_at`. If the clock was ahead when it was accepted,
//! it must not wait until the clock catches up; neither must a task that a dependency released. No delay,
//! backoff or suspension may become longer than requested, counted from the moment the skew is detected. A
//! task scheduled for a calendar time waits for that time.

use rusqlite::Connection;

use super::batch::WriterState;

/// Skew below this is ordinary jitter.
pub(super) const JUMP_NANOS: i64 = 1_000_000_000;

pub(super) const NEWEST_READY: &str = "
    SELECT coalesce(max(created_at), 0) FROM task INDEXED BY task_waiting
    WHERE state = 0 AND ready_at > ?1 AND ready_at = created_at";
pub(super) const SHORTEN: &str = "
    UPDATE task INDEXED BY task_waiting SET ready_at = ?1 + wait_ns
    WHERE state = 0 AND ready_at > ?1 AND wait_ns IS NOT NULL AND ready_at > ?1 + wait_ns";

/// A released task became available when its last dependency finished, at a time that is now ahead.
pub(super) const SHORTEN_RELEASED: &str = "
    UPDATE task INDEXED BY task_waiting
    SET ready_at = max(?1, coalesce((SELECT run_at FROM dependant WHERE dependant.seq = task.seq), 0))
    WHERE state = 0 AND ready_at > ?1 AND waits_for = 0 AND attempt = 0
        AND ready_at > coalesce((SELECT run_at FROM dependant WHERE dependant.seq = task.seq), 0)";

pub(super) const LATEST: &str = "SELECT latest FROM host WHERE id = 0";
pub(super) const STORE_LATEST: &str = "UPDATE host SET latest = ?1 WHERE id = 0";

/// Shortens waits on open if the clock went back since the last run; returns how many. Scans all scheduled
/// and suspended tasks, seconds for a million.
pub(super) fn open(
    connection: &Connection,
    writer_state: &mut WriterState,
    now: i64,
) -> rusqlite::Result<usize> {
    let latest: i64 = connection.prepare_cached(LATEST)?.query_one([], |row| row.get(0))?;
    let mut shortened = 0;
    if latest > now {
        writer_state.newest_ready = newest_ready(connection, now)?;
    }
    // An unknown last time counts as a clock that went back.
    if latest.saturating_sub(now) > JUMP_NANOS {
        shortened = shorten_waits(connection, now)?;
    }
    writer_state.latest = writer_state.newest_ready.max(now);
    writer_state.latest_stored = writer_state.latest;
    connection.prepare_cached(STORE_LATEST)?.execute([writer_state.latest])?;
    Ok(shortened)
}

/// Stores the latest observed time, once a second.
pub(super) fn store_latest(connection: &Connection, writer_state: &mut WriterState) -> rusqlite::Result<()> {
    if writer_state.latest - writer_state.latest_stored >= JUMP_NANOS {
        connection.prepare_cached(STORE_LATEST)?.execute([writer_state.latest])?;
        writer_state.latest_stored = writer_state.latest;
    }
    Ok(())
}

/// Returns the latest future `created_at` of a task that is available at once, or 0.
fn newest_ready(connection: &Connection, now: i64) -> rusqlite::Result<i64> {
    connection.prepare_cached(NEWEST_READY)?.query_one([now], |row| row.get(0))
}

/// Shortens waits that have become too long; returns how many.
pub(super) fn shorten_waits(connection: &Connection, now: i64) -> rusqlite::Result<usize> {
    let again = connection.prepare_cached(SHORTEN_RELEASED)?.execute([now])?;
    Ok(again + connection.prepare_cached(SHORTEN)?.execute([now])?)
}

//! What becomes of waiting tasks when the clock of the machine goes back.
//!
//! A task that is ready at once has `ready_at = created_at`. If the clock was ahead when it was accepted,
//! it must not wait until the clock is there again; nor must one that became ready when another task ended.
//! And no wait, be it a delay, between two attempts or while a task is suspended, becomes longer than it was asked for
//! from the moment on at which the clock is found to have gone back. What is to start at a moment of the calendar
//! waits for that moment.

use rusqlite::Connection;

use super::batch::WriterState;

/// How far the clock may go back before waits are looked at again: less is the ordinary unevenness.
pub(super) const JUMP_NANOS: i64 = 1_000_000_000;

pub(super) const NEWEST_READY: &str = "
    SELECT coalesce(max(created_at), 0) FROM task INDEXED BY task_waiting
    WHERE state = 0 AND ready_at > ?1 AND ready_at = created_at";
pub(super) const SHORTEN: &str = "
    UPDATE task INDEXED BY task_waiting SET ready_at = ?1 + wait_ns
    WHERE state = 0 AND ready_at > ?1 AND wait_ns IS NOT NULL AND ready_at > ?1 + wait_ns";

/// A task that waited for others became ready when the last of them ended, at a time that is ahead now.
pub(super) const SHORTEN_RELEASED: &str = "
    UPDATE task INDEXED BY task_waiting
    SET ready_at = max(?1, coalesce((SELECT run_at FROM dependant WHERE dependant.seq = task.seq), 0))
    WHERE state = 0 AND ready_at > ?1 AND waits_for = 0 AND attempt = 0
        AND ready_at > coalesce((SELECT run_at FROM dependant WHERE dependant.seq = task.seq), 0)";

pub(super) const LATEST: &str = "SELECT latest FROM host WHERE id = 0";
pub(super) const STORE_LATEST: &str = "UPDATE host SET latest = ?1 WHERE id = 0";

/// Settles what waits at the opening, if the clock went back since anything was done; returns how many waits
/// were shortened. It looks at all that is put off or suspended, seconds for a million tasks.
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
    // A clock that was never known to be anywhere counts as one that went back.
    if latest.saturating_sub(now) > JUMP_NANOS {
        shortened = shorten_waits(connection, now)?;
    }
    writer_state.latest = writer_state.newest_ready.max(now);
    writer_state.latest_stored = writer_state.latest;
    connection.prepare_cached(STORE_LATEST)?.execute([writer_state.latest])?;
    Ok(shortened)
}

/// Keeps what time it was, once a second.
pub(super) fn store_latest(connection: &Connection, writer_state: &mut WriterState) -> rusqlite::Result<()> {
    if writer_state.latest - writer_state.latest_stored >= JUMP_NANOS {
        connection.prepare_cached(STORE_LATEST)?.execute([writer_state.latest])?;
        writer_state.latest_stored = writer_state.latest;
    }
    Ok(())
}

/// Returns the latest time, after now, at which a task was accepted that is ready at once; else 0.
fn newest_ready(connection: &Connection, now: i64) -> rusqlite::Result<i64> {
    connection.prepare_cached(NEWEST_READY)?.query_one([now], |row| row.get(0))
}

/// Shortens waits that are longer than they were asked for; returns how many.
pub(super) fn shorten_waits(connection: &Connection, now: i64) -> rusqlite::Result<usize> {
    let again = connection.prepare_cached(SHORTEN_RELEASED)?.execute([now])?;
    Ok(again + connection.prepare_cached(SHORTEN)?.execute([now])?)
}

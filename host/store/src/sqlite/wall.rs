//! What becomes of waiting tasks when the clock of the machine goes back.
//!
//! A task that is ready at once has `ready_at = created_at`. If the clock was ahead when it was accepted,
//! it must not wait until the clock is there again. And a wait between two attempts must never become
//! longer than the longest that was asked for.

use rusqlite::{Connection, params};
use wasmill_model::Backoff;

use super::rows::millis;

/// How far the clock may go back before waits are looked at again: less is the ordinary unevenness.
pub(super) const JUMP_NANOS: i64 = 1_000_000_000;

pub(super) const NEWEST: &str = "
    SELECT coalesce(max(created_at), 0) FROM task INDEXED BY task_waiting
    WHERE state = 0 AND ready_at > ?1 AND ready_at = created_at";
pub(super) const SHORTEN: &str = "
    UPDATE task INDEXED BY task_waiting SET ready_at = ?1 + coalesce(backoff_most_ms, ?2) * 1000000
    WHERE state = 0 AND ready_at > ?1 AND attempt > 0 AND parks IS NULL AND ready_at <> created_at
        AND ready_at > ?1 + coalesce(backoff_most_ms, ?2) * 1000000";

/// Returns the latest time, after now, at which a task was accepted that is ready at once; else 0.
pub(super) fn newest(connection: &Connection, now: i64) -> rusqlite::Result<i64> {
    connection.prepare_cached(NEWEST)?.query_one([now], |row| row.get(0))
}

/// Shortens waits between attempts that are longer than any could be; returns how many.
pub(super) fn shorten_waits(connection: &Connection, now: i64) -> rusqlite::Result<usize> {
    connection.prepare_cached(SHORTEN)?.execute(params![now, millis(Backoff::default().most)])
}

//! Starts of tasks of rate-limited plugins, so that starts of an earlier host count as well.

use chrono::DateTime;
use rusqlite::{Connection, params};
use wasmill_model::{PluginName, Timestamp};
use wasmill_store::{ClaimQuota, Claimed};

use crate::read::rows::{nanos, size};
use crate::writer::batch::Batch;

pub(crate) const NOTE: &str = "
    INSERT INTO recent_start (plugin, at, tasks) VALUES (?1, ?2, ?3)
    ON CONFLICT (plugin, at) DO UPDATE SET tasks = tasks + excluded.tasks";
/// Includes starts in the future of a clock that went back: this host counts them itself.
pub(crate) const FORGET: &str = "DELETE FROM recent_start WHERE plugin = ?1 AND (at <= ?2 OR at > ?3)";
pub(crate) const STARTS: &str = "SELECT at, tasks FROM recent_start WHERE plugin = ?1 ORDER BY at";

/// Records how many tasks of each rate-limited plugin were claimed.
pub(crate) fn note(
    batch: &Batch<'_>,
    quotas: &[ClaimQuota],
    claimed: &[Claimed],
    now: Timestamp,
) -> rusqlite::Result<()> {
    for share in quotas {
        let Some(rate) = share.rate else { continue };
        let tasks = claimed.iter().filter(|claimed| claimed.plugin == share.plugin).count();
        if tasks == 0 {
            continue;
        }
        let (plugin, at) = (share.plugin.as_str(), nanos(now));
        let span = i64::try_from(rate.per.as_nanos()).unwrap_or(i64::MAX);
        let mut forget = batch.connection.prepare_cached(FORGET)?;
        forget.execute(params![plugin, at.saturating_sub(span), at])?;
        batch.connection.prepare_cached(NOTE)?.execute(params![plugin, at, size(tasks)])?;
    }
    Ok(())
}

/// Reads when tasks of a plugin were started and how many, oldest first.
pub(crate) fn starts(
    connection: &Connection,
    plugin: &PluginName,
) -> rusqlite::Result<Vec<(Timestamp, usize)>> {
    let mut statement = connection.prepare_cached(STARTS)?;
    let starts = statement.query_map([plugin.as_str()], |row| {
        let tasks = usize::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
        Ok((DateTime::from_timestamp_nanos(row.get(0)?), tasks))
    })?;
    starts.collect()
}

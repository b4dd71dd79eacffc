//! Starts of tasks of rate-limited plugins, so that starts of an earlier host count as well.

use wasmill_model::{PluginName, Timestamp};
use wasmill_store::{ClaimQuota, Claimed};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::read::rows::{nanos, number, size, time};
use crate::writer::batch::Batch;

const NOTE: &str = "
    INSERT INTO recent_start (plugin, at, tasks) VALUES ($1, $2, $3)
    ON CONFLICT (plugin, at) DO UPDATE SET tasks = recent_start.tasks + excluded.tasks";
/// Includes starts in the future of a clock that went back: this host counts them itself.
const FORGET: &str = "DELETE FROM recent_start WHERE plugin = $1 AND (at <= $2 OR at > $3)";
const STARTS: &str = "SELECT at, tasks FROM recent_start WHERE plugin = $1 ORDER BY at";

/// Records how many tasks of each rate-limited plugin were claimed.
pub(crate) async fn note(
    batch: &Batch<'_>,
    quotas: &[ClaimQuota],
    claimed: &[Claimed],
    now: Timestamp,
) -> Result<()> {
    for quota in quotas {
        let Some(span) = quota.rate_span else { continue };
        let tasks = claimed.iter().filter(|claimed| claimed.plugin == quota.plugin).count();
        if tasks == 0 {
            continue;
        }
        let (plugin, at) = (quota.plugin.as_str(), nanos(now));
        let span = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        batch.connection.execute(FORGET, &[&plugin, &at.saturating_sub(span), &at]).await?;
        batch.connection.execute(NOTE, &[&plugin, &at, &size(tasks)]).await?;
    }
    Ok(())
}

/// Reads when tasks of a plugin were started and how many, oldest first.
pub(crate) async fn starts(connection: &Connection, plugin: &PluginName) -> Result<Vec<(Timestamp, usize)>> {
    let rows = connection.query(STARTS, &[&plugin.as_str()]).await?;
    rows.iter().map(|row| Ok((time(row, 0)?, number(row, 1)?))).collect()
}

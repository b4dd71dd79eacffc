//! Starts of tasks of rate-limited plugins, so that starts of an earlier host count as well.

use std::time::Duration;

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
const LATEST: &str = "SELECT max(at) FROM recent_start WHERE plugin = $1";
const STARTED: &str =
    "SELECT coalesce(sum(tasks), 0)::bigint FROM recent_start WHERE plugin = $1 AND at > $2";
const STARTS: &str = "SELECT at, tasks FROM recent_start WHERE plugin = $1 ORDER BY at";

/// Records how many tasks of each rate-limited plugin were claimed.
pub(crate) async fn note(
    batch: &Batch<'_>,
    quotas: &[ClaimQuota],
    claimed: &[Claimed],
    now: Timestamp,
) -> Result<()> {
    for quota in quotas {
        let Some(rate) = quota.rate else { continue };
        let tasks = claimed.iter().filter(|claimed| claimed.plugin == quota.plugin).count();
        if tasks == 0 {
            continue;
        }
        let (plugin, mut at) = (quota.plugin.as_str(), nanos(now));
        // The starts of hosts whose clocks are ahead stay, and none is noted before them.
        let mut ahead = at;
        if batch.has_others {
            let latest: Option<i64> = batch.connection.one(LATEST, &[&plugin]).await?.get(0);
            at = latest.map_or(at, |latest| at.max(latest));
            ahead = i64::MAX;
        }
        let span = i64::try_from(rate.per.as_nanos()).unwrap_or(i64::MAX);
        batch.connection.execute(FORGET, &[&plugin, &at.saturating_sub(span), &ahead]).await?;
        batch.connection.execute(NOTE, &[&plugin, &at, &size(tasks)]).await?;
    }
    Ok(())
}

/// Reads when tasks of a plugin were started and how many, oldest first.
pub(crate) async fn starts(connection: &Connection, plugin: &PluginName) -> Result<Vec<(Timestamp, usize)>> {
    let rows = connection.query(STARTS, &[&plugin.as_str()]).await?;
    rows.iter().map(|row| Ok((time(row, 0)?, number(row, 1)?))).collect()
}

/// Returns how many tasks of a plugin all hosts have started within this time.
pub(crate) async fn started(
    batch: &Batch<'_>,
    plugin: &PluginName,
    per: Duration,
    now: Timestamp,
) -> Result<usize> {
    let since = nanos(now).saturating_sub(i64::try_from(per.as_nanos()).unwrap_or(i64::MAX));
    number(&batch.connection.one(STARTED, &[&plugin.as_str(), &since]).await?, 0)
}

//! Which hosts there are: a host registers, leaves, or is taken for dead; and the tasks of the dead are put back.

use async_trait::async_trait;
use tokio_postgres::Row;
use wasmill_model::{Timestamp, fault_point};
use wasmill_store::{Host, HostReport, OwnHost, Recovery, SharedSettings, differing};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::delivery::deliveries;
use crate::dependency::resolution;
use crate::queue::recover;
use crate::read::rows::{get, nanos, number, time};
use crate::writer::batch::{Batch, Operation};
use crate::writer::clock_skew;

/// Maximum tasks of dead hosts that one transaction puts back.
const RESCUED_MAX: i64 = 500;

const REVOKE_PLACE: &str = "
    WITH dead AS (UPDATE host SET is_live = false WHERE place = $1 AND is_live RETURNING id)
    UPDATE writer SET is_live = false FROM dead WHERE writer.host = dead.id";
const REVOKE: &str = "
    WITH dead AS (UPDATE host SET is_live = false WHERE id = $1 AND is_live AND ($2::bigint IS NULL OR beat = $2)
        RETURNING id)
    UPDATE writer SET is_live = false FROM dead WHERE writer.host = dead.id";
const REGISTER: &str = "
    INSERT INTO host (id, place, name, version, connection, started_at, settings) VALUES ($1, $2, $3, $4, $5, $6, $7)";
const REGISTER_WRITER: &str = "INSERT INTO writer (host) VALUES ($1)";
const COUNT: &str = "
    UPDATE cluster SET hosts = (SELECT count(*) FROM host WHERE is_live) WHERE id = 0 RETURNING hosts";
/// Forgets dead hosts that nothing runs at.
const FORGET: &str = "
    WITH gone AS (DELETE FROM host WHERE NOT is_live
        AND NOT EXISTS (SELECT FROM task WHERE state = 'running' AND task.host = host.id) RETURNING id)
    DELETE FROM writer USING gone WHERE writer.host = gone.id";
const HOSTS: &str = "
    SELECT id, name, version, started_at, is_live,
        (extract(epoch FROM clock_timestamp() - renewed_at) * 1000)::bigint, slots, used, memory_free, is_draining,
        settings, plugins_version
    FROM host ORDER BY started_at, id";

/// What a host is registered with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registration<'a> {
    pub(crate) id: i64,
    pub(crate) place: &'a str,
    /// The name of its write connections.
    pub(crate) connection: &'a str,
    pub(crate) own: &'a OwnHost,
}

/// Registers a host in the open transaction, which has the turn, and puts back what ran at dead ones: among them is
/// any that was at the same place.
pub(crate) async fn register(
    batch: &mut Batch<'_>,
    registration: Registration<'_>,
    now: Timestamp,
) -> Result<Recovery> {
    let Registration { id, place, connection: name, own } = registration;
    let connection = batch.connection;
    connection.execute(REVOKE_PLACE, &[&place]).await?;
    let settings = stored_settings(&own.settings);
    let host = (&own.name, &own.version, nanos(now));
    connection.execute(REGISTER, &[&id, &place, host.0, host.1, &name, &host.2, &settings]).await?;
    warn_of_settings(connection, id, &own.settings).await?;
    connection.execute(REGISTER_WRITER, &[&id]).await?;
    let hosts: i64 = connection.one(COUNT, &[]).await?.get(0);
    batch.has_others = hosts > 1;
    let mut recovery = recover::recover(batch, now, i64::MAX).await?;
    connection.execute(FORGET, &[]).await?;
    resolution::resolve(batch).await?;
    // The clock of one host says nothing about those of the others.
    if !batch.has_others {
        recovery.shortened = clock_skew::open(connection, &mut batch.writer_state, nanos(now)).await?;
        deliveries::shorten_waits(connection, nanos(now)).await?;
    }
    recovery.waiting = batch.writer_state.waiting;
    fault_point!("recovered, not committed");
    Ok(recovery)
}

/// Warns of live hosts with other settings.
async fn warn_of_settings(connection: &Connection, own: i64, own_settings: &SharedSettings) -> Result<()> {
    for host in hosts(connection, own).await?.iter().filter(|host| host.is_live && !host.is_self) {
        let settings = differing(own_settings, &host.settings);
        if !settings.is_empty() {
            tracing::warn!(
                host = host.name,
                settings = settings.join(", "),
                "another host has other settings; give all hosts of a database the same"
            );
        }
    }
    Ok(())
}

/// Ends a registration: others put back at once what still runs.
pub(crate) async fn leave(connection: &Connection, id: i64) -> Result<()> {
    connection.execute(REVOKE, &[&id, &None::<i64>]).await?;
    connection.execute(FORGET, &[]).await?;
    connection.one(COUNT, &[]).await?;
    Ok(())
}

/// Reads all hosts, the one that registered first at the top.
pub(crate) async fn hosts(connection: &Connection, own: i64) -> Result<Vec<Host>> {
    let rows = connection.query(HOSTS, &[]).await?;
    let mut hosts = rows.iter().map(|row| host(row, own)).collect::<Result<Vec<_>>>()?;
    if let Some(first) = hosts.iter_mut().find(|host| host.is_live) {
        first.is_on_duty = true;
    }
    Ok(hosts)
}

fn host(row: &Row, own: i64) -> Result<Host> {
    let id = get(row, 0)?;
    Ok(Host {
        id,
        name: get(row, 1)?,
        version: get(row, 2)?,
        started_at: time(row, 3)?,
        is_live: get(row, 4)?,
        renewed: std::time::Duration::from_millis(get::<i64>(row, 5)?.max(0).unsigned_abs()),
        is_self: id == own,
        is_on_duty: false,
        report: HostReport {
            slots: number(row, 6)?,
            used: number(row, 7)?,
            memory_free_bytes: number(row, 8)?,
            is_draining: get(row, 9)?,
        },
        settings: settings(row, 10)?,
        plugins_version: get(row, 11)?,
    })
}

/// Returns settings in stored form: names and values around the first `=`.
fn stored_settings(settings: &SharedSettings) -> Vec<String> {
    settings.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// Reads settings.
pub(crate) fn settings(row: &Row, column: usize) -> Result<SharedSettings> {
    let stored: Vec<&str> = get(row, column)?;
    let setting = |text: &str| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(stored.into_iter().filter_map(setting).collect())
}

/// A host that has not renewed its lease for too long.
#[derive(Clone, Debug)]
pub(crate) struct Suspect {
    pub(crate) id: i64,
    /// Its last renewal that was seen: if there was another one, it lives.
    pub(crate) beat: i64,
    /// The name of its write connections.
    pub(crate) connection: String,
}

/// Takes a host for dead, and puts back tasks of dead hosts; a few of them, so that other writes get their turn.
#[derive(Debug)]
pub(crate) struct Rescue {
    pub(crate) suspect: Option<Suspect>,
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Operation for Rescue {
    /// What was put back; nothing once all is.
    type Answer = Recovery;
    const DURABLE: bool = true;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<Recovery> {
        if let Some(Suspect { id, beat, .. }) = &self.suspect {
            batch.connection.execute(REVOKE, &[id, &Some(*beat)]).await?;
            batch.connection.one(COUNT, &[]).await?;
        }
        let recovery = recover::recover(batch, self.now, RESCUED_MAX).await?;
        batch.connection.execute(FORGET, &[]).await?;
        Ok(recovery)
    }
}

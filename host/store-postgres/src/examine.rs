//! Looks at a database without becoming its host, and migrates it.

use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use wasmill_store::{HeldSnapshot, SharedSettings, StoreError};

use crate::address::Address;
use crate::cluster::membership;
use crate::cluster::snapshot::{self, HELD_MIN};
use crate::config::SCHEMA;
use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::connection::schema;
use crate::connection::server::{Purpose, Server};
use crate::read::rows::get;

/// The hosts that have renewed their leases within the time after which others take them for dead.
const HOSTS: &str = "
    SELECT name, settings FROM host WHERE is_live AND renewed_at > clock_timestamp() - interval '12 s' ORDER BY started_at, id";
const DURABILITY: &str = "
    SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off'
    ORDER BY name";

/// Empty unless commits wait for a standby.
const STANDBYS: &str = "
    SELECT CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN ''
        ELSE current_setting('synchronous_standby_names') END";

/// How many round trips are timed.
const ROUND_TRIPS: usize = 20;

/// What a database is like.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The version of the server, such as `15.18`.
    pub version: String,
    /// How long it takes to answer.
    pub round_trip: Duration,
    /// Settings of the server that are off, with which a crash of it may lose what was accepted.
    pub not_durable: Vec<String>,
    /// The standbys that commits wait for, as the server's setting names them; empty if they wait for none.
    pub standbys: String,
    /// The oldest snapshot, if somebody has held it for a minute or more.
    pub held_snapshot: Option<HeldSnapshot>,
    /// The names of the hosts that use it, with the settings that all hosts should share.
    pub hosts: Vec<(String, SharedSettings)>,
    /// Whether its tables are missing or of an older version.
    pub is_behind: bool,
    /// Why a host would not start on it.
    pub refused: Option<StoreError>,
}

/// Looks at a database as a start would, and changes nothing. Blocks the thread.
///
/// # Errors
///
/// [`StoreError::Refused`] if the server cannot be reached, does not let the user in, or is too old.
pub fn examine(address: &Address) -> std::result::Result<Examined, StoreError> {
    block_on(address, async |server, connection| {
        let version = server.check(connection).await?;
        let mut times = Vec::with_capacity(ROUND_TRIPS);
        for _ in 0..ROUND_TRIPS {
            let began = Instant::now();
            connection.batch("").await?;
            times.push(began.elapsed());
        }
        times.sort();
        let settings = connection.query(DURABILITY, &[]).await?;
        let not_durable = settings.iter().map(|row| row.get(0)).collect();
        let standbys = connection.one(STANDBYS, &[]).await?.get(0);
        let held_snapshot = snapshot::oldest(connection, HELD_MIN).await?;
        let is_behind = schema::found(connection, SCHEMA).await.is_ok_and(|found| found < schema::VERSION);
        let refused = schema::check(connection, SCHEMA).await.err();
        let mut hosts = Vec::new();
        if refused.is_none() {
            for row in connection.query(HOSTS, &[]).await? {
                hosts.push((get(&row, 0)?, membership::settings(&row, 1)?));
            }
        }
        let refused = refused.map(|error| error.of_open(address));
        let round_trip = times[ROUND_TRIPS / 2];
        Ok(Examined { version, round_trip, not_durable, standbys, held_snapshot, hosts, is_behind, refused })
    })
}

/// Creates the tables, or brings them to the version of this build; returns the versions before and after. Blocks the
/// thread.
///
/// # Errors
///
/// Those of [`examine`], and if the user may not create tables.
pub fn migrate(address: &Address) -> std::result::Result<(i64, i64), StoreError> {
    block_on(address, async |server, connection| {
        server.check(connection).await?;
        Ok((schema::migrate(connection, SCHEMA).await?, schema::VERSION))
    })
}

fn block_on<T>(
    address: &Address,
    work: impl AsyncFnOnce(&Server, &Connection) -> Result<T>,
) -> std::result::Result<T, StoreError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| {
        StoreError::Unavailable { message: format!("failed to start a thread of the store: {error}") }
    })?;
    let server = Server::new(address.clone(), SCHEMA);
    let worked = runtime.block_on(async { work(&server, &*server.connect(Purpose::Write).await?).await });
    worked.map_err(|error| error.of_open(address))
}

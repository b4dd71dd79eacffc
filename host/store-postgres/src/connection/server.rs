//! Opens connections to the server of the database, each for one use.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_postgres::{Config, NoTls};
use uuid::Uuid;

use crate::address::Address;
use crate::connection::database::Connection;
use crate::connection::fault::{Error, NO_POOLER, Result};
use crate::connection::tls::Tls;

/// The oldest version whose features are used.
pub(crate) const VERSION_MIN: u32 = 15;

/// Frees what a predecessor still holds, such as the turn to write; it may be waiting for a client that is gone. Waits
/// until it has ended.
const END_PREDECESSOR: &str = "
    SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity
    WHERE application_name = current_setting('application_name') AND pid <> pg_backend_pid() AND usename = current_user
        AND datname = current_database()";

/// A claim is planned once, and compiling a plan takes longer than running it. The other hosts wait for one that is stopped
/// within a transaction.
///
/// A plan may be made while the tables are empty, and would then scan them for a while after they have grown.
const WRITE_SETTINGS: &str = "SET enable_seqscan = off; SET jit = off; SET statement_timeout = '60s'; SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '5s'";
const LEASE_SETTINGS: &str = "SET statement_timeout = '10s'; SET lock_timeout = '5s'";
/// Short statements of which none must survive a crash.
const LIVE_SETTINGS: &str = "SET jit = off; SET statement_timeout = '5s'; SET synchronous_commit = off";
const READ_SETTINGS: &str =
    "SET jit = off; SET statement_timeout = '30s'; SET default_transaction_read_only = on";

/// Ends the write connections of a host that is taken for dead.
pub(crate) const END_NAMED: &str = "
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = $1 AND pid <> pg_backend_pid() AND usename = current_user
        AND datname = current_database()";

/// For how long after a connection was lost requests wait for a new one; later ones fail at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
pub(crate) const RECONNECT_WAIT: Duration = Duration::from_millis(100);

/// Maximum time to log in and to free what a predecessor holds. A server that is stopped still accepts connections.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(5);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Write,
    Read,
    Lease,
    Live,
}

/// The server of the database, and the schema in it.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) address: Address,
    pub(crate) schema: String,
    /// Tells the write connections of this host from those of others.
    pub(crate) writer_name: String,
}

impl Server {
    pub(crate) fn new(address: Address, schema: &str) -> Self {
        let writer_name = format!("wasmill writer {}", Uuid::new_v4().simple());
        Self { address, schema: schema.to_owned(), writer_name }
    }

    /// Connects, on the runtime that this is called on.
    pub(crate) async fn connect(&self, purpose: Purpose) -> Result<Arc<Connection>> {
        timeout(LOGIN_TIMEOUT, self.log_in(purpose)).await.map_err(|_| Error::Silent)?
    }

    async fn log_in(&self, purpose: Purpose) -> Result<Arc<Connection>> {
        let (name, settings) = match purpose {
            Purpose::Write => (&*self.writer_name, WRITE_SETTINGS),
            Purpose::Lease => ("wasmill lease", LEASE_SETTINGS),
            Purpose::Live => ("wasmill live", LIVE_SETTINGS),
            Purpose::Read => ("wasmill reader", READ_SETTINGS),
        };
        let connection = self.connect_to_any(name).await?;
        // By a statement, since pgbouncer refuses settings at the start of a connection.
        connection.batch(&format!("SET search_path = {}; {settings}", self.schema)).await?;
        Ok(connection)
    }

    /// Connects to the first server that accepts writes. All are tried at once: one that is stopped, or whose machine is
    /// gone, delays nothing.
    async fn connect_to_any(&self, name: &str) -> Result<Arc<Connection>> {
        let mut connecting = JoinSet::new();
        for server in &self.address.servers {
            let (mut server, tls) = (server.clone(), self.address.tls.clone());
            server.application_name(name);
            connecting.spawn(connect_to(server, tls));
        }
        let mut refused = Error::Silent;
        while let Some(connected) = connecting.join_next().await {
            match connected {
                Ok(Ok(connection)) => return Ok(connection),
                // A standby refuses everybody; what another server says tells more.
                Ok(Err(error)) if matches!(refused, Error::Silent) || !error.is_of_standby() => {
                    refused = error;
                }
                _ => {}
            }
        }
        Err(refused)
    }

    /// Checks that the server is not too old, and that this connection has a session of its own: a pooler that lends
    /// sessions for a transaction mixes up locks, settings and prepared statements. Returns the version, such as `15.18`.
    pub(crate) async fn check(&self, connection: &Connection) -> Result<String> {
        const VERSION: &str = "
            SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000, pg_backend_pid()";
        const SESSION: &str = "SELECT pg_backend_pid()";
        let row = connection.one(VERSION, &[]).await?;
        let (shown, major, session): (String, i32, i32) = (row.get(0), row.get(1), row.get(2));
        if u32::try_from(major).is_ok_and(|major| major < VERSION_MIN) {
            return Err(Error::Refused(format!(
                "the server is PostgreSQL {shown}, and wasmill needs {VERSION_MIN} or later; upgrade it"
            )));
        }
        // Without settings: they would stay in the session of somebody else.
        let other =
            timeout(LOGIN_TIMEOUT, self.connect_to_any("wasmill")).await.map_err(|_| Error::Silent)??;
        if other.one(SESSION, &[]).await?.get::<_, i32>(0) == session {
            other.batch("RESET ALL").await?;
            return Err(Error::Refused(format!("two connections have the same session; {NO_POOLER}")));
        }
        Ok(shown)
    }

    /// Connects in place of a write connection that is gone.
    pub(crate) async fn connect_anew(&self) -> Result<Arc<Connection>> {
        let connection = self.connect(Purpose::Write).await?;
        let ended = timeout(LOGIN_TIMEOUT, connection.query(END_PREDECESSOR, &[])).await;
        ended.map_err(|_| Error::Silent)??;
        Ok(connection)
    }
}

async fn connect_to(server: Config, tls: Option<Tls>) -> Result<Arc<Connection>> {
    Ok(match tls {
        Some(tls) => {
            let (client, driver) = server.connect(tls).await.map_err(Error::Connecting)?;
            Connection::new(client, driver)
        }
        None => {
            let (client, driver) = server.connect(NoTls).await.map_err(Error::Connecting)?;
            Connection::new(client, driver)
        }
    })
}

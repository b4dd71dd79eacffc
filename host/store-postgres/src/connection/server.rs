//! Opens connections to the server of the database, each for one use.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::address::Address;
use crate::connection::database::Connection;
use crate::connection::fault::{Error, Result};

/// The oldest version whose features are used.
pub(crate) const VERSION_MIN: u32 = 15;

/// Takes the lock that keeps a second host away; false if another one holds it.
pub(crate) const LOCKED: &str = "SELECT pg_try_advisory_lock(hashtextextended('wasmill ' || $1, 0))";

/// Frees what a predecessor still holds, such as the lock of the host; it may be waiting for a client that is gone.
/// Waits until it has ended.
const END_PREDECESSOR: &str = "
    SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity
    WHERE application_name = current_setting('application_name') AND pid <> pg_backend_pid() AND usename = current_user
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
}

/// The server of the database, and the schema in it.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) address: Address,
    pub(crate) schema: String,
    /// Tells the write connections of this host from those of others.
    writer_name: String,
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
        let mut config = self.address.server.clone();
        // A claim is planned once, and compiling a plan takes longer than running it.
        let mut options = format!("-c search_path={} -c jit=off", self.schema);
        match purpose {
            Purpose::Write => {
                config.application_name(&self.writer_name);
                options += " -c statement_timeout=60s -c lock_timeout=10s -c idle_in_transaction_session_timeout=10s";
            }
            Purpose::Read => {
                config.application_name("wasmill reader");
                options += " -c statement_timeout=30s -c default_transaction_read_only=on";
            }
        }
        if let Some(own) = self.address.server.get_options() {
            options = format!("{own} {options}");
        }
        config.options(options);
        match self.address.tls.clone() {
            Some(tls) => {
                let (client, driver) = config.connect(tls).await?;
                Ok(Connection::new(client, driver))
            }
            None => {
                let (client, driver) = config.connect(NoTls).await?;
                Ok(Connection::new(client, driver))
            }
        }
    }

    /// Connects in place of a write connection that is gone.
    pub(crate) async fn connect_anew(&self) -> Result<Arc<Connection>> {
        let connection = self.connect(Purpose::Write).await?;
        let ended = timeout(LOGIN_TIMEOUT, connection.query(END_PREDECESSOR, &[])).await;
        ended.map_err(|_| Error::Silent)??;
        Ok(connection)
    }
}

/// Returns the version of the server, such as `15.18`; fails if it is too old.
pub(crate) async fn version(connection: &Connection) -> Result<String> {
    const VERSION: &str =
        "SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000";
    let row = connection.one(VERSION, &[]).await?;
    let (shown, major): (String, i32) = (row.get(0), row.get(1));
    if u32::try_from(major).is_ok_and(|major| major < VERSION_MIN) {
        return Err(Error::Refused(format!(
            "the server is PostgreSQL {shown}, and wasmill needs {VERSION_MIN} or later; upgrade it"
        )));
    }
    Ok(shown)
}

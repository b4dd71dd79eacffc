//! The PostgreSQL server of the benchmark, and the hosts on its databases.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio_postgres::{Client, NoTls};
use wasmill_tests::{PostgresServer, Server};

use crate::parts::computing::computed_with_children;

/// A server that syncs every commit.
pub(super) struct Postgres(PostgresServer);

/// An empty database, which hosts share.
pub(super) struct Database<'a> {
    postgres: &'a Postgres,
    name: String,
    url: String,
}

impl Postgres {
    pub(super) fn start() -> Result<Self> {
        let server = PostgresServer::start("fsync = on\nmax_connections = 500");
        server.map(Self).context("PostgreSQL is not installed: apt-get install postgresql")
    }

    pub(super) fn version(&self) -> String {
        format!("PostgreSQL {}", self.0.run("postgres", "SHOW server_version"))
    }

    /// Creates a database.
    pub(super) fn create(&self) -> Database<'_> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("bench_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let url = self.0.create(&name);
        Database { postgres: self, name, url }
    }

    /// Returns the CPU time of all its processes so far.
    pub(super) fn computed(&self) -> Result<Duration> {
        computed_with_children(self.0.pid())
    }

    /// Returns how many bytes it has written to its log of changes so far.
    pub(super) fn written(&self) -> Result<u64> {
        let bytes = self.0.run("postgres", "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint");
        Ok(bytes.parse()?)
    }
}

impl Database<'_> {
    /// Starts a host with the plugins `noop` and `misbehave`.
    pub(super) fn host(&self, args: &[&str]) -> Result<Server> {
        let database = ["--database", &self.url, "--database-migrate", "--timeout", "1h"];
        let server = Server::start_in(Server::folder_with_guests(), &[&database, args].concat())?;
        server.wait_for_plugins();
        Ok(server)
    }

    /// Starts this many hosts.
    pub(super) fn hosts(&self, count: usize, args: &[&str]) -> Result<Vec<Server>> {
        (0..count).map(|_| self.host(args)).collect()
    }

    pub(super) async fn connect(&self) -> Result<Client> {
        let (client, driver) = tokio_postgres::connect(&self.url, NoTls).await?;
        tokio::spawn(driver);
        Ok(client)
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        // Hosts that are idle for ever would disturb what is measured next. The figures are made, so a failure may be
        // ignored.
        let _ = self.postgres.0.query("postgres", &format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

//! The folder of a server, and the database that its tasks are in.
//!
//! With `WASMILL_TEST_DATABASE=own`, test servers keep their tasks in PostgreSQL, each folder in a database of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::TempDir;

use crate::{PostgresServer, WrongClock};

/// A temporary folder with the plugins and the data of a server; dropping it removes its database, too.
pub struct ServerFolder {
    dir: TempDir,
    database: Option<Database>,
    clock: OnceLock<WrongClock>,
}

/// A database in PostgreSQL.
struct Database {
    server: &'static PostgresServer,
    name: String,
}

impl ServerFolder {
    /// Creates an empty folder.
    ///
    /// # Panics
    ///
    /// If the folder or the database cannot be created.
    pub fn new() -> Arc<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let database = test_database().map(|server| {
            let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
            server.create(&name);
            Database { server, name }
        });
        Arc::new(Self { dir: tempfile::tempdir().expect("a folder"), database, clock: OnceLock::new() })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Gives the servers that start in it a wrong clock.
    ///
    /// # Panics
    ///
    /// If they have one already.
    pub fn set_clock(&self, clock: WrongClock) {
        self.clock.set(clock).expect("one clock");
    }

    /// Makes a command use the clock, and the database unless its arguments name another.
    pub(crate) fn set_variables(&self, command: &mut Command) {
        command.envs(self.clock.get().into_iter().flat_map(WrongClock::variables));
        if let Some(Database { server, name }) = &self.database {
            command.env("WASMILL_DATABASE", server.url(name)).env("WASMILL_DATABASE_MIGRATE", "true");
        }
    }

    /// Runs one statement, which both kinds of database understand, and returns the first column of its rows.
    ///
    /// # Errors
    ///
    /// Fails if the statement does.
    pub fn query(&self, sql: &str) -> Result<Vec<String>> {
        if let Some(Database { server, name }) = &self.database {
            let output = server.query(name, &format!("SET search_path = wasmill; {sql}"))?;
            return Ok(output.lines().map(str::to_owned).collect());
        }
        let connection = Connection::open(self.embedded_database())?;
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            Ok(match row.get(0)? {
                Value::Text(text) => text,
                Value::Integer(number) => number.to_string(),
                other => format!("{other:?}"),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns an expression for the id of a task, without hyphens.
    pub fn id_column(&self) -> &'static str {
        if self.database.is_some() { "replace(CAST(id AS text), '-', '')" } else { "lower(hex(id))" }
    }

    /// Checks the files of the database for damage.
    ///
    /// # Errors
    ///
    /// Says what is damaged.
    pub fn check_database(&self) -> Result<()> {
        if self.database.is_none() {
            let found = self.query("PRAGMA integrity_check")?;
            anyhow::ensure!(found == ["ok"], "the database is damaged: {found:?}");
            return Ok(());
        }
        self.query("CREATE EXTENSION IF NOT EXISTS amcheck")?;
        self.query(
            "SELECT bt_index_check(i.indexrelid, true)::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
            WHERE c.relnamespace = 'wasmill'::regnamespace",
        )
        .context("the database is damaged")?;
        Ok(())
    }

    fn embedded_database(&self) -> PathBuf {
        self.path().join("data/wasmill.db")
    }
}

impl Drop for ServerFolder {
    fn drop(&mut self) {
        if let Some(Database { server, name }) = &self.database {
            // The server of the database may be gone, and a failed test drops this while it panics.
            let _ = server.query("postgres", &format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

/// Returns the PostgreSQL server of test servers, if they use one.
///
/// # Panics
///
/// If the variable has another value, or PostgreSQL is not installed.
pub fn test_database() -> Option<&'static PostgresServer> {
    let value = std::env::var("WASMILL_TEST_DATABASE").ok()?;
    assert_eq!(value, "own", "WASMILL_TEST_DATABASE must be `own`");
    Some(PostgresServer::shared().expect("WASMILL_TEST_DATABASE needs PostgreSQL"))
}

/// Returns true if a test has to be skipped because servers use PostgreSQL, and says so.
pub fn is_skipped(test: &str, reason: &str) -> bool {
    let is_skipped = test_database().is_some();
    if is_skipped {
        let line = format!("skipped on PostgreSQL: {test}, since {reason}\n");
        // Past the capture of the test, so that somebody sees it.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    }
    is_skipped
}

/// Skips the test if servers keep their tasks in PostgreSQL, with a line that says why.
#[macro_export]
macro_rules! embedded_only {
    ($reason:literal) => {
        if $crate::is_skipped(std::thread::current().name().unwrap_or_default(), $reason) {
            return;
        }
    };
}

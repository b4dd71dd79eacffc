//! The schema and its version.

use std::time::Duration;

use tokio::time::sleep;

use crate::connection::database::Connection;
use crate::connection::fault::{Error, Result};

/// The steps from an empty schema to the current one.
///
/// Hosts of the version before continue while a step is made and after it, so a step adds: tables, indexes, and columns with a
/// default. It changes and removes nothing that they read or write; what is no longer used goes with a later version. Values
/// that they do not know are written by the version after.
const STEPS: [&str; 2] = [include_str!("0001_schema.sql"), include_str!("0002_queue_floor.sql")];

/// The version of the first step. Lower numbers were given out before the first release.
const FIRST: i64 = 10;

/// The version that this build writes and reads.
pub(crate) const VERSION: i64 = version_after(&STEPS);

const fn version_after(steps: &[&str]) -> i64 {
    FIRST - 1 + steps.len() as i64
}

/// How often a migration is tried while others hold locks on the tables, and how long it waits in between.
const TRIES_MAX: u32 = 20;
const RETRY_WAIT: Duration = Duration::from_millis(500);

const TURN: &str = "SELECT writes FROM cluster WHERE id = 0 FOR UPDATE";
/// Two that migrate at once take turns.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('wasmill migrate ' || $1, 0))::text";
const EXISTS: &str = "
    SELECT has_schema_privilege(n.oid, 'USAGE'),
        EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'schema_version'),
        NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'schema_version'
            AND NOT has_table_privilege(c.oid, 'SELECT'))
    FROM pg_namespace n WHERE nspname = $1";
const FOUND: &str = "SELECT version FROM schema_version";
const MISSING_RIGHTS: &str = "
    SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relkind = 'r' AND NOT (has_table_privilege(c.oid, 'SELECT')
        AND (c.relname = 'schema_version' OR has_table_privilege(c.oid, 'INSERT')
            AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')))
    ORDER BY c.relname";

/// Returns the version of the schema; 0 if there are no tables.
///
/// # Errors
///
/// [`Error::Refused`] if the user may not look into the schema, or it is of a newer version or one before the first
/// release.
pub(crate) async fn found(connection: &Connection, schema: &str) -> Result<i64> {
    let Some(row) = connection.optional(EXISTS, &[&schema]).await? else { return Ok(0) };
    let (is_usable, has_tables, is_readable): (bool, bool, bool) = (row.get(0), row.get(1), row.get(2));
    if !is_usable {
        return Err(Error::Refused(format!(
            "the user has no right to use schema {schema}; grant usage on it, and select, insert, update and delete \
             on its tables"
        )));
    }
    if !has_tables {
        return Ok(0);
    }
    if !is_readable {
        check_rights(connection, schema).await?;
    }
    let found: i64 = connection.one(FOUND, &[]).await?.get(0);
    if found > VERSION {
        return Err(Error::Refused(format!(
            "schema {schema} has version {found}, and this wasmill knows up to {VERSION}; start a newer wasmill"
        )));
    }
    if found < FIRST {
        return Err(Error::Refused(format!(
            "schema {schema} has version {found}, of a wasmill before the first release, and no step leads from there to \
             {VERSION}; let the wasmill that made it finish its tasks, drop it with DROP SCHEMA {schema} CASCADE, and run \
             wasmill database migrate"
        )));
    }
    Ok(found)
}

/// Checks that the schema is of this version, and that the user may read and write its tables.
pub(crate) async fn check(connection: &Connection, schema: &str) -> Result<()> {
    let command = "run wasmill database migrate, or start the server with --database-migrate";
    match found(connection, schema).await? {
        0 => return Err(Error::Refused(format!("it has no tables of wasmill yet; {command}"))),
        VERSION => {}
        found => {
            return Err(Error::Refused(format!(
                "schema {schema} has version {found}, and this wasmill needs {VERSION}; {command}"
            )));
        }
    }
    check_rights(connection, schema).await
}

/// Checks that the user may read and write the tables.
async fn check_rights(connection: &Connection, schema: &str) -> Result<()> {
    let missing = connection.query(MISSING_RIGHTS, &[&schema]).await?;
    let Some(first) = missing.first() else { return Ok(()) };
    let (table, others): (String, usize) = (first.get(0), missing.len() - 1);
    let others = if others == 0 { String::new() } else { format!(" and {others} others") };
    Err(Error::Refused(format!(
        "the user may not read and write table {schema}.{table}{others}; grant select, insert, update and delete on all \
         tables in schema {schema}"
    )))
}

/// Migrates the schema, in one transaction; creates it if it is missing. Returns the version before.
///
/// Hosts of the version before may be running. It does not keep them waiting for a lock that it does not get: it tries
/// again.
pub(crate) async fn migrate(connection: &Connection, schema: &str) -> Result<i64> {
    migrate_by(connection, schema, &STEPS).await
}

/// Migrates the schema by these steps.
async fn migrate_by(connection: &Connection, schema: &str, steps: &[&str]) -> Result<i64> {
    for _ in 1..TRIES_MAX {
        match migrate_once(connection, schema, steps).await {
            Err(error) if error.is_of_conflict() => {
                tracing::info!(%error, "the tables of the database are in use; the migration is tried again");
                connection.batch("ROLLBACK").await?;
                sleep(RETRY_WAIT).await;
            }
            migrated => return migrated,
        }
    }
    migrate_once(connection, schema, steps).await
}

async fn migrate_once(connection: &Connection, schema: &str, steps: &[&str]) -> Result<i64> {
    let version = version_after(steps);
    connection.batch("BEGIN; SET LOCAL lock_timeout = '2s'").await?;
    connection.one(LOCK, &[&schema]).await?;
    let before = found(connection, schema).await?;
    if (FIRST..version).contains(&before) {
        // Nobody writes meanwhile, so it meets no deadlock with a host.
        connection.one(TURN, &[]).await?;
    }
    if before == 0 {
        // A role that may not create schemas may use one that the owner of the database has created.
        if connection.optional(EXISTS, &[&schema]).await?.is_none() {
            connection.batch(&format!("CREATE SCHEMA \"{schema}\"")).await?;
        }
        connection
            .batch("CREATE TABLE schema_version (version bigint NOT NULL); INSERT INTO schema_version VALUES (0)")
            .await?;
    }
    let made = usize::try_from(before - FIRST + 1).unwrap_or(0);
    for step in &steps[made..] {
        connection.batch(step).await?;
    }
    if before < version {
        connection.batch(&format!("UPDATE schema_version SET version = {version}")).await?;
    }
    connection.batch("COMMIT").await?;
    Ok(before)
}

#[cfg(test)]
#[path = "schema/tests.rs"]
mod tests;

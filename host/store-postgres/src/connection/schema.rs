//! The schema and its version.

use wasmill_store::StoreError;

use crate::connection::database::Connection;
use crate::connection::fault::Result;

/// The steps from an empty schema to the current one.
const STEPS: [&str; 1] = [include_str!("0001_schema.sql")];

/// The version that this build writes and reads.
pub(crate) const VERSION: i64 = STEPS.len() as i64;

const EXISTS: &str = "SELECT to_regclass('schema_version') IS NOT NULL";
const FOUND: &str = "SELECT version FROM schema_version";

/// Migrates the schema, in one transaction; creates it if it is missing.
pub(crate) async fn migrate(
    connection: &Connection,
    schema: &str,
    database: &str,
) -> Result<std::result::Result<(), StoreError>> {
    connection.batch(&format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\"")).await?;
    connection.batch("BEGIN").await?;
    let mut found = 0;
    if connection.one(EXISTS, &[]).await?.get(0) {
        found = connection.one(FOUND, &[]).await?.get(0);
    } else {
        connection
            .batch("CREATE TABLE schema_version (version bigint NOT NULL); INSERT INTO schema_version VALUES (0)")
            .await?;
    }
    if found > VERSION {
        connection.batch("ROLLBACK").await?;
        return Ok(Err(StoreError::Newer { database: database.to_owned(), found, supported: VERSION }));
    }
    for step in &STEPS[usize::try_from(found).unwrap_or(0)..] {
        connection.batch(step).await?;
    }
    connection.batch(&format!("UPDATE schema_version SET version = {VERSION}; COMMIT")).await?;
    Ok(Ok(()))
}

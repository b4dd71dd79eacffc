//! Loads and stores what the tasks of limited keys take up. The first host counts them; after that every writer stores what
//! it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmill_store::rules::key_usage::{KeyChange, KeyDelta, KeyUsage};

use crate::connection::database::{Connection, Write};
use crate::connection::fault::Result;
use crate::read::rows::{get, limit_key};
use crate::writer::batch::Batch;

const USAGE: &str = "SELECT key, waiting, stored_bytes FROM key_usage";
const CLEAR: &str = "DELETE FROM key_usage";
/// A host of a version that does not count them may have been here.
const RECOUNT: &str = "
    INSERT INTO key_usage (key, waiting, stored_bytes)
    SELECT limit_key, count(*) FILTER (WHERE state IN ('available', 'scheduled', 'suspended', 'blocked')),
        sum(coalesce(input_bytes, 0) + coalesce(files_in, 0)
            + CASE WHEN finished_at IS NULL THEN 0 ELSE coalesce(length(result), 0) + coalesce(files_out, 0)
            + coalesce((SELECT length(body) FROM log WHERE log.seq = task.seq), 0) END)
    FROM task WHERE limit_key IS NOT NULL GROUP BY limit_key";
const COUNT: &str = "
    INSERT INTO key_usage (key, waiting, stored_bytes) SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])
    ON CONFLICT (key) DO UPDATE SET waiting = key_usage.waiting + excluded.waiting,
        stored_bytes = key_usage.stored_bytes + excluded.stored_bytes";
/// The bytes of an ended task that its end has added.
const ENDED_BYTES: &str = "
    SELECT (coalesce(length(result), 0) + coalesce(files_out, 0) + coalesce((SELECT length(body) FROM log WHERE log.seq = task.seq), 0))::bigint
    FROM task WHERE seq = $1";
/// The key of a task and all bytes that it takes up.
const STORED_BYTES: &str = "
    SELECT limit_key, (coalesce(input_bytes, 0) + coalesce(files_in, 0)
        + CASE WHEN finished_at IS NULL THEN 0 ELSE coalesce(length(result), 0) + coalesce(files_out, 0)
        + coalesce((SELECT length(body) FROM log WHERE log.seq = task.seq), 0) END)::bigint
    FROM task WHERE seq = $1 AND limit_key IS NOT NULL";

/// Loads what was stored last.
pub(crate) async fn load(connection: &Connection) -> Result<BTreeMap<Arc<str>, KeyUsage>> {
    let mut usage = BTreeMap::new();
    for row in connection.query(USAGE, &[]).await? {
        let change = KeyChange { waiting: get(&row, 1)?, stored_bytes: get(&row, 2)? };
        usage.insert(get::<&str>(&row, 0)?.into(), KeyUsage::default().after(change));
    }
    Ok(usage)
}

/// Counts all tasks of limited keys anew.
pub(crate) async fn recount(connection: &Connection) -> Result<()> {
    connection.execute(CLEAR, &[]).await?;
    connection.execute(RECOUNT, &[]).await?;
    Ok(())
}

/// Stores the changes of a batch.
pub(crate) fn write(key_delta: &KeyDelta) -> Option<Write<'_>> {
    let changes = key_delta.changes();
    (!changes.is_empty()).then(|| Write {
        sql: COUNT,
        values: vec![
            Box::new(changes.iter().map(|(key, _)| *key).collect::<Vec<_>>()),
            Box::new(changes.iter().map(|(_, change)| change.waiting).collect::<Vec<_>>()),
            Box::new(changes.iter().map(|(_, change)| change.stored_bytes).collect::<Vec<_>>()),
        ],
    })
}

/// Counts the result and the log of a task that has just ended.
pub(crate) async fn ended(batch: &mut Batch<'_>, seq: i64, key: Option<&Arc<str>>) -> Result<()> {
    let Some(key) = key else { return Ok(()) };
    if let Some(row) = batch.connection.optional(ENDED_BYTES, &[&seq]).await? {
        batch.effects.key_delta.record_bytes(key, get(&row, 0)?);
    }
    Ok(())
}

/// Uncounts a task that is about to be removed; returns its limited key.
pub(crate) async fn removing(batch: &mut Batch<'_>, seq: i64) -> Result<Option<Arc<str>>> {
    if !batch.has_limited_keys() {
        return Ok(None);
    }
    let Some(row) = batch.connection.optional(STORED_BYTES, &[&seq]).await? else { return Ok(None) };
    let (key, bytes) = (limit_key(&row, 0)?, get::<i64>(&row, 1)?);
    if let Some(key) = &key {
        batch.effects.key_delta.record_bytes(key, -bytes);
    }
    Ok(key)
}

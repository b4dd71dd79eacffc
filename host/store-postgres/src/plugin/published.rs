//! Plugins are published with a version that grows over all hosts, so no host ever goes back.
//!
//! The bytes are written before, outside of the turn, by their digest; the publication then names them.

use async_trait::async_trait;
use wasmill_model::{PluginName, Timestamp};
use wasmill_store::{PluginFiles, PluginSignatures, PublishedPlugin, StoreError};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::read::rows::{get, nanos, parsed, size, time};
use crate::writer::batch::{Batch, Operation};

/// Bytes of a row.
const PART_BYTES: usize = 1 << 20;

/// Bytes of all published plugins.
const ALL_BYTES_MAX: i64 = 4 << 30;

const LIST: &str = "SELECT name, version, bundle, is_removed, host, at FROM plugin ORDER BY version";
const FILES: &str = "
    SELECT digest, manifest, schema_name, schema, size_bytes, signature, manifest_signature, schema_signature FROM plugin
    WHERE name = $1 AND version = $2 AND NOT is_removed";
const PART: &str = "SELECT body FROM plugin_part WHERE digest = $1 AND part = $2";
const ADD_PART: &str =
    "INSERT INTO plugin_part (digest, part, body) VALUES ($1, $2, $3) ON CONFLICT (digest, part) DO NOTHING";
const HAS_PARTS: &str = "SELECT count(*) FROM plugin_part WHERE digest = $1";
const OTHER_BYTES: &str = "
    SELECT coalesce(sum(size_bytes), 0)::bigint FROM plugin WHERE name <> $1 AND NOT is_removed";
const PUBLISH: &str = "
    INSERT INTO plugin (name, version, bundle, digest, size_bytes, manifest, schema_name, schema, host, at, signature,
        manifest_signature, schema_signature)
    SELECT $1, (SELECT coalesce(max(version), 0) + 1 FROM plugin), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12
    ON CONFLICT (name) DO UPDATE SET version = excluded.version, bundle = excluded.bundle, digest = excluded.digest,
        size_bytes = excluded.size_bytes, manifest = excluded.manifest, schema_name = excluded.schema_name,
        schema = excluded.schema, host = excluded.host, at = excluded.at, signature = excluded.signature,
        manifest_signature = excluded.manifest_signature, schema_signature = excluded.schema_signature,
        is_removed = false
    RETURNING version";
const UNPUBLISH: &str = "
    UPDATE plugin SET version = (SELECT max(version) + 1 FROM plugin), is_removed = true, host = $3, at = $4
    WHERE name = $1 AND NOT is_removed AND ($2::text IS NULL OR bundle = $2)
    RETURNING version";
/// Those that another host writes at this moment are named by nothing yet: its publication finds that they are gone.
const DROP_PARTS: &str = "
    DELETE FROM plugin_part WHERE NOT EXISTS (
        SELECT FROM plugin WHERE plugin.digest = plugin_part.digest AND NOT is_removed)";

/// Reads what was published last.
pub(crate) async fn list(connection: &Connection) -> Result<Vec<PublishedPlugin>> {
    let rows = connection.query(LIST, &[]).await?;
    let published = |row| {
        Ok(PublishedPlugin {
            name: parsed(row, 0)?,
            version: get(row, 1)?,
            bundle: get(row, 2)?,
            is_removed: get(row, 3)?,
            host: get(row, 4)?,
            at: time(row, 5)?,
        })
    };
    rows.iter().map(published).collect()
}

/// Reads the files of a publication; `None` if there is a newer one.
pub(crate) async fn files(
    connection: &Connection,
    published: &PublishedPlugin,
) -> Result<Option<PluginFiles>> {
    let found = connection.optional(FILES, &[&published.name.as_str(), &published.version]).await?;
    let Some(row) = found else { return Ok(None) };
    let digest: String = get(&row, 0)?;
    let mut wasm = Vec::new();
    for part in 0_i64.. {
        let Some(row) = connection.optional(PART, &[&digest, &part]).await? else { break };
        wasm.extend(get::<&[u8]>(&row, 0)?);
    }
    if size(wasm.len()) != get::<i64>(&row, 4)? {
        return Ok(None);
    }
    let name: Option<String> = get(&row, 2)?;
    let schema = name.zip(get(&row, 3)?);
    let signatures = PluginSignatures { wasm: get(&row, 5)?, manifest: get(&row, 6)?, schema: get(&row, 7)? };
    let (bundle, manifest) = (published.bundle.clone(), get(&row, 1)?);
    Ok(Some(PluginFiles { bundle, digest, wasm, manifest, schema, signatures }))
}

/// Writes the bytes of a plugin, a part at a time.
pub(crate) async fn write_parts(connection: &Connection, files: &PluginFiles) -> Result<()> {
    for (part, body) in (0_i64..).zip(files.wasm.chunks(PART_BYTES)) {
        connection.execute(ADD_PART, &[&files.digest, &part, &body]).await?;
    }
    Ok(())
}

/// Publishes a plugin whose parts are written.
#[derive(Debug)]
pub(crate) struct Publish {
    pub(crate) name: PluginName,
    /// Without the plugin file.
    pub(crate) files: PluginFiles,
    pub(crate) size_bytes: usize,
    pub(crate) host: String,
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Operation for Publish {
    /// The version; `None` if parts are missing.
    type Answer = std::result::Result<Option<i64>, StoreError>;
    const DURABLE: bool = true;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<Self::Answer> {
        let Self { name, files, size_bytes, host, now } = self;
        let connection = batch.connection;
        let parts: i64 = connection.one(HAS_PARTS, &[&files.digest]).await?.get(0);
        if parts != size(size_bytes.div_ceil(PART_BYTES)) {
            return Ok(Ok(None));
        }
        let others: i64 = connection.one(OTHER_BYTES, &[&name.as_str()]).await?.get(0);
        if others.saturating_add(size(*size_bytes)) > ALL_BYTES_MAX {
            let message = format!(
                "all published plugins together would have more than {} GiB; delete some first",
                ALL_BYTES_MAX >> 30
            );
            return Ok(Err(StoreError::Refused { message }));
        }
        let schema = files.schema.as_ref();
        let (schema_name, schema) = (schema.map(|(name, _)| name), schema.map(|(_, bytes)| bytes));
        let values: crate::connection::database::Params<'_> = &[
            &name.as_str(),
            &files.bundle,
            &files.digest,
            &size(*size_bytes),
            &files.manifest,
            &schema_name,
            &schema,
            host,
            &nanos(*now),
            &files.signatures.wasm,
            &files.signatures.manifest,
            &files.signatures.schema,
        ];
        let row = connection.one(PUBLISH, values).await?;
        connection.execute(DROP_PARTS, &[]).await?;
        Ok(Ok(Some(row.get(0))))
    }
}

/// Removes a plugin at all hosts.
#[derive(Debug)]
pub(crate) struct Unpublish {
    pub(crate) name: PluginName,
    /// Only if this was published last.
    pub(crate) bundle: Option<String>,
    pub(crate) host: String,
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Operation for Unpublish {
    type Answer = Option<i64>;
    const DURABLE: bool = true;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<Option<i64>> {
        let Self { name, bundle, host, now } = self;
        let removed =
            batch.connection.optional(UNPUBLISH, &[&name.as_str(), bundle, host, &nanos(*now)]).await?;
        batch.connection.execute(DROP_PARTS, &[]).await?;
        Ok(removed.map(|row| row.get(0)))
    }
}

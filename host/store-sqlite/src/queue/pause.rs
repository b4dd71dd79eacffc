//! Paused plugins, or a pause of everything.

use rusqlite::Connection;
use rusqlite::types::Type;
use wasmill_model::PluginName;

use crate::writer::batch::{Batch, Operation};

pub(crate) const PAUSED: &str = "SELECT plugin FROM pause";
pub(crate) const PAUSE: &str = "INSERT OR IGNORE INTO pause (plugin) VALUES (?1)";
pub(crate) const RESUME: &str = "DELETE FROM pause WHERE plugin = ?1";

/// Pauses or resumes a plugin, or everything.
#[derive(Debug)]
pub(crate) struct Pause {
    pub(crate) plugin: Option<PluginName>,
    pub(crate) paused: bool,
}

impl Operation for Pause {
    type Answer = ();
    const DURABLE: bool = true;

    fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        let sql = if self.paused { PAUSE } else { RESUME };
        // The empty name, which no plugin has, stands for everything.
        let name = self.plugin.as_ref().map_or("", PluginName::as_str);
        batch.connection.prepare_cached(sql)?.execute([name])?;
        Ok(())
    }
}

/// Returns what is paused; `None` stands for everything.
pub(crate) fn paused(connection: &Connection) -> rusqlite::Result<Vec<Option<PluginName>>> {
    let mut statement = connection.prepare_cached(PAUSED)?;
    let rows = statement.query_map([], |row| {
        let name = row.get_ref(0)?.as_str()?;
        if name.is_empty() {
            return Ok(None);
        }
        let invalid = |error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error));
        name.parse().map(Some).map_err(invalid)
    })?;
    rows.collect()
}

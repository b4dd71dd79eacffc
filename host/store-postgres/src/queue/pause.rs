//! Paused plugins, or a pause of everything.

use async_trait::async_trait;
use wasmill_model::PluginName;

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::read::rows::{get, parsed};
use crate::writer::batch::{Batch, Operation};

const PAUSED: &str = "SELECT plugin FROM pause";
const PAUSE: &str = "INSERT INTO pause (plugin) VALUES ($1) ON CONFLICT DO NOTHING";
const RESUME: &str = "DELETE FROM pause WHERE plugin = $1";

/// Pauses or resumes a plugin, or everything.
#[derive(Debug)]
pub(crate) struct Pause {
    pub(crate) plugin: Option<PluginName>,
    pub(crate) paused: bool,
}

#[async_trait]
impl Operation for Pause {
    type Answer = ();
    const DURABLE: bool = true;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<()> {
        let sql = if self.paused { PAUSE } else { RESUME };
        // The empty name, which no plugin has, stands for everything.
        let name = self.plugin.as_ref().map_or("", PluginName::as_str);
        batch.connection.execute(sql, &[&name]).await?;
        Ok(())
    }
}

/// Returns what is paused; `None` stands for everything.
pub(crate) async fn paused(connection: &Connection) -> Result<Vec<Option<PluginName>>> {
    let rows = connection.query(PAUSED, &[]).await?;
    let paused = rows
        .iter()
        .map(|row| if get::<&str>(row, 0)?.is_empty() { Ok(None) } else { parsed(row, 0).map(Some) });
    paused.collect()
}

//! The operations of shared plugins.

use async_trait::async_trait;
use wasmill_model::{PluginName, Timestamp};
use wasmill_store::{PluginFiles, PublishedPlugin, SharedPlugins, StoreError};

use crate::plugin::published::{self, Publish, Unpublish};
use crate::postgres::Postgres;

/// How often the parts of a plugin are written again if another publication has dropped them meanwhile.
const TRIES: usize = 5;

#[async_trait]
impl SharedPlugins for Postgres {
    fn shares_plugins(&self) -> bool {
        true
    }

    async fn published_plugins(&self) -> Result<Vec<PublishedPlugin>, StoreError> {
        self.readers.look(async move |connection| published::list(&connection).await).await
    }

    async fn plugin_files(&self, published: PublishedPlugin) -> Result<Option<PluginFiles>, StoreError> {
        self.readers.read(async move |connection| published::files(&connection, &published).await).await
    }

    async fn publish_plugin(
        &self,
        name: PluginName,
        files: PluginFiles,
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        let (host, size_bytes) = (self.others.own.name.clone(), files.wasm.len());
        let bare = PluginFiles { wasm: Vec::new(), ..files.clone() };
        for _ in 0..TRIES {
            let files = files.clone();
            self.readers
                .write(async move |connection| published::write_parts(&connection, &files).await)
                .await?;
            let (name, files, host) = (name.clone(), bare.clone(), host.clone());
            if let Some(version) = self.writer.write(Publish { name, files, size_bytes, host, now }).await?? {
                return Ok(version);
            }
        }
        let message = "other hosts publish plugins at the same time; try again".to_owned();
        Err(StoreError::Unavailable { message })
    }

    async fn unpublish_plugin(
        &self,
        name: PluginName,
        bundle: Option<String>,
        now: Timestamp,
    ) -> Result<Option<i64>, StoreError> {
        let host = self.others.own.name.clone();
        self.writer.write(Unpublish { name, bundle, host, now }).await
    }

    fn set_plugins_version(&self, version: i64) {
        self.others.own.set_plugins_version(version);
    }
}

//! The plugins that the hosts of a database share.

use wasmill_model::{PluginName, Timestamp};

use crate::{PluginFiles, PublishedPlugin, StoreError};

/// The plugins that the hosts of a database share. A database that only one host can open shares none. See
/// [`Backend`](crate::Backend) for what holds for every method.
#[async_trait::async_trait]
pub trait SharedPlugins {
    /// Returns true if plugins are shared.
    fn shares_plugins(&self) -> bool {
        false
    }

    /// Returns what was published last under each name, removals included.
    async fn published_plugins(&self) -> Result<Vec<PublishedPlugin>, StoreError> {
        Ok(Vec::new())
    }

    /// Returns the files of a publication; `None` if there is a newer one.
    async fn plugin_files(&self, _published: PublishedPlugin) -> Result<Option<PluginFiles>, StoreError> {
        Ok(None)
    }

    /// Publishes a plugin to all hosts; durable on return. Returns its version, which is higher than that of every
    /// publication before.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] if all published plugins together would be too large.
    async fn publish_plugin(
        &self,
        _name: PluginName,
        _files: PluginFiles,
        _now: Timestamp,
    ) -> Result<i64, StoreError> {
        Ok(0)
    }

    /// Removes a plugin at all hosts; durable on return. With a bundle, only if that was published last. Returns the
    /// version of the removal.
    async fn unpublish_plugin(
        &self,
        _name: PluginName,
        _bundle: Option<String>,
        _now: Timestamp,
    ) -> Result<Option<i64>, StoreError> {
        Ok(None)
    }

    /// Tells the other hosts up to which version this one runs what was published.
    fn set_plugins_version(&self, _version: i64) {}
}

//! What is paused, in memory.

use std::collections::HashSet;

use wasmill_model::PluginName;
use wasmill_store::{Store, StoreError};

/// What is paused; `None` stands for the whole queue.
#[derive(Debug, Default)]
pub(crate) struct Paused(pub(crate) HashSet<Option<PluginName>>);

impl Paused {
    /// Loads the pauses that the last host stored.
    pub(crate) async fn load(store: &Store) -> Result<Self, StoreError> {
        Ok(Self(store.paused().await?.into_iter().collect()))
    }

    /// Returns true if tasks of this plugin must not be claimed.
    pub(crate) fn contains(&self, plugin: &PluginName) -> bool {
        // The common case: nothing is paused.
        !self.0.is_empty() && (self.0.contains(&None) || self.0.contains(&Some(plugin.clone())))
    }
}

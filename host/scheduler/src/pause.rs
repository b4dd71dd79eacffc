//! What is paused: plugins, or everything. Tasks of theirs are not claimed; what runs goes on.
//!
//! The API changes it through [`Scheduler`], the dispatcher reads it. The store keeps it.

use std::collections::HashSet;
use std::sync::Arc;

use wasmill_model::PluginName;
use wasmill_store::{Store, StoreError};

use crate::scheduler::{Scheduler, run_detached};

/// What is paused now; `None` stands for everything.
#[derive(Debug, Default)]
pub(crate) struct Paused(HashSet<Option<PluginName>>);

impl Paused {
    /// Reads what was paused when the last host ended.
    async fn load(store: &Store) -> Result<Self, StoreError> {
        Ok(Self(store.paused().await?.into_iter().collect()))
    }

    /// Says whether tasks of this plugin are held back.
    pub(crate) fn contains(&self, plugin: &PluginName) -> bool {
        // Most of the time nothing is paused.
        !self.0.is_empty() && (self.0.contains(&None) || self.0.contains(&Some(plugin.clone())))
    }
}

impl Scheduler {
    /// Pauses a plugin, or with `None` everything, or resumes it. Durable on return: from then on no task of
    /// it is started, after a restart neither. What was paused by itself stays so when everything is resumed.
    ///
    /// # Errors
    ///
    /// Fails if the store does; then nothing has changed.
    pub async fn pause(&self, plugin: Option<PluginName>, paused: bool) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        run_detached(async move {
            // Not while tasks are claimed, so that none starts after this has returned, and one change at a
            // time, so that store and memory say the same.
            let claiming = shared.claiming.lock().await;
            shared.store.pause(plugin.clone(), paused).await?;
            if paused {
                shared.paused().0.insert(plugin);
            } else {
                shared.paused().0.remove(&plugin);
            }
            drop(claiming);
            shared.wakeup.notify_one();
            Ok(())
        })
        .await
    }

    /// Learns what was paused when the last host ended. To be called once, before [`Scheduler::run`].
    ///
    /// # Errors
    ///
    /// Fails if the store does.
    pub async fn load_paused(&self) -> Result<(), StoreError> {
        let _claiming = self.shared.claiming.lock().await;
        let paused = Paused::load(&self.shared.store).await?;
        *self.shared.paused() = paused;
        Ok(())
    }

    /// Says whether everything is paused.
    pub fn is_paused(&self) -> bool {
        self.shared.paused().0.contains(&None)
    }

    /// Says whether this plugin is paused, by itself.
    pub fn is_plugin_paused(&self, plugin: &PluginName) -> bool {
        self.shared.paused().0.contains(&Some(plugin.clone()))
    }
}

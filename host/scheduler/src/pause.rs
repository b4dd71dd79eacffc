//! Pausing plugins or the whole queue. Paused tasks are not claimed; running tasks continue.
//!
//! Changed by the API through [`Scheduler`], read by the dispatcher, persisted by the store.

use std::sync::Arc;

use wasmill_model::PluginName;
use wasmill_store::StoreError;

use crate::paused::Paused;
use crate::scheduler::{Scheduler, run_detached};

impl Scheduler {
    /// Pauses or resumes a plugin, or with `None` the whole queue. Durable on return: no paused task starts
    /// afterwards, even after a restart. A plugin paused on its own stays paused when the whole queue is resumed.
    ///
    /// # Errors
    ///
    /// Fails if the store does; nothing has changed then.
    pub async fn pause(&self, plugin: Option<PluginName>, paused: bool) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        run_detached(async move {
            // Under the claim lock, so no claim in progress starts a task after this returns. It also serialises
            // changes, so the store and memory stay equal.
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

    /// Loads the pauses that the last host stored. Call it once, before [`Scheduler::run`].
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

    /// Returns true if the whole queue is paused.
    pub fn is_paused(&self) -> bool {
        self.shared.paused().0.contains(&None)
    }

    /// Returns true if this plugin is paused on its own.
    pub fn is_plugin_paused(&self, plugin: &PluginName) -> bool {
        self.shared.paused().0.contains(&Some(plugin.clone()))
    }
}

//! Plugins that the hosts of a cluster share, as the runtime of one of them has them.
//!
//! Called by the API, which fetches copies of what other hosts have published.

use std::path::Path;

use wasmill_model::PluginName;

use crate::error::RuntimeError;
use crate::load::check;
use crate::load::loader::Loader;
use crate::load::registry::Registry;
use crate::plugin::info::{PluginInfo, PluginSource};

/// The shared plugins of a runtime.
#[derive(Clone, Copy)]
pub struct SharedVersions<'a> {
    pub(crate) loader: &'a Loader,
    pub(crate) registry: &'a Registry,
}

impl SharedVersions<'_> {
    /// Loads a copy of what another host has published, with the manifest beside it. It serves instead of the file of
    /// this host; if it is rejected, the last version of the cluster serves, and none of this host. Blocks while it
    /// compiles.
    ///
    /// # Errors
    ///
    /// Fails if the copy cannot be read.
    pub fn load(self, copy: &Path) -> Result<PluginInfo, RuntimeError> {
        let mut loaded = check::load(self.loader, copy)?;
        loaded.info.source = PluginSource::Cluster(copy.to_owned());
        let info = loaded.info.clone();
        self.loader.record(&loaded);
        self.registry.insert(loaded);
        Ok(info)
    }

    /// Takes a plugin out of service that another host has removed, though this host may have its file.
    pub fn hide(self, plugin: &PluginName) {
        self.registry.hide(plugin.as_str());
    }

    /// Lets the file of this host serve again, or the built-in plugin.
    pub fn release(self, plugin: &PluginName) {
        self.registry.release(plugin.as_str());
    }

    /// Returns the digest of the file of this host, if it could run, whether it does or not.
    pub fn ready_file(self, plugin: &PluginName) -> Option<String> {
        self.registry.ready_file(plugin)
    }

    /// Returns the plugins whose copies were rejected and may no longer be: the list of trusted files has changed since
    /// the last look, or a secret or a folder that the manifest names is there now. Reads the metadata of these files.
    pub fn to_load_again(self) -> Vec<PluginName> {
        let list_has_changed = self.loader.trust.list_has_changed();
        let rejected = self.registry.rejected_copies().into_iter();
        rejected.filter(|copy| list_has_changed || copy.has_changed()).map(|copy| copy.plugin).collect()
    }
}

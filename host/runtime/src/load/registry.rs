//! The plugins in service, by name, and the state of each file.
//!
//! Written by the watcher, read by every run. A file takes precedence over a built-in plugin of the same name, but
//! a broken file never does: the last good version stays in service.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use wasmill_model::PluginName;

use crate::link::plugin::Plugin;
use crate::load::folder::Fingerprint;
use crate::load::loader::Loaded;
use crate::plugin::config::PluginConfig;
use crate::plugin::info::{PluginDetails, PluginInfo, PluginSource, PluginState};

/// Why a plugin cannot run tasks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReadyError {
    /// There is no plugin of this name.
    #[error("there is no plugin '{0}'; it would be {0}.wasm in the plugins folder")]
    Unknown(PluginName),
    /// Its first version is being compiled.
    #[error("plugin '{0}' is being compiled; try again soon")]
    Compiling(PluginName),
    /// It was rejected, and there is no earlier version.
    #[error("plugin '{name}' was rejected: {reason}")]
    Rejected {
        /// Its name.
        name: PluginName,
        /// The reason, in a sentence.
        reason: String,
    },
}

/// The version of a plugin that runs tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct InService {
    /// The SHA-256 of its file in hexadecimal.
    pub digest: String,
    /// Its kind and configuration.
    pub details: Arc<PluginDetails>,
}

/// The plugins in service.
#[derive(Default)]
pub(crate) struct Registry {
    names: RwLock<BTreeMap<String, Entry>>,
}

/// The versions of one name.
#[derive(Default)]
struct Entry {
    built_in: Option<Version>,
    file: Option<Version>,
    /// What the hosts of the cluster have published, which comes before the file of this host. One without a plugin
    /// hides the file: another host has removed it.
    cluster: Option<Version>,
    /// What was last logged of the file.
    logged: Option<LoggedState>,
}

/// What is worth a log line when it changes: the file, its state, or its configuration.
#[derive(PartialEq)]
struct LoggedState {
    digest: Option<String>,
    state: PluginState,
    config: Option<Arc<PluginConfig>>,
}

struct Version {
    info: PluginInfo,
    /// The fingerprint of what was loaded.
    fingerprint: Option<Fingerprint>,
    /// The last good version.
    good: Option<GoodVersion>,
}

#[derive(Clone)]
struct GoodVersion {
    plugin: Arc<Plugin>,
    details: Arc<PluginDetails>,
}

/// A copy of what another host has published, which this one has rejected.
pub(crate) struct RejectedCopy {
    pub(crate) plugin: PluginName,
    file: PathBuf,
    fingerprint: Option<Fingerprint>,
}

impl RejectedCopy {
    /// Returns true if a secret or a folder that its manifest names has changed since it was loaded, or has come or gone.
    pub(crate) fn has_changed(&self) -> bool {
        self.fingerprint.as_ref().is_some_and(|earlier| {
            Fingerprint::of(&self.file, Some(earlier)).is_some_and(|current| current != *earlier)
        })
    }
}

impl Registry {
    /// Records that a file is being loaded.
    pub(crate) fn set_compiling(&self, name: &str, path: &Path, size_bytes: u64) {
        let info =
            PluginInfo { size_bytes, ..PluginInfo::compiling(name, PluginSource::File(path.to_owned())) };
        self.write().entry(name.to_owned()).or_default().set(info, None, None);
    }

    /// Inserts what was loaded. A valid version atomically replaces the previous one; existing runs keep the
    /// version that they started with.
    pub(crate) fn insert(&self, loaded: Loaded) {
        let mut names = self.write();
        let entry = names.entry(loaded.info.name.clone()).or_default();
        let state = LoggedState {
            digest: loaded.info.digest.clone(),
            state: loaded.info.state.clone(),
            config: loaded.info.details.as_ref().map(|details| Arc::clone(&details.config)),
        };
        if entry.logged.as_ref() != Some(&state) {
            log(&loaded.info, entry.plugin().is_some(), entry.built_in.is_some());
            entry.logged = Some(state);
        }
        let good = loaded.plugin.zip(loaded.info.details.clone());
        let good = good.map(|(plugin, details)| GoodVersion { plugin, details });
        entry.set(loaded.info, loaded.fingerprint, good);
    }

    /// Takes a file out of service; a built-in plugin of this name comes back.
    pub(crate) fn remove(&self, name: &str) {
        let mut names = self.write();
        let Some(entry) = names.get_mut(name) else { return };
        if entry.file.take().is_none() {
            return;
        }
        entry.logged = None;
        let built_in = entry.built_in.is_some();
        if !built_in && entry.cluster.is_none() {
            names.remove(name);
        }
        drop(names);
        tracing::info!(plugin = %name, built_in, "plugin is removed");
    }

    /// Hides the file of this host, as another one has removed the plugin.
    pub(crate) fn hide(&self, name: &str) {
        let mut names = self.write();
        let Some(entry) = names.get_mut(name) else { return };
        let Some(version) = entry.cluster.as_ref().or(entry.file.as_ref()) else { return };
        let state = PluginState::Rejected(
            "it was removed at another host of the cluster; change the file or upload it to publish it again"
                .to_owned(),
        );
        let info = PluginInfo { state, details: None, ..version.info.clone() };
        entry.cluster = Some(Version { info, fingerprint: None, good: None });
        drop(names);
        tracing::info!(plugin = %name, "plugin was removed at another host");
    }

    /// Lets the file of this host serve, or the built-in plugin of its name.
    pub(crate) fn release(&self, name: &str) {
        let mut names = self.write();
        let Some(entry) = names.get_mut(name) else { return };
        entry.cluster = None;
        if entry.file.is_none() && entry.built_in.is_none() {
            names.remove(name);
        }
    }

    pub(crate) fn get(&self, name: &PluginName) -> Option<Arc<Plugin>> {
        self.read().get(name.as_str()).and_then(Entry::plugin).cloned()
    }

    /// Returns the version of a plugin that runs tasks.
    pub(crate) fn in_service(&self, name: &PluginName) -> Option<InService> {
        let names = self.read();
        let GoodVersion { plugin, details } = names.get(name.as_str())?.good()?;
        Some(InService { digest: plugin.context.digest.to_string(), details: Arc::clone(details) })
    }

    /// Returns the digest of the file of this host, if it could run.
    pub(crate) fn ready_file(&self, name: &PluginName) -> Option<String> {
        let names = self.read();
        let file = names.get(name.as_str())?.file.as_ref()?;
        file.info.digest.clone().filter(|_| file.info.state == PluginState::Ready)
    }

    /// Returns the copies of what other hosts have published that were rejected.
    pub(crate) fn rejected_copies(&self) -> Vec<RejectedCopy> {
        let rejected = |(name, entry): (&String, &Entry)| {
            let Version { info, fingerprint, .. } = entry.cluster.as_ref()?;
            let (PluginState::Rejected(_), PluginSource::Cluster(file)) = (&info.state, &info.source) else {
                return None;
            };
            let (plugin, file, fingerprint) = (name.parse().ok()?, file.clone(), fingerprint.clone());
            Some(RejectedCopy { plugin, file, fingerprint })
        };
        self.read().iter().filter_map(rejected).collect()
    }

    /// Checks that a plugin is in service.
    pub(crate) fn check_ready(&self, name: &PluginName) -> Result<(), NotReadyError> {
        let names = self.read();
        let entry = names.get(name.as_str());
        if entry.is_some_and(|entry| entry.plugin().is_some()) {
            return Ok(());
        }
        Err(match entry.and_then(Entry::info).map(|info| info.state) {
            Some(PluginState::Rejected(reason)) => NotReadyError::Rejected { name: name.clone(), reason },
            Some(PluginState::Compiling) => NotReadyError::Compiling(name.clone()),
            _ => NotReadyError::Unknown(name.clone()),
        })
    }

    /// Returns the names of the plugins in service that satisfy a predicate.
    pub(crate) fn names(&self, passes: impl Fn(&Plugin) -> bool) -> Vec<PluginName> {
        let names = self.read();
        let in_service = names.values().filter_map(Entry::plugin);
        in_service.filter(|plugin| passes(plugin)).map(|plugin| plugin.context.name.clone()).collect()
    }

    pub(crate) fn is_built_in(&self, name: &PluginName) -> bool {
        self.read().get(name.as_str()).is_some_and(|entry| entry.built_in.is_some())
    }

    /// Returns one info per name.
    pub(crate) fn infos(&self) -> Vec<PluginInfo> {
        self.read().values().filter_map(Entry::info).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Entry>> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Entry>> {
        self.names.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Returns the version that runs tasks.
    fn good(&self) -> Option<&GoodVersion> {
        if let Some(cluster) = &self.cluster {
            return cluster.good.as_ref();
        }
        let file = self.file.as_ref().and_then(|version| version.good.as_ref());
        file.or_else(|| self.built_in.as_ref()?.good.as_ref())
    }

    fn plugin(&self) -> Option<&Arc<Plugin>> {
        self.good().map(|good| &good.plugin)
    }

    fn info(&self) -> Option<PluginInfo> {
        let version = self.cluster.as_ref().or(self.file.as_ref()).or(self.built_in.as_ref())?;
        let in_service = self.plugin().map(|plugin| plugin.context.digest.to_string());
        Some(PluginInfo { in_service, ..version.info.clone() })
    }

    fn set(&mut self, info: PluginInfo, fingerprint: Option<Fingerprint>, good: Option<GoodVersion>) {
        let slot = match info.source {
            PluginSource::BuiltIn => &mut self.built_in,
            PluginSource::File(_) => &mut self.file,
            PluginSource::Cluster(_) => &mut self.cluster,
        };
        let last_good = slot.take().and_then(|version| version.good);
        *slot = Some(Version { info, fingerprint, good: good.or(last_good) });
    }
}

fn log(info: &PluginInfo, previous_in_service: bool, has_built_in: bool) {
    let PluginInfo { name, size_bytes, compile_ms, .. } = info;
    let digest = info.digest.as_deref();
    match (&info.state, &info.source) {
        (PluginState::Ready, PluginSource::File(path)) if has_built_in => {
            let path = path.display();
            tracing::info!(plugin = %name, %path, digest, size_bytes, compile_ms, "plugin is ready, and replaces the \
                built-in one of its name");
        }
        (PluginState::Ready, _) => {
            tracing::info!(plugin = %name, digest, size_bytes, compile_ms, "plugin is ready");
        }
        (PluginState::Rejected(reason), PluginSource::File(path) | PluginSource::Cluster(path)) => {
            let path = path.display();
            tracing::warn!(plugin = %name, %path, digest, reason, previous_in_service, "plugin is rejected");
        }
        (PluginState::Rejected(reason), PluginSource::BuiltIn) => {
            tracing::error!(plugin = %name, reason, "built-in plugin is rejected");
        }
        (PluginState::Compiling, _) => {}
    }
}

//! The plugins in service, by name, and what is known of each file that was looked at.
//!
//! Changed by the keeper, read by every run. A file stands above a built-in plugin of the same name,
//! but a broken one never does: what was last good stays in service.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use wasmill_model::PluginName;

use crate::kind::PluginKind;
use crate::loader::Loaded;
use crate::name_list::NameList;
use crate::plugin::Plugin;
use crate::plugin_config::PluginConfig;

/// What is known of one plugin or one file that is none.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginInfo {
    /// Its name, which is the stem of its file; not a valid plugin name if it was rejected for that.
    pub name: String,
    /// Where it came from.
    pub source: PluginSource,
    /// The SHA-256 of its bytes in hexadecimal; `None` if they were not read, or not yet.
    pub digest: Option<String>,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// How long it took to check and compile, in milliseconds.
    pub compile_ms: u64,
    /// What it is and on which terms it runs; `None` unless it is ready.
    pub details: Option<Arc<PluginDetails>>,
    /// What has become of its newest version.
    pub state: PluginState,
    /// The digest of the version that runs tasks now; an older one, or that which is built in, while
    /// the newest is compiled or after it was rejected.
    pub in_service: Option<String>,
}

/// What is known of a plugin that can run.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginDetails {
    /// The kind of file it is.
    pub kind: PluginKind,
    /// Whether it runs outside of the pools, because it is too large or too demanding for them.
    pub is_on_demand: bool,
    /// The names of what it imports, such as `wasi:io/poll@0.2.6`.
    pub imports: NameList,
    /// The names of what it exports.
    pub exports: NameList,
    /// What it may use and reach.
    pub config: Arc<PluginConfig>,
}

/// Where a plugin came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginSource {
    /// It is part of the binary.
    BuiltIn,
    /// It lies in the plugins folder.
    File(PathBuf),
}

/// What has become of the newest version of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginState {
    /// It runs tasks.
    Ready,
    /// It is being read and compiled.
    Compiling,
    /// It does not, and this is why, in a sentence.
    Rejected(String),
}

/// Why a plugin does not run tasks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReadyError {
    /// Nothing goes by this name.
    #[error("there is no plugin '{0}'; it would be {0}.wasm in the plugins folder")]
    Unknown(PluginName),
    /// Its first version is on the way.
    #[error("plugin '{0}' is being compiled; try again soon")]
    Compiling(PluginName),
    /// It cannot run, and no earlier version of it could.
    #[error("plugin '{name}' was rejected: {reason}")]
    Rejected {
        /// Its name.
        name: PluginName,
        /// Why, in a sentence.
        reason: String,
    },
}

impl PluginInfo {
    /// Says that something is being compiled of which nothing else is known yet.
    pub(crate) fn compiling(name: &str, source: PluginSource) -> Self {
        Self {
            name: name.to_owned(),
            source,
            digest: None,
            size_bytes: 0,
            compile_ms: 0,
            details: None,
            state: PluginState::Compiling,
            in_service: None,
        }
    }
}

/// The plugins in service.
#[derive(Default)]
pub(crate) struct Registry {
    names: RwLock<BTreeMap<String, Standing>>,
}

/// What goes by one name.
#[derive(Default)]
struct Standing {
    built_in: Option<Version>,
    file: Option<Version>,
    /// What the log was last told of the file.
    told: Option<News>,
}

/// What is worth a line in the log: another file, another end of loading it, other terms.
#[derive(PartialEq)]
struct News {
    digest: Option<String>,
    state: PluginState,
    config: Option<Arc<PluginConfig>>,
}

struct Version {
    info: PluginInfo,
    /// The last good one.
    plugin: Option<Arc<Plugin>>,
}

impl Registry {
    /// Marks that a file is being loaded.
    pub(crate) fn begin(&self, name: &str, path: &Path, size_bytes: u64) {
        let info =
            PluginInfo { size_bytes, ..PluginInfo::compiling(name, PluginSource::File(path.to_owned())) };
        self.write().entry(name.to_owned()).or_default().put(info, None);
    }

    /// Takes in what was loaded. If it is good, it takes the place of what was there, in one step;
    /// runs that have begun go on with the version they have.
    pub(crate) fn admit(&self, loaded: Loaded) {
        let mut names = self.write();
        let standing = names.entry(loaded.info.name.clone()).or_default();
        let news = News {
            digest: loaded.info.digest.clone(),
            state: loaded.info.state.clone(),
            config: loaded.info.details.as_ref().map(|details| Arc::clone(&details.config)),
        };
        if standing.told.as_ref() != Some(&news) {
            log(&loaded.info, standing.plugin().is_some());
            standing.told = Some(news);
        }
        standing.put(loaded.info, loaded.plugin);
    }

    /// Takes a file out of service; a built-in plugin of this name comes back.
    pub(crate) fn remove(&self, name: &str) {
        let mut names = self.write();
        let Some(standing) = names.get_mut(name) else { return };
        if standing.file.take().is_none() {
            return;
        }
        standing.told = None;
        let built_in = standing.built_in.is_some();
        if !built_in {
            names.remove(name);
        }
        drop(names);
        tracing::info!(plugin = %name, built_in, "plugin is removed");
    }

    pub(crate) fn get(&self, name: &PluginName) -> Option<Arc<Plugin>> {
        self.read().get(name.as_str()).and_then(Standing::plugin).cloned()
    }

    /// Says whether a plugin is in service, or why it is not.
    pub(crate) fn check_ready(&self, name: &PluginName) -> Result<(), NotReadyError> {
        let names = self.read();
        let standing = names.get(name.as_str());
        if standing.is_some_and(|standing| standing.plugin().is_some()) {
            return Ok(());
        }
        Err(match standing.and_then(Standing::info).map(|info| info.state) {
            Some(PluginState::Rejected(reason)) => NotReadyError::Rejected { name: name.clone(), reason },
            Some(PluginState::Compiling) => NotReadyError::Compiling(name.clone()),
            _ => NotReadyError::Unknown(name.clone()),
        })
    }

    /// Returns the names of the plugins in service that pass.
    pub(crate) fn names(&self, passes: impl Fn(&Plugin) -> bool) -> Vec<PluginName> {
        let names = self.read();
        let in_service = names.values().filter_map(Standing::plugin);
        in_service.filter(|plugin| passes(plugin)).map(|plugin| plugin.name.clone()).collect()
    }

    /// Says whether a plugin of this name is part of the binary.
    pub(crate) fn is_built_in(&self, name: &PluginName) -> bool {
        self.read().get(name.as_str()).is_some_and(|standing| standing.built_in.is_some())
    }

    /// Returns one entry for each name.
    pub(crate) fn infos(&self) -> Vec<PluginInfo> {
        self.read().values().filter_map(Standing::info).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Standing>> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Standing>> {
        self.names.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    /// Returns the version that runs tasks.
    fn plugin(&self) -> Option<&Arc<Plugin>> {
        let plugin_of = |version: &'_ Version| version.plugin.is_some();
        let version = self.file.as_ref().filter(|file| plugin_of(file)).or(self.built_in.as_ref());
        version.and_then(|version| version.plugin.as_ref())
    }

    fn info(&self) -> Option<PluginInfo> {
        let version = self.file.as_ref().or(self.built_in.as_ref())?;
        let in_service = self.plugin().map(|plugin| plugin.digest.to_string());
        Some(PluginInfo { in_service, ..version.info.clone() })
    }

    fn put(&mut self, info: PluginInfo, plugin: Option<Arc<Plugin>>) {
        let place = match info.source {
            PluginSource::BuiltIn => &mut self.built_in,
            PluginSource::File(_) => &mut self.file,
        };
        let last_good = place.take().and_then(|version| version.plugin);
        *place = Some(Version { info, plugin: plugin.or(last_good) });
    }
}

fn log(info: &PluginInfo, another_serves: bool) {
    let PluginInfo { name, size_bytes, compile_ms, .. } = info;
    let digest = info.digest.as_deref();
    match (&info.state, &info.source) {
        (PluginState::Ready, _) => {
            tracing::info!(plugin = %name, digest, size_bytes, compile_ms, "plugin is ready");
        }
        (PluginState::Rejected(reason), PluginSource::File(path)) => {
            let path = path.display();
            tracing::warn!(plugin = %name, %path, digest, reason, another_serves, "plugin is rejected");
        }
        (PluginState::Rejected(reason), PluginSource::BuiltIn) => {
            tracing::error!(plugin = %name, reason, "built-in plugin is rejected");
        }
        (PluginState::Compiling, _) => {}
    }
}

//! What is known of a plugin or of a rejected file, for the API and the command line.

use std::path::PathBuf;
use std::sync::Arc;

use crate::plugin::config::PluginConfig;
use crate::plugin::kind::PluginKind;
use crate::plugin::name_list::NameList;

/// Information on a plugin or a rejected file.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginInfo {
    /// Its name, the stem of its file; not a valid plugin name if it was rejected for that.
    pub name: String,
    /// Where it comes from.
    pub source: PluginSource,
    /// The SHA-256 of its bytes in hexadecimal; `None` if they have not been read.
    pub digest: Option<String>,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// How long checking and compiling took, in milliseconds.
    pub compile_ms: u64,
    /// Its kind and configuration; `None` unless it is ready.
    pub details: Option<Arc<PluginDetails>>,
    /// The state of its newest version.
    pub state: PluginState,
    /// The digest of the version that runs tasks; an older or built-in one while the newest is compiled or after it
    /// was rejected.
    pub in_service: Option<String>,
}

/// Details of a plugin that can run.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginDetails {
    /// The kind of the plugin.
    pub kind: PluginKind,
    /// Whether it runs on the on-demand engine.
    pub is_on_demand: bool,
    /// The names of its imports, such as `wasi:io/poll@0.2.6`.
    pub imports: NameList,
    /// The names of its exports.
    pub exports: NameList,
    /// Its limits and permissions.
    pub config: Arc<PluginConfig>,
}

/// Where a plugin comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginSource {
    /// Built into the binary.
    BuiltIn,
    /// A file of the plugins folder.
    File(PathBuf),
    /// A copy of what a host of the cluster has published.
    Cluster(PathBuf),
}

/// The state of the newest version of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginState {
    /// It runs tasks.
    Ready,
    /// It is being read and compiled.
    Compiling,
    /// It was rejected, for this reason.
    Rejected(String),
}

impl PluginInfo {
    /// Creates the info of a plugin that is being compiled.
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

//! One version of a plugin in service. A run keeps the version that it started with.

use std::sync::Arc;

use wasmill_egress::Connector;
use wasmill_model::PluginName;

use crate::denial_log::DenialLog;
use crate::files::descriptors::Descriptors;
use crate::files::granted::GrantedFolders;
use crate::kind::{PluginKind, Profile};
use crate::linked_plugin::LinkedPlugin;
use crate::memory::MemoryEstimate;
use crate::plugin_config::{InputCheck, PluginConfig};
use crate::samples::Samples;

/// A plugin that can run tasks.
pub(crate) struct Plugin {
    pub(crate) name: PluginName,
    /// The SHA-256 of its file, in hexadecimal.
    pub(crate) digest: Arc<str>,
    pub(crate) kind: PluginKind,
    pub(crate) profile: Profile,
    pub(crate) code: LinkedPlugin,
    pub(crate) config: Arc<PluginConfig>,
    /// The folders granted to it.
    pub(crate) folders: Arc<GrantedFolders>,
    /// The file descriptors shared by all guests.
    pub(crate) descriptors: Descriptors,
    /// Opens the connections of its outgoing HTTP.
    pub(crate) connector: Arc<Connector>,
    /// Receives the samples of its guests.
    pub(crate) samples: Arc<Samples>,
    /// The estimated memory of a run.
    pub(crate) estimate: MemoryEstimate,
    /// The denials logged so far.
    pub(crate) denial_log: DenialLog,
    /// An additional check of inputs, for built-in plugins.
    pub(crate) input_check: Option<InputCheck>,
}

//! One version of one plugin, in service. A run holds on to the version it began with.

use std::sync::Arc;

use wasmill_egress::Connector;
use wasmill_model::PluginName;

use crate::denials::Denials;
use crate::files::descriptors::Descriptors;
use crate::files::granted::GrantedFolders;
use crate::kind::{PluginKind, Profile};
use crate::linked_plugin::LinkedPlugin;
use crate::memory::Demand;
use crate::plugin_config::PluginConfig;
use crate::samples::Samples;

/// Says what is wrong with the JSON text of an input, which is `null` if there is none. It must be quick: it is
/// called for each task that is submitted.
pub type InputCheck = fn(&str) -> Result<(), String>;

/// A plugin that tasks can run on.
pub(crate) struct Plugin {
    pub(crate) name: PluginName,
    /// The SHA-256 of its file, in hexadecimal.
    pub(crate) digest: Arc<str>,
    pub(crate) kind: PluginKind,
    pub(crate) profile: Profile,
    pub(crate) code: LinkedPlugin,
    pub(crate) config: Arc<PluginConfig>,
    /// The folders that its guests see.
    pub(crate) folders: Arc<GrantedFolders>,
    /// What all guests may hold open together.
    pub(crate) descriptors: Descriptors,
    /// Where its outgoing HTTP goes.
    pub(crate) connector: Arc<Connector>,
    /// Where samples of its guests are put.
    pub(crate) samples: Arc<Samples>,
    /// What a run of it is expected to use.
    pub(crate) demand: Demand,
    /// What it asked for in vain, so that each is logged once.
    pub(crate) denials: Denials,
    /// Checks what a schema cannot, of a plugin that is part of the binary.
    pub(crate) input_check: Option<InputCheck>,
}

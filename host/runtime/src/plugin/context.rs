//! What the guests of one plugin version share: its identity, configuration, permissions and logs.
//!
//! Every guest holds it, and so does the list of instances. It knows no code, so that the host calls that code is
//! linked against can use it.

use std::sync::Arc;

use wasmill_egress::Connector;
use wasmill_model::PluginName;

use crate::engine::profile::Profile;
use crate::folders::descriptors::Descriptors;
use crate::folders::granted::GrantedFolders;
use crate::folders::scratch::root::ScratchRoot;
use crate::memory::MemoryEstimate;
use crate::observe::samples::Samples;
use crate::plugin::config::PluginConfig;
use crate::plugin::denial_log::DenialLog;
use crate::plugin::kind::PluginKind;
use crate::secrets::GrantedSecrets;

/// What the guests of one plugin version share.
pub(crate) struct PluginContext {
    pub(crate) name: PluginName,
    /// The SHA-256 of its file, in hexadecimal.
    pub(crate) digest: Arc<str>,
    pub(crate) kind: PluginKind,
    pub(crate) profile: Profile,
    pub(crate) config: Arc<PluginConfig>,
    pub(crate) folders: Arc<GrantedFolders>,
    /// Where the scratch folders of its runs are created.
    pub(crate) scratch: Arc<ScratchRoot>,
    /// The file descriptors shared by all guests.
    pub(crate) descriptors: Descriptors,
    /// Opens the connections of its outgoing HTTP.
    pub(crate) connector: Arc<Connector>,
    /// Receives the samples of its guests.
    pub(crate) samples: Arc<Samples>,
    /// The estimated memory of a run.
    pub(crate) estimate: MemoryEstimate,
    /// The secrets of the operator that its guests use; `None` for none.
    pub(crate) secrets: Option<Arc<GrantedSecrets>>,
    /// The denials logged so far.
    pub(crate) denial_log: DenialLog,
}

//! One version of a plugin in service. A run keeps the version that it started with.

use std::sync::Arc;

use crate::link::linked_plugin::LinkedPlugin;
use crate::plugin::config::InputCheck;
use crate::plugin::context::PluginContext;

/// A plugin that can run tasks.
pub(crate) struct Plugin {
    pub(crate) context: Arc<PluginContext>,
    pub(crate) code: LinkedPlugin,
    /// An additional check of inputs, for built-in plugins.
    pub(crate) input_check: Option<InputCheck>,
}

//! What a server prints once it serves.

use wasmill_api::Server;
use wasmill_runtime::{PluginState, Runtime};

use crate::config::Config;
use crate::output::note;
use crate::settings::LogFormat;

/// Prints what is served, where, and from which folders.
pub(super) fn print_banner(config: &Config, server: &Server, wasm: &Runtime, slots: u32, waiting: u64) {
    let plugins = wasm.plugins_info();
    let version = env!("CARGO_PKG_VERSION");
    let address = server.address();
    let data = std::path::absolute(&config.data).unwrap_or_else(|_| config.data.clone());
    let folder = std::path::absolute(&config.plugins).unwrap_or_else(|_| config.plugins.clone());
    let ready: Vec<_> = plugins
        .iter()
        .filter(|plugin| plugin.in_service.is_some())
        .map(|plugin| plugin.name.clone())
        .collect();
    let rejected = plugins.iter().filter(|plugin| matches!(plugin.state, PluginState::Rejected(_))).count();
    let ready = ready.join(", ");
    if config.log_format == LogFormat::Json {
        let (data, folder) = (data.display(), folder.display());
        tracing::info!(version, %address, plugins = ready, rejected, %folder, slots, %data, waiting, "serving");
        return;
    }
    let rejected = match rejected {
        0 => String::new(),
        rejected => format!("; {rejected} rejected, see above"),
    };
    note!(
        "\n  wasmill {version}\n\
         \x20 address   http://{address}\n\
         \x20 plugins   {ready}{rejected} (from {})\n\
         \x20 slots     {slots}\n\
         \x20 data      {} ({waiting} tasks waiting)\n",
        folder.display(),
        data.display(),
    );
}

//! What a server prints once it serves.

use wasmill_api::Server;
use wasmill_runtime::{PluginState, Runtime};

use crate::output::note;
use crate::settings::LogFormat;
use crate::settings::Settings;

/// Prints what is served, where, and from which folders.
pub(super) fn print_banner(settings: &Settings, server: &Server, wasm: &Runtime, slots: u32, waiting: u64) {
    let plugins = wasm.plugins_info();
    let version = env!("CARGO_PKG_VERSION");
    let address = server.address();
    let data = std::path::absolute(&settings.data).unwrap_or_else(|_| settings.data.clone());
    let folder = std::path::absolute(&settings.plugins).unwrap_or_else(|_| settings.plugins.clone());
    let ready: Vec<_> = plugins
        .iter()
        .filter(|plugin| plugin.in_service.is_some())
        .map(|plugin| plugin.name.clone())
        .collect();
    let rejected = plugins.iter().filter(|plugin| matches!(plugin.state, PluginState::Rejected(_))).count();
    let ready = ready.join(", ");
    if settings.log_format == LogFormat::Json {
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

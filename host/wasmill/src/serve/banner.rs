//! What a server prints once it serves.

use std::path::Path;

use wasmill_access::Access;
use wasmill_api::{Listen, Server};
use wasmill_runtime::{PluginInfo, PluginSource, PluginState, Runtime};

use crate::output::note;
use crate::settings::LogFormat;
use crate::settings::Settings;

/// Prints what is served, where, and from which folders.
pub(super) fn print_banner(
    settings: &Settings,
    server: &Server,
    access: &Access,
    wasm: &Runtime,
    slots: u32,
    waiting: u64,
) {
    let plugins = wasm.plugins_info();
    let version = env!("CARGO_PKG_VERSION");
    let (address, scheme) = (server.listen(), scheme(server, settings));
    let data = std::path::absolute(&settings.data).unwrap_or_else(|_| settings.data.clone());
    let folder = std::path::absolute(&settings.plugins).unwrap_or_else(|_| settings.plugins.clone());
    let ready: Vec<_> = plugins
        .iter()
        .filter(|plugin| plugin.in_service.is_some())
        .map(|plugin| plugin.name.clone())
        .collect();
    let rejected = plugins.iter().filter(|plugin| matches!(plugin.state, PluginState::Rejected(_))).count();
    let ready = ready.join(", ");
    let hint = hint(&plugins, &folder);
    if settings.log_format == LogFormat::Json {
        let (data, folder) = (data.display(), folder.display());
        tracing::info!(version, %address, plugins = ready, rejected, %folder, hint, slots, %data, waiting, "serving");
        return;
    }
    let keys = match access.keys().list().len() {
        _ if access.is_open() => String::new(),
        keys => format!("\u{20}\u{20}keys      {keys}, and every request needs one\n"),
    };
    let rejected = match rejected {
        0 => String::new(),
        rejected => format!("; {rejected} rejected, see above"),
    };
    let hint = hint.map(|hint| format!("\n\x20           {hint}")).unwrap_or_default();
    note!(
        "\n  wasmill {version}\n\
         \x20 address   {scheme}{address}\n\
         \x20 plugins   {ready}{rejected} (from {}){hint}\n\
         \x20 slots     {slots}\n\
         \x20 data      {} ({waiting} tasks waiting)\n{keys}",
        folder.display(),
        data.display(),
    );
}

/// Returns what precedes the address in a URL.
fn scheme(server: &Server, settings: &Settings) -> &'static str {
    match (server.listen(), &settings.tls_cert) {
        (Listen::Unix(_), _) => "",
        (Listen::Tcp(_), Some(_)) => "https://",
        (Listen::Tcp(_), None) => "http://",
    }
}

/// Says what to do if no plugin comes from the folder.
fn hint(plugins: &[PluginInfo], folder: &Path) -> Option<&'static str> {
    if plugins.iter().any(|plugin| plugin.source != PluginSource::BuiltIn) {
        None
    } else if folder.is_dir() {
        Some("the folder has no .wasm file: copy plugins into it at any time")
    } else {
        Some(
            "the folder does not exist: create it and copy .wasm files into it, or name another with --plugins",
        )
    }
}

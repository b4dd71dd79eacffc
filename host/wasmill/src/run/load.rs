//! Loads the one plugin of a run, without a server.

use anyhow::{Context, Result};
use wasmill_model::{Limits, PluginName};
use wasmill_runtime::{CacheConfig, InputBudget, LoaderConfig, PluginState, Runtime, RuntimeConfig};

use super::attempt::StopRequests;
use super::find::FoundPlugin;
use crate::built_in::INPUT_CHECKS;
use crate::exit::{Exit, cli_error};
use crate::process;
use crate::serve::protected::protected_beside_a_server;
use crate::settings::Settings;
use crate::terminal::status_line::{REDRAW_INTERVAL, SharedStatusLine, StatusView};

/// A runtime with the one plugin to run.
pub(crate) struct LoadedPlugin {
    pub(super) runtime: Runtime,
    pub(super) plugin: PluginName,
    pub(super) digest: String,
}

impl LoadedPlugin {
    /// Returns what is wrong with an input, as a server does before it accepts a task: a line for each violation.
    pub(crate) fn violations(&self, input: Option<&str>) -> Vec<String> {
        let violations = self.runtime.check_input(&self.plugin, input, &mut InputBudget::full());
        violations
            .iter()
            .map(|violation| format!("/input{}: {}", violation.pointer, violation.message))
            .collect()
    }
}

/// Loads the plugin and shows that it compiles. Returns `None` if a signal stops the command first.
pub(crate) async fn load_unless_stopped(
    settings: &Settings,
    source: FoundPlugin,
    status_line: &SharedStatusLine,
    stop: &mut StopRequests,
) -> Result<Option<LoadedPlugin>> {
    let title = source.name().to_owned();
    let limits = settings.limits();
    let loader = LoaderConfig { max_limits: Some(settings.max_limits()), ..plugins(settings) };
    let mut loading = tokio::task::spawn_blocking(move || load(limits, loader, &source));
    loop {
        tokio::select! {
            biased;
            () = stop.requested() => return Ok(None),
            loaded = &mut loading => return Ok(Some(loaded??)),
            () = tokio::time::sleep(REDRAW_INTERVAL) => {
                status_line.lock().draw(&StatusView {
                    title: title.clone(),
                    note: "compiling".to_owned(),
                    elapsed: stop.elapsed(),
                    ..StatusView::default()
                });
            }
        }
    }
}

/// Returns how commands other than `serve` load plugins.
pub(crate) fn plugins(settings: &Settings) -> LoaderConfig {
    LoaderConfig {
        http_roots: settings.http_roots.clone(),
        cache: process::cache_folder()
            .map(|folder| CacheConfig { bytes_max: settings.cache.as_u64(), ..CacheConfig::new(folder) }),
        scratch: process::cache_folder().map(|folder| folder.join("scratch")),
        input_checks: &INPUT_CHECKS,
        protected: protected_beside_a_server(settings),
        secrets: settings.secrets.secrets(),
        ..LoaderConfig::default()
    }
}

/// Creates a runtime with one slot and one plugin. Blocks while it compiles.
fn load(limits: Limits, plugins: LoaderConfig, source: &FoundPlugin) -> Result<LoadedPlugin> {
    let size = RuntimeConfig { slots: 1, limits, memory_total_bytes: None };
    let (builtins, file) = match source {
        FoundPlugin::BuiltIn(name, bytes) => (vec![(name.as_str(), *bytes)], None),
        FoundPlugin::File { path, .. } => (Vec::new(), Some(path)),
    };
    let runtime = Runtime::start(size, &builtins, plugins)?;
    let info = match file {
        Some(path) => runtime.load(path)?,
        None => runtime.plugins_info().pop().context("one plugin is built in")?,
    };
    match (&info.state, info.name.parse()) {
        (PluginState::Rejected(reason), _) => {
            let named = file.map_or(info.name.clone(), |path| path.display().to_string());
            Err(cli_error(Exit::Usage, format!("{named} cannot run: {reason}")))
        }
        (_, Err(_)) => Err(cli_error(Exit::Usage, format!("'{}' is not a valid plugin name", info.name))),
        (_, Ok(plugin)) => Ok(LoadedPlugin { runtime, plugin, digest: info.digest.unwrap_or_default() }),
    }
}

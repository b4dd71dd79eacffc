//! `wasmill plugin check`: checks a plugin file as `serve` would, without a server.

use anyhow::{Result, bail, ensure};
use wasmill_runtime::{
    LoaderConfig, NameList, PluginConfig, PluginDetails, PluginInfo, PluginState, PluginTrust, RuntimeConfig,
    ScheduleConfig, SignedTrust,
};

use crate::cli::CheckArgs;
use crate::exit::{self, read_error};
use crate::output::out;
use crate::run;
use crate::serve::loader_config::compiler_config;
use crate::settings::Settings;

/// Columns for lists of names.
const NAMES_COLUMNS: usize = 100;

/// Loads the file with the settings of `serve` and prints what it is.
pub(crate) fn check(args: CheckArgs) -> Result<()> {
    let CheckArgs { file, given } = args;
    let settings = Settings::load(given)?;
    let shown = file.display();
    let is_wasm = file.extension().is_some_and(|extension| extension == "wasm");
    ensure!(is_wasm, "{shown} is not a plugin: the file name must end in .wasm");
    if let Err(error) = file.metadata() {
        return Err(read_error(shown, &error));
    }
    let runtime = RuntimeConfig { slots: 1, limits: settings.limits(), memory_total_bytes: None };
    let plugins = LoaderConfig {
        max_limits: Some(settings.max_limits()),
        compiler: Some(compiler_config(&settings)),
        trust: trust_without_versions(&settings)?,
        // The settings of `run`, so checking a file and then running it compiles it once.
        ..run::plugins(&settings)
    };
    let info = wasmill_runtime::check(&runtime, &plugins, &file)?;
    match (&info.state, &info.details) {
        (PluginState::Rejected(reason), _) => bail!("{shown} is rejected: {reason}"),
        (_, Some(details)) => print(&info, details),
        (_, None) => out!("{} is ready", info.name),
    }
    Ok(())
}

/// Returns which files may be plugins. A check knows no versions of a server: it may run where that has no data folder.
fn trust_without_versions(settings: &Settings) -> Result<PluginTrust> {
    Ok(match settings.trust().map_err(|error| exit::settings_error(error.into()))? {
        PluginTrust::Signed(signed) => PluginTrust::Signed(SignedTrust { versions: None, ..signed }),
        trust => trust,
    })
}

fn print(info: &PluginInfo, details: &PluginDetails) {
    let PluginDetails { kind, is_on_demand, imports, exports, config } = details;
    out!("{} is ready: plugin '{}'", info.digest.as_deref().unwrap_or("it"), info.name);
    line("kind", kind.as_str());
    line(
        "profile",
        if *is_on_demand { "on-demand: instances are allocated outside of the pools" } else { "pooled" },
    );
    line("size", &format!("{} bytes, compiled in {} ms", info.size_bytes, info.compile_ms));
    names("imports", imports);
    names("exports", exports);
    print_config(config);
}

fn print_config(config: &PluginConfig) {
    let PluginConfig { description, limits, concurrency, retry, permissions, schema, schedule, .. } = config;
    if let Some(description) = description {
        line("about", description);
    }
    line("memory", &format!("{} bytes", limits.memory_bytes));
    line("timeout", &humantime::format_duration(limits.timeout).to_string());
    if let Some(cpu) = limits.cpu {
        line("cpu", &humantime::format_duration(cpu).to_string());
    }
    line("result", &format!("{} bytes", limits.result_bytes));
    line("logs", &format!("{} bytes", limits.log_bytes));
    line("disk", &format!("{} bytes", limits.disk_bytes));
    line("at once", &concurrency.map_or_else(|| "as many as slots".to_owned(), |max| max.to_string()));
    line("attempts", &retry.attempts_max.unwrap_or(1).to_string());
    line("http", &listed(&permissions.http));
    line("tcp", &listed(&permissions.tcp));
    line("env", &listed(&permissions.env.keys().collect::<Vec<_>>()));
    let dirs = permissions.dirs.iter().map(|dir| {
        let access = if dir.write { "read and write" } else { "read" };
        format!("{} as {} ({access})", dir.host.display(), dir.guest)
    });
    line("dirs", &listed(&dirs.collect::<Vec<_>>()));
    let scratch = permissions.scratch.as_ref().map(|rule| {
        format!("{} bytes in {} files as {}, for each run", rule.bytes_max, rule.files_max, rule.guest)
    });
    line("scratch", scratch.as_deref().unwrap_or("none"));
    let secrets = permissions.secrets.iter().map(|(name, rule)| format!("{name} ({rule})"));
    line("secrets", &listed(&secrets.collect::<Vec<_>>()));
    line("schema", if schema.is_some() { "checked for each task" } else { "none" });
    if let Some(ScheduleConfig { timing, .. }) = schedule {
        line("schedule", &format!("{} in {}", timing.expression(), timing.zone()));
    }
}

/// Prints the number of names, and the known ones in lines that fit a terminal.
fn names(what: &str, NameList { first, count }: &NameList) {
    line(what, &if *count == 0 { "none".to_owned() } else { count.to_string() });
    let mut row = String::new();
    for name in first {
        if !row.is_empty() && row.len() + name.len() > NAMES_COLUMNS {
            line("", &row);
            row.clear();
        }
        row.push_str(if row.is_empty() { "" } else { ", " });
        row.push_str(name);
    }
    if *count > first.len() {
        row.push_str(&format!(" and {} more", count - first.len()));
    }
    if !row.is_empty() {
        line("", &row);
    }
}

fn line(name: &str, value: &str) {
    out!("  {name:<9} {value}");
}

fn listed(items: &[impl ToString]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

//! `wasmill plugin check`: says of a file, without a server, what `serve` would.

use anyhow::{Result, bail, ensure};
use wasmill_runtime::{
    Names, PluginFacts, PluginInfo, PluginState, PluginsConfig, RuntimeConfig, ScheduleTerms, Terms,
};

use crate::cli::CheckArgs;
use crate::exit::unread;
use crate::output::say;
use crate::run;
use crate::serve::compiler;
use crate::settings::Config;

/// Columns that lists of names take.
const NAMES_COLUMNS: usize = 100;

/// Loads the file with the settings that `serve` would have here, and prints what it is.
pub(crate) fn check(args: CheckArgs) -> Result<()> {
    let CheckArgs { file, serve } = args;
    let config = Config::load(serve)?;
    let shown = file.display();
    let is_wasm = file.extension().is_some_and(|extension| extension == "wasm");
    ensure!(is_wasm, "{shown} is ignored: a plugin is a file whose name ends in .wasm");
    if let Err(error) = file.metadata() {
        return Err(unread(shown, &error));
    }
    let runtime = RuntimeConfig { slots: 1, limits: config.limits(), memory_total_bytes: None };
    let plugins = PluginsConfig {
        ceilings: Some(config.ceilings),
        compiler: Some(compiler(&config)),
        // That of `run`, so that checking a file and then running it compiles it once.
        ..run::plugins(&config)
    };
    let info = wasmill_runtime::check(&runtime, &plugins, &file)?;
    match (&info.state, &info.facts) {
        (PluginState::Rejected(reason), _) => bail!("{shown} is rejected: {reason}"),
        (_, Some(facts)) => print(&info, facts),
        (_, None) => say!("{} is ready", info.name),
    }
    Ok(())
}

fn print(info: &PluginInfo, facts: &PluginFacts) {
    let PluginFacts { kind, is_roomy, imports, exports, terms } = facts;
    say!("{} is ready: plugin '{}'", info.digest.as_deref().unwrap_or("it"), info.name);
    line("kind", kind.as_str());
    line("profile", if *is_roomy { "roomy: instances are made on demand" } else { "pooled" });
    line("size", &format!("{} bytes, compiled in {} ms", info.size_bytes, info.compile_ms));
    names("imports", imports);
    names("exports", exports);
    print_terms(terms);
}

fn print_terms(terms: &Terms) {
    let Terms { description, limits, concurrency, retry, permissions, schema, schedule, .. } = terms;
    if let Some(description) = description {
        line("about", description);
    }
    line("memory", &format!("{} bytes", limits.memory_bytes));
    line("timeout", &humantime::format_duration(limits.timeout).to_string());
    if let Some(cpu) = limits.cpu {
        line("cpu", &humantime::format_duration(cpu).to_string());
    }
    line("output", &format!("{} bytes", limits.output_bytes));
    line("logs", &format!("{} bytes", limits.log_bytes));
    line("disk", &format!("{} bytes", limits.disk_bytes));
    line("at once", &concurrency.map_or_else(|| "as many as slots".to_owned(), |most| most.to_string()));
    line("attempts", &retry.attempts_max.unwrap_or(1).to_string());
    line("http", &listed(&permissions.http));
    line("env", &listed(&permissions.env.keys().collect::<Vec<_>>()));
    let dirs = permissions.dirs.iter().map(|dir| {
        let access = if dir.write { "read and write" } else { "read" };
        format!("{} as {} ({access})", dir.host.display(), dir.guest)
    });
    line("dirs", &listed(&dirs.collect::<Vec<_>>()));
    line("schema", if schema.is_some() { "checked for each task" } else { "none" });
    if let Some(ScheduleTerms { timing, .. }) = schedule {
        line("schedule", &format!("{} in {}", timing.expression(), timing.zone()));
    }
}

/// Prints how many names there are, and then those that are known, in lines that fit a terminal.
fn names(what: &str, Names { first, count }: &Names) {
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
    say!("  {name:<9} {value}");
}

fn listed(items: &[impl ToString]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

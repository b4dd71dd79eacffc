//! Checks that the engine can be created for all slots, and that the compiler child process works.

use wasmill_runtime::{LoaderConfig, MemoryReset, PluginState, Runtime, RuntimeConfig};

use crate::built_in::BUILT_IN;
use crate::doctor::report::Check;
use crate::serve;
use crate::settings::Settings;

/// Creates the engine as `serve` does and compiles the built-in plugins; nothing is stored.
pub(super) fn checks(settings: &Settings) -> Vec<Check> {
    let limits = settings.limits();
    // The check of slots reports what does not fit.
    let Ok(slots) = serve::capacity::slots(settings, limits) else { return Vec::new() };
    let memory_total_bytes = Some(serve::capacity::memory_total(settings));
    let plugins = LoaderConfig {
        max_limits: Some(settings.max_limits()),
        http_roots: settings.http_roots.clone(),
        compiler: Some(serve::loader_config::compiler_config(settings)),
        ..LoaderConfig::default()
    };
    let runtime = RuntimeConfig { slots, limits, memory_total_bytes };
    let runtime = match Runtime::start(runtime, &BUILT_IN, plugins) {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::new(error));
            return vec![Check::fail(
                "engine",
                error,
                "serve does not start",
                "lower --slots, or fix what the message names",
            )];
        }
    };
    vec![engine(runtime.memory_reset()), child(&runtime)]
}

fn engine(reset: MemoryReset) -> Check {
    const NAME: &str = "engine";
    match reset {
        MemoryReset::ClearTouched => Check::ok(NAME, reset.to_string()),
        MemoryReset::Decommit => Check::warn(
            NAME,
            "the kernel cannot report which pages a guest has touched",
            reset.to_string(),
            "swapoff -a, and Linux 6.7 or later",
        ),
    }
}

fn child(runtime: &Runtime) -> Check {
    const NAME: &str = "compiler";
    let plugins = runtime.plugins_info();
    let rejected = plugins.iter().find_map(|plugin| match &plugin.state {
        PluginState::Rejected(reason) => Some(reason.clone()),
        _ => None,
    });
    match rejected {
        Some(reason) => Check::fail(
            NAME,
            format!("a child process failed to compile the built-in plugins: {reason}"),
            "only cached plugins can be used",
            "raise --compile-memory or --compile-timeout, and allow the server to start processes",
        ),
        None => {
            let took: u64 = plugins.iter().map(|plugin| plugin.compile_ms).sum();
            Check::ok(NAME, format!("a child process compiled the built-in plugins in {took} ms"))
        }
    }
}

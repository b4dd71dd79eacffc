//! Whether the engine can be made for all slots, and whether a child can be started that compiles.

use wasmill_runtime::{LoaderConfig, MemoryReset, PluginState, Runtime, RuntimeConfig};

use crate::doctor::report::Check;
use crate::serve;
use crate::settings::Config;

/// Makes the engine as `serve` does and compiles the plugins that are part of the binary; nothing is kept.
pub(super) fn checks(config: &Config) -> Vec<Check> {
    let limits = config.limits();
    // What does not fit is told by the check of slots.
    let Ok(slots) = serve::slots(config, limits) else { return Vec::new() };
    let memory_total_bytes = Some(serve::memory_total(config));
    let plugins = LoaderConfig {
        max_limits: Some(config.max_limits),
        http_roots: config.http_roots.clone(),
        compiler: Some(serve::compiler(config)),
        ..LoaderConfig::default()
    };
    let runtime = RuntimeConfig { slots, limits, memory_total_bytes };
    let runtime = match Runtime::start(runtime, &serve::BUILT_IN, plugins) {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::new(error));
            return vec![Check::fail(
                "engine",
                error,
                "serve does not start",
                "fewer --slots, or what the message names",
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
            "the kernel is not asked which pages a guest has touched",
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
            format!("a child process could not compile what is built in: {reason}"),
            "no plugin that is not in the cache can be used",
            "raise --compile-memory or --compile-timeout, and allow the server to start processes",
        ),
        None => {
            let took: u64 = plugins.iter().map(|plugin| plugin.compile_ms).sum();
            Check::ok(NAME, format!("a child process compiles; what is built in took {took} ms"))
        }
    }
}

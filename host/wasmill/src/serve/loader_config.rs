//! How plugins are found, compiled and bounded.
//!
//! Used by `serve`; the doctor and `plugin check` compile as it does.

use std::sync::Arc;

use anyhow::Result;
use tokio::sync::Notify;
use wasmill_runtime::{CacheConfig, CompilerConfig, LoaderConfig, WatchMode};

use super::protected::protected_paths;
use crate::built_in::INPUT_CHECKS;
use crate::settings::Settings;

/// Starts the running binary itself, even if another version has replaced its file.
const OWN_BINARY: &str = "/proc/self/exe";

/// The folder of the data folder in which runs have their scratch folders.
const SCRATCH: &str = "scratch";

/// Returns where plugins come from, and what they may ask for.
///
/// # Errors
///
/// Fails if a file that settings name cannot be read.
pub(super) fn loader_config(settings: &Settings, changed: &Arc<Notify>) -> Result<LoaderConfig> {
    let changed = Arc::clone(changed);
    Ok(LoaderConfig {
        folder: Some(settings.plugins.clone()),
        max_limits: Some(settings.max_limits()),
        watch: settings.watch_poll.map_or(WatchMode::Notify, WatchMode::Poll),
        http_roots: settings.http_roots.clone(),
        protected: protected_paths(settings),
        compiler: Some(compiler_config(settings)),
        cache: Some(CacheConfig { bytes_max: settings.cache.as_u64(), ..CacheConfig::new(&settings.data) }),
        scratch: Some(settings.data.join(SCRATCH)),
        input_checks: &INPUT_CHECKS,
        trust: settings.trust()?,
        secrets: settings.secrets.secrets(),
        on_change: Arc::new(move || changed.notify_one()),
        ..LoaderConfig::default()
    })
}

/// Returns the compiler settings: this binary runs as a child process with limits.
pub(crate) fn compiler_config(settings: &Settings) -> CompilerConfig {
    CompilerConfig {
        memory_bytes: settings.compile_memory.as_u64(),
        cpu: settings.compile_timeout,
        wall: settings.compile_timeout,
        ..CompilerConfig::new(OWN_BINARY)
    }
}

//! Where plugins come from and how they are loaded, as the binary configures it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::compile::cache::CacheConfig;
use crate::compile::config::CompilerConfig;
use crate::load::grants::ProtectedPath;
use crate::plugin::config::{InputCheck, MaxLimits, PluginConfig};
use crate::secrets::Secrets;
use crate::trust::PluginTrust;

/// The minimum interval between scans: copying a large file causes a storm of events.
pub(crate) const SCAN_INTERVAL_MIN: Duration = Duration::from_millis(50);
/// The interval between scans when no event arrives.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Where plugins come from, and how they are loaded.
#[derive(Clone)]
pub struct LoaderConfig {
    /// The folder whose `*.wasm` files are plugins; `None` for built-in plugins only.
    pub folder: Option<PathBuf>,
    /// The configuration of a plugin without a manifest; `None` for the limits of the host.
    pub default_config: Option<PluginConfig>,
    /// The maximum that a manifest may ask for; `None` for the limits of the host.
    pub max_limits: Option<MaxLimits>,
    /// A PEM file of certificates that outgoing HTTPS trusts in addition to the web's roots.
    pub http_roots: Option<PathBuf>,
    /// Files and folders of the server itself, which no plugin may be granted. The plugins folder is always
    /// included.
    pub protected: Vec<ProtectedPath>,
    /// How changes of the folder are detected.
    pub watch: WatchMode,
    /// The compiler. `None` compiles in this process, without limits: for trusted plugins.
    pub compiler: Option<CompilerConfig>,
    /// Where compiled plugins are cached, if at all.
    pub cache: Option<CacheConfig>,
    /// The folder for the scratch folders of runs, which may lie beside other things; `None` for the temporary folder of
    /// the system.
    pub scratch: Option<PathBuf>,
    /// How long the start waits for the plugins of the folder. Those that take longer come into service later.
    pub load_timeout: Duration,
    /// Input checks of built-in plugins, by plugin name.
    pub input_checks: &'static [(&'static str, InputCheck)],
    /// Which files may be plugins.
    pub trust: PluginTrust,
    /// The secrets that manifests may name.
    pub secrets: Secrets,
    /// Called when the plugins in service have changed. It must not own the runtime, which would then never be
    /// dropped.
    pub on_change: OnChange,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self {
            folder: None,
            default_config: None,
            max_limits: None,
            http_roots: None,
            protected: Vec::new(),
            watch: WatchMode::Notify,
            compiler: None,
            cache: None,
            scratch: None,
            load_timeout: Duration::from_secs(10),
            input_checks: &[],
            trust: PluginTrust::Any,
            secrets: Secrets::default(),
            on_change: Arc::new(|| {}),
        }
    }
}

/// How changes of the plugins folder are detected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WatchMode {
    /// By inotify, with a scan every 2 seconds as a fallback: bind mounts and network mounts may not send events.
    #[default]
    Notify,
    /// By scanning at this interval.
    Poll(Duration),
}

impl WatchMode {
    pub(crate) fn poll(self) -> Duration {
        match self {
            Self::Notify => POLL_INTERVAL,
            Self::Poll(interval) => interval.max(SCAN_INTERVAL_MIN),
        }
    }
}

/// Called when the plugins in service have changed. It runs on the watcher's thread and must not block.
pub type OnChange = Arc<dyn Fn() + Send + Sync>;

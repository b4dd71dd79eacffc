//! The handle that the binary creates and the scheduler calls.
//!
//! Owns the engines, the ticker and the plugins; dropping the last clone stops them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use wasmill_model::{
    BoxFuture, Cause, Failure, PluginName, Rate, RetryOn, RunRequest, RunStep, Runner, TaskId,
};
use wasmtime::Engine;

use crate::config::RuntimeConfig;
use crate::engine::engines::Engines;
use crate::engine::memory_reset::MemoryReset;
use crate::engine::pool;
use crate::engine::profile::Profile;
use crate::engine::swap::{self, SwapMonitor};
use crate::engine::ticker::Ticker;
use crate::error::RuntimeError;
use crate::guest::program::ProgramInput;
use crate::load::check;
use crate::load::config::LoaderConfig;
use crate::load::loader::Loader;
use crate::load::published::SharedVersions;
use crate::load::registry::{InService, NotReadyError, Registry};
use crate::load::upload::{self, RemoveOutcome, UploadError, UploadOutcome, UploadPreview, Uploaded};
use crate::load::watcher::PluginWatcher;
use crate::memory::{Budget, Gauge, ResidentMemory};
use crate::observe::load_stats::LoadStats;
use crate::observe::samples::GuestSampler;
use crate::observe::thread_monitor::ThreadMonitor;
use crate::plugin::config::PluginConfig;
use crate::plugin::info::PluginInfo;
use crate::plugin::kind::PluginKind;
use crate::plugin::schema::{InputBudget, Violation};
use crate::run::instances::{InstanceInfo, Instances, RunEntry};
use crate::run::started_run::StartedRun;

const SWAP_ENABLED: &str = "swap was enabled while the server runs, so memory of one guest could leak into \
                            the next; restart the server";

/// Runs plugins. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
}

struct Shared {
    loader: Arc<Loader>,
    ticker: Ticker,
    registry: Arc<Registry>,
    memory: Arc<Budget>,
    instances: Arc<Instances>,
    swap: SwapMonitor,
    folder: Option<PathBuf>,
    /// See [`Runtime::host_bytes`].
    host_bytes: Arc<AtomicU64>,
    threads: ThreadMonitor,
    watcher: Option<PluginWatcher>,
}

/// The memory of all runs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUsage {
    /// The budget.
    pub bytes_max: u64,
    /// The bytes in use, including those granted recently.
    pub used_bytes: u64,
}

/// The usage of the instance pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUsage {
    /// Instances that exist now.
    pub instances: u64,
    /// Linear memories in use now.
    pub memories: usize,
    /// Bytes of memory that free slots keep for reuse.
    pub unused_bytes_resident: usize,
}

impl Runtime {
    /// Starts a runtime like [`Runtime::start`], for trusted plugins in tests and benchmarks: compiles in this
    /// process, without limits and without a cache.
    ///
    /// # Errors
    ///
    /// Fails if there is no room for the slots, or if the folder exists but cannot be read.
    pub fn new(
        config: RuntimeConfig,
        builtins: &[(&str, &'static [u8])],
        plugins_folder: Option<&Path>,
    ) -> Result<Self, RuntimeError> {
        let plugins = LoaderConfig {
            folder: plugins_folder.map(Path::to_owned),
            load_timeout: Duration::from_secs(60),
            ..LoaderConfig::default()
        };
        Self::start(config, builtins, plugins)
    }

    /// Reserves the resources for all slots, loads the built-in plugins, and starts to watch the folder: a valid
    /// file replaces a built-in plugin or an older version.
    ///
    /// Blocks while plugins compile, at most for the load timeout.
    ///
    /// # Errors
    ///
    /// Fails if there is no room for the slots, or if the folder exists but cannot be read.
    pub fn start(
        config: RuntimeConfig,
        builtins: &[(&str, &'static [u8])],
        plugins: LoaderConfig,
    ) -> Result<Self, RuntimeError> {
        let loader = Arc::new(Loader::new(config, &plugins)?);
        let registry = Arc::new(Registry::default());
        let threads = ThreadMonitor::new();
        for &(name, wasm) in builtins {
            registry.insert(loader.load_built_in(name, wasm));
        }
        let watcher = match &plugins.folder {
            Some(folder) => Some(PluginWatcher::start(
                folder,
                plugins.watch,
                &loader,
                &registry,
                plugins.on_change,
                plugins.load_timeout,
                &threads,
            )?),
            None => None,
        };
        let host_bytes = Arc::<AtomicU64>::default();
        let gauge = gauge(&config, &loader.engines, Arc::clone(&host_bytes));
        let memory = Arc::new(Budget::new(pool::guests_bytes_max(&config), gauge));
        let instances = Arc::<Instances>::default();
        let on_tick = {
            let (memory, instances) = (Arc::clone(&memory), Arc::clone(&instances));
            let guard = threads.guard("epoch-ticker");
            move |is_last| {
                let _alive = &guard;
                memory.check(is_last, || instances.reservations());
            }
        };
        let ticker = Ticker::start(loader.engines.clone(), on_tick).map_err(RuntimeError::Ticker)?;
        let shared = Shared {
            swap: SwapMonitor::new(loader.engines.memory_reset(), swap::swaps()),
            loader,
            ticker,
            registry,
            memory,
            instances,
            folder: plugins.folder,
            host_bytes,
            threads,
            watcher,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Returns the counter of bytes that the host itself holds temporarily, such as request bodies. They are not
    /// attributed to guests.
    pub fn host_bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.host_bytes)
    }

    /// Waits until a thread of the runtime ends, and returns its name; a running runtime needs all of its threads.
    /// Does not keep the runtime alive.
    pub fn thread_ended(&self) -> impl Future<Output = &'static str> + Send + use<> {
        self.shared.threads.ended()
    }

    /// Loads one file outside of the watched folder, with the manifest beside it, and puts it into service unless
    /// it is rejected. Blocks while it compiles.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read. A file that is not a plugin is not an error: it is rejected, with a
    /// reason.
    pub fn load(&self, file: &Path) -> Result<PluginInfo, RuntimeError> {
        let loaded = check::load(&self.shared.loader, file)?;
        let info = loaded.info.clone();
        if loaded.plugin.is_some() {
            self.shared.registry.insert(loaded);
        }
        Ok(info)
    }

    /// Returns the plugins that hosts of a cluster share.
    pub fn shared_versions(&self) -> SharedVersions<'_> {
        SharedVersions { loader: &self.shared.loader, registry: &self.shared.registry }
    }

    /// Returns the plugins folder.
    pub fn folder(&self) -> Option<&Path> {
        self.shared.folder.as_deref()
    }

    /// Returns the configuration of a plugin in service.
    pub fn plugin_config(&self, plugin: &PluginName) -> Option<Arc<PluginConfig>> {
        self.shared.registry.get(plugin).map(|plugin| Arc::clone(&plugin.context.config))
    }

    /// Checks the input of a task against the schema of its plugin, or against what a program accepts. A plugin
    /// that is not in service has no violations.
    pub fn check_input(
        &self,
        plugin: &PluginName,
        input: Option<&str>,
        budget: &mut InputBudget,
    ) -> Vec<Violation> {
        let Some(plugin) = self.shared.registry.get(plugin) else { return Vec::new() };
        let schema = plugin.context.config.schema.as_ref();
        let violations = schema.map(|schema| schema.violations(input, budget)).unwrap_or_default();
        if let Some(check) = plugin.input_check {
            return check(input.unwrap_or("null")).err().map(Violation::for_input).into_iter().collect();
        }
        let is_program = matches!(plugin.context.kind, PluginKind::Command | PluginKind::Module);
        if !is_program || !violations.is_empty() {
            return violations;
        }
        match ProgramInput::read(input, &plugin.context.config.permissions) {
            Ok(_) => Vec::new(),
            Err(failure) => vec![Violation::for_input(failure.message)],
        }
    }

    /// Loads `bytes` as a plugin and publishes them as its file in the plugins folder, with the signature that came with
    /// them. On success they replace the version in service, otherwise it stays. Blocks while the plugin compiles.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are not a plugin, if they are not trusted, if the manifest grants permissions without pinning
    /// their digest, or if the folder cannot be written to.
    pub fn upload(
        &self,
        name: &PluginName,
        bytes: &[u8],
        signature: Option<&[u8]>,
    ) -> Result<UploadOutcome, UploadError> {
        let shared = &self.shared;
        let (folder, watcher) =
            shared.folder.as_deref().zip(shared.watcher.as_ref()).ok_or(UploadError::NoFolder)?;
        let candidate = upload::prepare(&shared.loader, folder, name, Uploaded { wasm: bytes, signature })?;
        let versions = candidate.loaded.versions.clone();
        let outcome = watcher.publish(candidate)?;
        shared.loader.trust.record(&versions);
        Ok(outcome)
    }

    /// Loads `bytes` as [`Runtime::upload`] would, and says what that would change; nothing is published. Blocks while
    /// the plugin compiles.
    ///
    /// # Errors
    ///
    /// See [`Runtime::upload`].
    pub fn preview_upload(
        &self,
        name: &PluginName,
        bytes: &[u8],
        signature: Option<&[u8]>,
    ) -> Result<UploadPreview, UploadError> {
        let shared = &self.shared;
        let folder = shared.folder.as_deref().ok_or(UploadError::NoFolder)?;
        upload::preview(&shared.loader, &shared.registry, folder, name, Uploaded { wasm: bytes, signature })
    }

    /// Removes the file of a plugin and takes it out of service; its manifest stays. A built-in plugin of the same
    /// name comes back into service.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be written to.
    pub fn remove(&self, name: &PluginName) -> Result<RemoveOutcome, UploadError> {
        self.shared.watcher.as_ref().ok_or(UploadError::NoFolder)?.remove(name)
    }

    /// Returns information on every plugin and every rejected file.
    pub fn plugins_info(&self) -> Vec<PluginInfo> {
        self.shared.registry.infos()
    }

    /// Returns the version of a plugin that runs tasks.
    pub fn in_service(&self, plugin: &PluginName) -> Option<InService> {
        self.shared.registry.in_service(plugin)
    }

    /// Checks that a plugin is in service.
    ///
    /// # Errors
    ///
    /// Returns the reason if it is not.
    pub fn check_ready(&self, plugin: &PluginName) -> Result<(), NotReadyError> {
        self.shared.registry.check_ready(plugin)
    }

    /// Returns the pooled engine, for benchmarks of its raw performance.
    pub fn engine(&self) -> &Engine {
        self.shared.loader.engines.get(Profile::Pooled)
    }

    /// Returns true if swap was enabled after the start. Tasks of pooled guests then wait for a restart, because
    /// memory of one guest could leak into the next.
    pub fn is_blocked_by_swap(&self) -> bool {
        self.shared.swap.is_enabled_since_start()
    }

    /// Returns how memories are reset on this machine.
    pub fn memory_reset(&self) -> MemoryReset {
        self.shared.loader.engines.memory_reset()
    }

    /// Returns the memory budget of all runs, and its usage.
    pub fn memory_usage(&self) -> MemoryUsage {
        let memory = &self.shared.memory;
        MemoryUsage { bytes_max: memory.bytes_max(), used_bytes: memory.used() }
    }

    /// Returns the status of every instance, in no particular order. Blocks no run for longer than it takes to read
    /// one shard of the list.
    pub fn instances(&self) -> Vec<InstanceInfo> {
        self.shared.instances.infos()
    }

    /// Returns the status of the instance of a task; `None` if it has none on this host.
    pub fn instance(&self, task: TaskId) -> Option<InstanceInfo> {
        self.shared.instances.info(task)
    }

    /// Returns the functions that the guest of a task computes in, innermost first and at most 64, as they were less than
    /// half a second ago. `None` if it has no guest on this host, or the guest does not compute for a tenth of a second.
    pub async fn stack(&self, task: TaskId) -> Option<Arc<[String]>> {
        self.shared.instances.ask_for_stack(task)?.functions().await
    }

    /// Starts sampling what guests compute; `None` if sampling is already on.
    pub fn start_sampling(&self) -> Option<GuestSampler> {
        self.shared.loader.samples.start()
    }

    /// Returns statistics on loading plugins since the start.
    pub fn load_stats(&self) -> LoadStats {
        self.shared.loader.counters.snapshot()
    }

    /// Returns the current usage of the pools.
    pub fn pool_usage(&self) -> PoolUsage {
        let metrics = self.engine().pooling_allocator_metrics().expect("the engine is made with pools");
        PoolUsage {
            instances: metrics.component_instances(),
            memories: metrics.memories(),
            unused_bytes_resident: metrics.unused_memory_bytes_resident(),
        }
    }
}

/// Returns the gauge of resident memory, without what free pool slots keep for reuse and without what the host
/// itself holds. Returns nothing if memory is not bounded.
fn gauge(config: &RuntimeConfig, engines: &Engines, host_bytes: Arc<AtomicU64>) -> Gauge {
    if config.memory_total_bytes.is_none() {
        return Box::new(|| None);
    }
    let resident = ResidentMemory::open();
    let metrics =
        engines.get(Profile::Pooled).pooling_allocator_metrics().expect("the engine is made with pools");
    Box::new(move || {
        let kept_bytes = metrics.unused_memory_bytes_resident() + metrics.unused_table_bytes_resident();
        let host_bytes = host_bytes.load(Relaxed);
        Some(resident.bytes()?.saturating_sub(kept_bytes as u64).saturating_sub(host_bytes))
    })
}

impl Shared {
    /// Resolves the plugin version of a run, reserves the estimated memory, and lists the run.
    fn start_run(&self, run: &RunRequest) -> Result<StartedRun, Failure> {
        let Some(plugin) = self.registry.get(&run.plugin) else {
            let message = format!("the plugin {} is not in service", run.plugin);
            return Err(Failure::new(Cause::LostPlugin, message));
        };
        let context = &plugin.context;
        // Waiting tasks are no longer claimed; this one was claimed just before swap was detected.
        if context.profile == Profile::Pooled && self.swap.is_enabled_since_start() {
            return Err(Failure::new(Cause::HostFault, SWAP_ENABLED));
        }
        let expected = context.estimate.expected(context.config.limits.memory_bytes);
        let reservation =
            Arc::new(self.memory.reserve(expected, context.estimate.reserves_in_full(&self.memory)));
        let (task, attempt) = (run.task, run.attempt);
        let entry =
            RunEntry { task, attempt, plugin: Arc::clone(context), reservation: Arc::clone(&reservation) };
        Ok(StartedRun { _guard: self.instances.insert(entry), plugin, reservation })
    }
}

impl Runner for Runtime {
    fn run(&self, run: RunRequest) -> BoxFuture<'static, Result<RunStep, Failure>> {
        let shared = Arc::clone(&self.shared);
        // Not in the future: the scheduler asks for the available memory after this call.
        let started = shared.start_run(&run);
        Box::pin(async move { started?.run(&shared.ticker, run).await })
    }

    fn interrupt(&self) {
        self.shared.loader.engines.increment_epoch();
    }

    fn plugins(&self) -> Vec<PluginName> {
        let swap_enabled = self.shared.swap.is_enabled_since_start();
        self.shared.registry.names(|plugin| plugin.context.profile == Profile::OnDemand || !swap_enabled)
    }

    fn concurrency(&self, plugin: &PluginName) -> Option<usize> {
        let plugin = self.shared.registry.get(plugin)?;
        plugin.context.config.concurrency.map(|concurrency| concurrency as usize)
    }

    fn rate(&self, plugin: &PluginName) -> Option<Rate> {
        self.shared.registry.get(plugin)?.context.config.rate
    }

    fn retry_on(&self, plugin: &PluginName) -> RetryOn {
        self.shared.registry.get(plugin).map(|plugin| plugin.context.config.retry.on).unwrap_or_default()
    }

    fn available_memory(&self) -> u64 {
        self.shared.memory.available()
    }

    fn expected_memory(&self, plugin: &PluginName) -> u64 {
        let expected = self.shared.registry.get(plugin).map_or(0, |plugin| {
            let limit_bytes = plugin.context.config.limits.memory_bytes;
            plugin.context.estimate.expected(limit_bytes)
        });
        expected.min(self.shared.memory.bytes_max())
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("plugins", &self.plugins()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use wasmill_model::Limits;

    use super::*;

    #[test]
    fn bytes_held_by_the_host_are_not_attributed_to_guests() {
        const BYTES: u64 = 64 << 20;
        let config = RuntimeConfig { slots: 8, limits: Limits::default(), memory_total_bytes: Some(1 << 30) };
        let host_bytes = Arc::<AtomicU64>::default();
        let gauge = gauge(&config, &Engines::new(&config).unwrap(), Arc::clone(&host_bytes));
        let held = black_box(vec![1_u8; BYTES as usize]);
        // Other tests allocate meanwhile, so only one of many attempts has to be undisturbed.
        let is_left_out = (0..1_000).any(|_| {
            host_bytes.store(0, Relaxed);
            let before = gauge().unwrap();
            host_bytes.store(BYTES, Relaxed);
            before.saturating_sub(BYTES) == gauge().unwrap()
        });
        assert!(is_left_out);
        drop(held);
    }
}

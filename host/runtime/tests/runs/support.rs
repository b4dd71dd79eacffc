//! Guests, a host that records their calls, and a runtime that most tests share.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::{MutexGuard, watch};
use wasmill_model::{
    BoxFuture, DependencyResult, Failure, Limits, LogStream, LogTail, Meter, Progress, RunHost, RunRequest,
    RunStep, Runner, TaskId,
};
use wasmill_runtime::{CacheConfig, LoaderConfig, PluginConfig, Runtime, RuntimeConfig};

/// How long a test waits for what should happen at once.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Slots of the runtime that [`alone`] returns.
pub(crate) const SLOTS: u32 = 100;

/// Small limits, so that tests reach them quickly.
pub(crate) fn limits() -> Limits {
    Limits { memory_bytes: 8 << 20, result_bytes: 64 << 10, checkpoint_bytes: 1 << 10, ..Limits::default() }
}

/// Builds a guest if necessary, and returns its bytes.
pub(crate) fn guest(folder: &str) -> Vec<u8> {
    // Read at run time: this may have been compiled in another clone that shares the target folder.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    let root = Path::new(&package).join("../..");
    let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
    let built = wasmill_guest_build::build_in(&root.join(folder), &target_dir);
    std::fs::read(built.unwrap_or_else(|error| panic!("{error}"))).unwrap()
}

/// Returns the guest that does what its input says.
pub(crate) fn misbehave() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| guest("tests/guests/misbehave"))
}

/// Returns the guest that does nothing.
pub(crate) fn noop() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| guest("tests/guests/noop"))
}

/// Returns the program that does what its arguments say.
pub(crate) fn program() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| guest("tests/guests/program"))
}

/// Returns a configuration with a cache that all tests share: each is a process of its own.
fn cached() -> LoaderConfig {
    let cache = CacheConfig::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
    LoaderConfig { cache: Some(cache), load_timeout: Duration::from_secs(60), ..LoaderConfig::default() }
}

/// Creates a runtime with one plugin of this configuration.
pub(crate) fn runtime_of(name: &str, bytes: &[u8], plugin_config: PluginConfig) -> Runtime {
    let config = RuntimeConfig { slots: 4, limits: limits(), memory_total_bytes: None };
    let plugins = LoaderConfig { default_config: Some(plugin_config), ..cached() };
    let runtime = Runtime::start(config, &[(name, bytes.to_vec().leak())], plugins).unwrap();
    assert_eq!(runtime.check_ready(&name.parse().unwrap()), Ok(()));
    runtime
}

/// Creates a runtime as [`runtime_of`] does, whose scratch folders are in this folder.
pub(crate) fn runtime_with_scratch(
    name: &str,
    bytes: &[u8],
    plugin_config: PluginConfig,
    scratch: &Path,
) -> Runtime {
    let config = RuntimeConfig { slots: 4, limits: limits(), memory_total_bytes: None };
    let scratch = Some(scratch.to_owned());
    let plugins = LoaderConfig { default_config: Some(plugin_config), scratch, ..cached() };
    let runtime = Runtime::start(config, &[(name, bytes.to_vec().leak())], plugins).unwrap();
    assert_eq!(runtime.check_ready(&name.parse().unwrap()), Ok(()));
    runtime
}

/// Returns a configuration with small limits and no permissions.
pub(crate) fn plugin_config() -> PluginConfig {
    PluginConfig { limits: limits(), ..PluginConfig::default() }
}

/// Runs a plugin to its end.
pub(crate) async fn finish(runtime: &Runtime, plugin: &str, input: &str) -> Result<String, Failure> {
    finish_with(runtime, plugin, input, &Arc::new(Host::default())).await
}

/// Runs a plugin to its end with this host.
pub(crate) async fn finish_with(
    runtime: &Runtime,
    plugin: &str,
    input: &str,
    host: &Arc<Host>,
) -> Result<String, Failure> {
    let run = RunRequest { plugin: plugin.parse().unwrap(), ..run(input, host) };
    done(runtime.run(run)).await
}

/// Returns the text of the result of a run that must not be suspended.
pub(crate) async fn done(run: impl Future<Output = Result<RunStep, Failure>>) -> Result<String, Failure> {
    match tokio::time::timeout(SOON, run).await.expect("the run ends soon")? {
        RunStep::Done(result) => Ok(result.text),
        RunStep::Suspended(later) => panic!("it is suspended: {later:?}"),
    }
}

/// Creates a runtime with `misbehave` in service.
pub(crate) fn runtime(slots: u32) -> Runtime {
    let config = RuntimeConfig { slots, limits: limits(), memory_total_bytes: None };
    Runtime::start(config, &[("misbehave", misbehave())], cached()).unwrap()
}

/// Returns the runtime shared by tests that do not examine its pools.
pub(crate) fn shared() -> &'static Runtime {
    static SHARED: OnceLock<Runtime> = OnceLock::new();
    SHARED.get_or_init(|| {
        let io_stub = guest("plugins/io-stub").leak();
        let config = RuntimeConfig { slots: 64, limits: limits(), memory_total_bytes: None };
        Runtime::start(config, &[("misbehave", misbehave()), ("io-stub", io_stub)], cached()).unwrap()
    })
}

/// Returns a runtime that no other test uses, so that its pools can be examined.
pub(crate) async fn alone() -> MutexGuard<'static, Runtime> {
    static ALONE: OnceLock<tokio::sync::Mutex<Runtime>> = OnceLock::new();
    let runtime = ALONE.get_or_init(|| tokio::sync::Mutex::new(runtime(SLOTS))).lock().await;
    assert_eq!(runtime.pool_usage().instances, 0, "the test before this one left a guest behind");
    runtime
}

/// Runs one action of `misbehave` to its end.
pub(crate) async fn commit(action: &str) -> Result<String, Failure> {
    commit_with(action, &Arc::new(Host::default())).await
}

/// Runs one action of `misbehave` to its end with this host.
pub(crate) async fn commit_with(action: &str, host: &Arc<Host>) -> Result<String, Failure> {
    done(shared().run(run(action, host))).await
}

/// Returns the first attempt at a task of `misbehave`.
pub(crate) fn run(action: &str, host: &Arc<Host>) -> RunRequest {
    RunRequest {
        task: TaskId::new(),
        plugin: "misbehave".parse().unwrap(),
        attempt: 1,
        attempts_max: 3,
        input: Some(action.to_owned()),
        host: Arc::clone(host) as Arc<dyn RunHost>,
        pass_results: false,
        pass_files: false,
    }
}

/// Records the calls of a guest.
pub(crate) struct Host {
    pub(crate) progress: watch::Sender<Option<Progress>>,
    pub(crate) log: Mutex<LogTail>,
    pub(crate) log_bytes: Mutex<u64>,
    /// The usage of the run so far.
    pub(crate) meter: Meter,
    pub(crate) checkpoint: watch::Sender<Option<Vec<u8>>>,
    /// Fails to save and restore checkpoints.
    pub(crate) is_broken: bool,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) dependencies: Result<Vec<DependencyResult>, Failure>,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            progress: watch::Sender::new(None),
            log: Mutex::new(LogTail::new(16 << 10)),
            log_bytes: Mutex::new(0),
            meter: Meter::default(),
            checkpoint: watch::Sender::new(None),
            is_broken: false,
            stop: watch::Sender::new(false),
            dependencies: Ok(Vec::new()),
        }
    }
}

impl Host {
    pub(crate) fn log_text(&self) -> String {
        self.log.lock().unwrap().text()
    }

    /// Waits until the guest has reported progress, and so is running.
    pub(crate) async fn progressed(&self) -> Progress {
        let mut progress = self.progress.subscribe();
        let progress_seen = tokio::time::timeout(SOON, progress.wait_for(Option::is_some)).await;
        progress_seen.expect("progress comes soon").unwrap().clone().unwrap()
    }

    /// Waits until the guest has saved a checkpoint.
    pub(crate) async fn saved(&self) -> Vec<u8> {
        let mut checkpoint = self.checkpoint.subscribe();
        let saved = tokio::time::timeout(SOON, checkpoint.wait_for(Option::is_some)).await;
        saved.expect("a checkpoint comes soon").unwrap().clone().unwrap()
    }
}

impl RunHost for Host {
    fn meter(&self) -> Option<&Meter> {
        Some(&self.meter)
    }

    fn progress(&self, progress: Progress) {
        self.progress.send_replace(Some(progress));
    }

    fn log(&self, _: LogStream, written: &[u8]) {
        self.log.lock().unwrap().write(written);
        *self.log_bytes.lock().unwrap() += written.len() as u64;
    }

    fn is_asked_to_stop(&self) -> bool {
        *self.stop.borrow()
    }

    fn asked_to_stop(&self) -> BoxFuture<'_, ()> {
        let mut stop = self.stop.subscribe();
        Box::pin(async move {
            stop.wait_for(|stop| *stop).await.expect("the host outlives its guest");
        })
    }

    fn dependency_results(&self) -> BoxFuture<'_, Result<Vec<DependencyResult>, Failure>> {
        Box::pin(std::future::ready(self.dependencies.clone()))
    }

    fn save(&self, state: Vec<u8>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            if self.is_broken {
                return Err("the disk is full".to_owned());
            }
            self.checkpoint.send_replace(Some(state));
            Ok(())
        })
    }

    fn restore(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            if self.is_broken {
                Err("the disk is gone".to_owned())
            } else {
                Ok(self.checkpoint.borrow().clone())
            }
        })
    }
}

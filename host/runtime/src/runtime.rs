//! The handle that the binary makes and the scheduler calls.
//!
//! Owns the engine, its ticker and the plugins; the last clone takes them with it.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use wasmill_model::{BoxFuture, Cause, Failure, Limits, PluginName, Run, Runner};
use wasmtime::Engine;

use crate::pool::MemoryReset;
use crate::registry::{PluginInfo, Registry};
use crate::ticker::Ticker;
use crate::{engine, instance, loader};

/// How large the runtime is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// How many guests may run at once. Address space and mappings are set aside for each; see
    /// [`affordable_slots`](crate::affordable_slots).
    pub slots: u32,
    /// What each run may use. Its timeout and log are the scheduler's to enforce.
    pub limits: Limits,
}

/// Why there is no runtime.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The machine has no room for so many slots, or wasmtime does not work on it.
    #[error("failed to make room for {slots} slots: {reason}")]
    Engine {
        /// How many were asked for.
        slots: u32,
        /// What wasmtime says.
        reason: String,
    },
    /// The thread that interrupts guests could not be started.
    #[error("failed to start the thread that interrupts guests")]
    Ticker(#[source] io::Error),
    /// The plugins folder is there but cannot be read.
    #[error("failed to read plugins folder {path}")]
    PluginsFolder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Runs plugins. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    limits: Limits,
    engine: Engine,
    reset: MemoryReset,
    ticker: Ticker,
    registry: Registry,
}

/// How much of the pools is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUsage {
    /// Instances that exist now.
    pub instances: u64,
    /// Linear memories in use now.
    pub memories: usize,
    /// Bytes of memory kept by slots that are free.
    pub unused_bytes_resident: usize,
}

impl Runtime {
    /// Sets aside the room for all slots, then loads the plugins: the built-in ones and every
    /// `*.wasm` of the folder, where a good file takes the place of a built-in of the same name.
    ///
    /// Blocks while plugins compile, and returns whatever became of them; see [`Runtime::plugins_info`].
    ///
    /// # Errors
    ///
    /// Fails if there is no room for so many slots, or if the folder is there but cannot be read.
    pub fn new(
        config: RuntimeConfig,
        builtins: &[(&str, &'static [u8])],
        plugins_folder: Option<&Path>,
    ) -> Result<Self, RuntimeError> {
        let (engine, reset) = engine::build(&config)?;
        let linker = loader::linker(&engine)
            .map_err(|error| RuntimeError::Engine { slots: config.slots, reason: format!("{error:#}") })?;
        let registry = Registry::load(&linker, builtins, plugins_folder)?;
        let ticker = Ticker::start(engine.clone()).map_err(RuntimeError::Ticker)?;
        let limits = config.limits;
        Ok(Self { inner: Arc::new(Inner { limits, engine, reset, ticker, registry }) })
    }

    /// Returns what is known of every plugin and every file that was rejected.
    pub fn plugins_info(&self) -> Vec<PluginInfo> {
        self.inner.registry.infos().to_vec()
    }

    /// Checks that a plugin is in service.
    ///
    /// # Errors
    ///
    /// Says in a sentence why it is not: unknown, with those that are known, or rejected, with the
    /// reason.
    pub fn check_ready(&self, plugin: &PluginName) -> Result<(), String> {
        self.inner.registry.check_ready(plugin)
    }

    /// Returns the engine, to measure against what it gives at best.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// Returns how memories are made clean on this machine.
    pub fn memory_reset(&self) -> MemoryReset {
        self.inner.reset
    }

    /// Returns how much of the pools is in use now.
    pub fn pool_usage(&self) -> PoolUsage {
        let metrics = self.inner.engine.pooling_allocator_metrics().expect("the engine is made with pools");
        PoolUsage {
            instances: metrics.component_instances(),
            memories: metrics.memories(),
            unused_bytes_resident: metrics.unused_memory_bytes_resident(),
        }
    }
}

impl Inner {
    async fn run(&self, run: Run) -> Result<String, Failure> {
        let Some(plugin) = self.registry.get(&run.plugin) else {
            let message = format!("the plugin {} is not in service", run.plugin);
            return Err(Failure::new(Cause::LostPlugin, message));
        };
        let mut guest = pin!(instance::run(plugin, run, &self.limits));
        // Each poll is announced, so that the clock ticks while a guest computes and only then.
        poll_fn(|context| {
            let _poll = self.ticker.enter();
            guest.as_mut().poll(context)
        })
        .await
    }
}

impl Runner for Runtime {
    fn run(&self, run: Run) -> BoxFuture<'static, Result<String, Failure>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move { inner.run(run).await })
    }

    fn interrupt(&self) {
        self.inner.engine.increment_epoch();
    }

    fn plugins(&self) -> Vec<PluginName> {
        self.inner.registry.names()
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("plugins", &self.plugins()).finish_non_exhaustive()
    }
}

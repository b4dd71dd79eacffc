//! What the machine can do at best: bare wasmtime, our runtime without store and HTTP, one fsync.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tokio::runtime::Builder;
use wasmill_model::{BoxFuture, Limits, LogStream, Meter, Progress, RunHost, RunRequest, Runner, TaskId};
use wasmill_runtime::{Runtime, RuntimeConfig};
use wasmill_tests::NOOP;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};

use self::bindings::PluginPre;
use crate::report::Spread;

/// How long each floor is measured.
pub(crate) const TIME: Duration = Duration::from_secs(2);
/// The slots of the runtime, as many as a server has by default.
pub(crate) const SLOTS: u32 = 1_000;

mod bindings {
    wasmtime::component::bindgen!({ path: "../wit", world: "plugin", exports: { default: async } });
}

fn noop_runtime() -> Result<Runtime> {
    let config = RuntimeConfig { slots: SLOTS, limits: Limits::default(), memory_total_bytes: None };
    Ok(Runtime::new(config, &[("noop", NOOP)], None)?)
}

/// Measures bare wasmtime with a server's engine: instantiate, call, drop, and nothing else.
pub(crate) fn bare_wasmtime(threads: usize) -> Result<f64> {
    let runtime = noop_runtime()?;
    let engine = runtime.engine();
    let plugin = bare_plugin(engine).map_err(to_anyhow)?;
    on_threads(threads, || bare_runs(engine, &plugin))
}

fn bare_plugin(engine: &Engine) -> wasmtime::Result<PluginPre<()>> {
    let component = Component::from_binary(engine, NOOP)?;
    let mut linker = Linker::new(engine);
    linker.define_unknown_imports_as_traps(&component)?;
    PluginPre::new(linker.instantiate_pre(&component)?)
}

fn bare_runs(engine: &Engine, plugin: &PluginPre<()>) -> Result<u64> {
    let executor = Builder::new_current_thread().build()?;
    let start = Instant::now();
    let mut runs = 0;
    while start.elapsed() < TIME {
        executor.block_on(bare_run(engine, plugin)).map_err(to_anyhow)?;
        runs += 1;
    }
    Ok(runs)
}

async fn bare_run(engine: &Engine, plugin: &PluginPre<()>) -> wasmtime::Result<()> {
    let mut store = Store::new(engine, ());
    store.set_epoch_deadline(u64::MAX / 2);
    let instance = plugin.instantiate_async(&mut store).await?;
    let answer = instance.wasmill_task_job().call_run(&mut store, "null").await?;
    wasmtime::ensure!(answer.is_ok(), "the guest failed");
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is that of map_err")]
pub(crate) fn to_anyhow(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:#}")
}

/// Measures our runtime alone: the cost of a run without store, scheduler and HTTP.
pub(crate) fn runtime(threads: usize) -> Result<f64> {
    runs_of(&noop_runtime()?, "noop", threads)
}

/// Measures how many runs of a plugin this runtime does per second.
pub(crate) fn runs_of(runtime: &Runtime, plugin: &str, threads: usize) -> Result<f64> {
    let plugin = plugin.parse()?;
    on_threads(threads, || {
        let host: Arc<dyn RunHost> = Arc::new(NoHost::default());
        let executor = Builder::new_current_thread().enable_all().build()?;
        let start = Instant::now();
        let mut runs = 0;
        while start.elapsed() < TIME {
            let run = RunRequest {
                task: TaskId::new(),
                plugin: Clone::clone(&plugin),
                attempt: 1,
                attempts_max: 1,
                input: None,
                host: Arc::clone(&host),
                pass_results: false,
                pass_files: false,
            };
            executor.block_on(runtime.run(run))?;
            runs += 1;
        }
        Ok(runs)
    })
}

/// A host for a no-op, which calls nothing; usage is metered as in the server.
#[derive(Default)]
struct NoHost(Meter);

impl RunHost for NoHost {
    fn meter(&self) -> Option<&Meter> {
        Some(&self.0)
    }

    fn progress(&self, _: Progress) {}

    fn log(&self, _: LogStream, _: &[u8]) {}

    fn save(&self, _: Vec<u8>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn restore(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>> {
        Box::pin(async { Ok(None) })
    }
}

/// Lets each thread count its runs; returns the total per second.
pub(crate) fn on_threads(threads: usize, work: impl Fn() -> Result<u64> + Sync) -> Result<f64> {
    let start = Instant::now();
    let runs: Result<Vec<u64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        threads.into_iter().map(|thread| thread.join().ok().context("a thread panicked")?).collect()
    });
    Ok(runs?.into_iter().sum::<u64>() as f64 / start.elapsed().as_secs_f64())
}

/// Appends to a file and syncs it, repeatedly.
pub(crate) fn fsync() -> Result<Spread> {
    let mut file = tempfile::tempfile()?;
    let block = [7_u8; 4096];
    let samples: Result<Vec<_>> = (0..500)
        .map(|_| {
            let start = Instant::now();
            file.write_all(&block)?;
            file.sync_data()?;
            Ok(start.elapsed())
        })
        .collect();
    Ok(Spread::of(samples?))
}

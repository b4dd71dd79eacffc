//! Cost of one run by plugin kind, beside bare wasmtime doing the same.

use anyhow::{Result, bail};
use tokio::runtime::Builder;
use wasmill_model::Limits;
use wasmill_runtime::{PluginState, Runtime, RuntimeConfig};
use wasmill_tests::{HELLO, tiny};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, InstancePre, Module, Store};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2::{self, bindings::CommandPre};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::floors::{SLOTS, TIME, on_threads, runs_of, to_anyhow};
use crate::report::{per_second, row, title};

/// A module that writes a line; `TABLE` decides whether it fits into the pools.
const MODULE: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 17)
    (table TABLE funcref)
    (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\n")
    (func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))))"#;

/// Measures a program of each kind that writes one line.
pub(crate) fn measure(threads: usize) -> Result<()> {
    title(&format!("Cost of one run by kind: a program that writes a line, {threads} threads"));
    let pooled = module("10");
    let on_demand = module("30000");
    let config = RuntimeConfig { slots: SLOTS, limits: Limits::default(), memory_total_bytes: None };
    let plugins: [(&str, &'static [u8]); 3] =
        [("command", HELLO), ("module", pooled), ("on-demand", on_demand)];
    let runtime = Runtime::new(config, &plugins, None)?;
    for plugin in runtime.plugins_info() {
        if let PluginState::Rejected(reason) = plugin.state {
            bail!("{} is rejected: {reason}", plugin.name);
        }
    }
    let bare_command = bare_command(runtime.engine(), threads)?;
    let bare_module = bare_module(runtime.engine(), pooled, threads)?;
    let command = runs_of(&runtime, "command", threads)?;
    let module = runs_of(&runtime, "module", threads)?;
    let on_demand = runs_of(&runtime, "on-demand", threads)?;
    compare("command, a Rust program, pooled", command, "bare wasmtime", bare_command);
    compare("module, pooled", module, "bare wasmtime", bare_module);
    compare("module, on demand", on_demand, "the pooled one", module);
    Ok(())
}

fn module(table: &str) -> &'static [u8] {
    tiny::parse(&MODULE.replace("TABLE", table)).leak()
}

fn compare(name: &str, rate: f64, floor_name: &str, floor: f64) {
    let share = 100.0 * rate / floor;
    let floor = per_second(floor, "runs");
    row(name, &format!("{}, {share:.0} % of {floor_name} ({floor})", per_second(rate, "runs")));
}

struct Bare {
    wasi: WasiCtx,
    handles: ResourceTable,
}

impl WasiView for Bare {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.handles }
    }
}

fn bare_command(engine: &Engine, threads: usize) -> Result<f64> {
    let plugin = link_command(engine).map_err(to_anyhow)?;
    runs(threads, async || {
        let bare = Bare { wasi: WasiCtx::builder().arg("command").build(), handles: ResourceTable::new() };
        let mut store = Store::new(engine, bare);
        store.set_epoch_deadline(u64::MAX / 2);
        let command = plugin.instantiate_async(&mut store).await?;
        let ended = command.wasi_cli_run().call_run(&mut store).await?;
        wasmtime::ensure!(ended.is_ok(), "the program failed");
        Ok(())
    })
}

fn link_command(engine: &Engine) -> wasmtime::Result<CommandPre<Bare>> {
    let mut linker = Linker::new(engine);
    p2::add_to_linker_async(&mut linker)?;
    CommandPre::new(linker.instantiate_pre(&Component::from_binary(engine, HELLO)?)?)
}

fn bare_module(engine: &Engine, wasm: &[u8], threads: usize) -> Result<f64> {
    let plugin = link_module(engine, wasm).map_err(to_anyhow)?;
    runs(threads, async || {
        let mut store = Store::new(engine, WasiCtx::builder().arg("module").build_p1());
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = plugin.instantiate_async(&mut store).await?;
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
        start.call_async(&mut store, ()).await
    })
}

fn link_module(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<InstancePre<WasiP1Ctx>> {
    let mut linker = wasmtime::Linker::new(engine);
    p1::add_to_linker_async(&mut linker, |wasi| wasi)?;
    linker.instantiate_pre(&Module::from_binary(engine, wasm)?)
}

fn runs(threads: usize, run: impl AsyncFn() -> wasmtime::Result<()> + Sync) -> Result<f64> {
    on_threads(threads, || {
        let executor = Builder::new_current_thread().enable_all().build()?;
        let start = std::time::Instant::now();
        let mut runs = 0;
        while start.elapsed() < TIME {
            executor.block_on(run()).map_err(to_anyhow)?;
            runs += 1;
        }
        Ok(runs)
    })
}

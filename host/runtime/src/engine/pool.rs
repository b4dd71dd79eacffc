//! The instance pools: sized for all slots when the engine is created.

use wasmill_model::Limits;
use wasmtime::{Enabled, PoolingAllocationConfig};

use crate::config::RuntimeConfig;
use crate::engine::capacity::{
    AddressReservation, MEMORIES_PER_INSTANCE, TABLE_ELEMENTS, TABLES_PER_INSTANCE, with_spare_slots,
};
use crate::engine::memory_reset::MemoryReset;
use crate::engine::swap;

/// The maximum number of bytes that a free slot keeps resident.
const KEPT_BYTES_MAX: u64 = 4 << 20;
/// Free slots keep at most this fraction of the memory of all runs.
const KEPT_SHARE: u64 = 4;
/// The page size, for rounding; on the few machines with larger pages only the rounding differs.
const PAGE_BYTES: u64 = 4 << 10;

/// Core instances per component. A plain Rust component has three, one with linked libraries dozens.
pub(crate) const CORE_INSTANCES_PER_COMPONENT: u32 = 64;

/// Returns the ways to reset memories to try, best first.
pub(crate) fn memory_resets() -> &'static [MemoryReset] {
    if swap::is_on(&swap::swaps()) {
        &[MemoryReset::Decommit]
    } else {
        &[MemoryReset::ClearTouched, MemoryReset::Decommit]
    }
}

/// Returns the pool settings for a config.
pub(crate) fn config(config: &RuntimeConfig, reset: MemoryReset) -> PoolingAllocationConfig {
    let RuntimeConfig { slots, ref limits, .. } = *config;
    let kept_bytes = kept_bytes(config) as usize;
    let instances = with_spare_slots(slots);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .total_memories(instances.saturating_mul(MEMORIES_PER_INSTANCE))
        .total_tables(instances.saturating_mul(TABLES_PER_INSTANCE))
        .total_stacks(instances)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_INSTANCE)
        .max_tables_per_component(TABLES_PER_INSTANCE)
        .max_tables_per_module(TABLES_PER_INSTANCE)
        .max_memories_per_module(MEMORIES_PER_INSTANCE)
        .max_memory_size(memory_bytes_max(limits))
        .table_elements(TABLE_ELEMENTS);
    match reset {
        MemoryReset::ClearTouched => pool
            .pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(kept_bytes)
            .table_keep_resident(256 << 10),
        // Without the scan, everything that is kept is cleared, touched or not.
        MemoryReset::Decommit => pool
            .pagemap_scan(Enabled::No)
            .linear_memory_keep_resident(kept_bytes.min(256 << 10))
            .table_keep_resident(16 << 10),
    };
    pool
}

/// Returns the bytes of memory that a free slot keeps.
///
/// They stay resident after the guest is gone, up to 4 MiB in each slot that was ever used, and the next run in
/// that slot reuses them. A thousand slots could keep 4 GiB on a machine with less, so all free slots together keep
/// a fraction of the total memory, which is not available to runs (see [`guests_bytes_max`]). One memory per slot
/// is counted, as guests have one; the few guests with two share.
fn kept_bytes(config: &RuntimeConfig) -> u64 {
    let Some(total) = config.memory_total_bytes else { return KEPT_BYTES_MAX };
    let share = total / KEPT_SHARE / u64::from(with_spare_slots(config.slots));
    (share / PAGE_BYTES * PAGE_BYTES).min(KEPT_BYTES_MAX)
}

/// Returns the memory budget of all runs: the total, less what free slots keep.
pub fn guests_bytes_max(config: &RuntimeConfig) -> u64 {
    let kept = kept_bytes(config) * u64::from(with_spare_slots(config.slots));
    config.memory_total_bytes.map_or(u64::MAX, |total| total - kept)
}

/// Returns the address space of each memory of such a pool.
pub(crate) fn reservation(slots: u32, limits: &Limits) -> AddressReservation {
    AddressReservation::choose(u64::from(with_spare_slots(slots)), limits)
}

/// Returns the maximum size of one memory.
pub(crate) fn memory_bytes_max(limits: &Limits) -> usize {
    // 32-bit memories cannot be larger, and 64-bit ones are not supported.
    limits.memory_bytes.min(4 << 30) as usize
}

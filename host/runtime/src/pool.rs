//! The pools that instances come from: sized once, for all slots, when the engine is made.

use std::fmt;

use serde::{Deserialize, Serialize};
use wasmill_model::Limits;
use wasmtime::{Enabled, PoolingAllocationConfig};

use crate::capacity::{MEMORIES_PER_INSTANCE, Reservation, TABLE_ELEMENTS, TABLES_PER_INSTANCE, with_spares};
use crate::runtime::RuntimeConfig;
use crate::swap;

/// Bytes of its memory that a slot keeps for the next guest, at most.
const KEPT_BYTES_MAX: u64 = 4 << 20;
/// The part of the memory of all runs that free slots may keep.
const KEPT_SHARE: u64 = 4;
/// What the kernel counts in; twice as large on few machines, where it only rounds differently.
const PAGE_BYTES: u64 = 4 << 10;

/// Core instances of one component. A plain Rust component has three, one with linked libraries dozens.
pub(crate) const CORE_INSTANCES_PER_COMPONENT: u32 = 64;

/// How the memory of an instance is made clean for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryReset {
    /// The kernel tells which pages were touched (`PAGEMAP_SCAN`, Linux 6.7), and only those are
    /// cleared. Several times faster than giving them back.
    Touched,
    /// Memory is given back to the kernel, because it cannot tell or because there is swap: a page
    /// that was swapped out would not be told of.
    GivenBack,
}

impl MemoryReset {
    /// Returns the ways to try, best first.
    pub(crate) fn candidates() -> &'static [Self] {
        if swap::is_on(&swap::swaps()) { &[Self::GivenBack] } else { &[Self::Touched, Self::GivenBack] }
    }

    /// Says whether initial memories are mapped copy-on-write rather than copied.
    pub(crate) fn maps_images(self) -> bool {
        self == Self::GivenBack
    }
}

/// Writes the sentence that `doctor` shows.
impl fmt::Display for MemoryReset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Touched => "only the pages that a guest touched are cleared after it",
            Self::GivenBack => {
                "memory is given back to the kernel after each guest, which costs more than half of the speed: \
                 there is swap, or the kernel is older than Linux 6.7"
            }
        })
    }
}

/// Returns the pools for so many slots.
pub(crate) fn config(config: &RuntimeConfig, reset: MemoryReset) -> PoolingAllocationConfig {
    let RuntimeConfig { slots, ref limits, .. } = *config;
    let kept_bytes = kept_bytes(config) as usize;
    let instances = with_spares(slots);
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
        MemoryReset::Touched => pool
            .pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(kept_bytes)
            .table_keep_resident(256 << 10),
        // Without the scan, all that is kept is cleared, touched or not.
        MemoryReset::GivenBack => pool
            .pagemap_scan(Enabled::No)
            .linear_memory_keep_resident(kept_bytes.min(256 << 10))
            .table_keep_resident(16 << 10),
    };
    pool
}

/// Returns the bytes of memory that a free slot keeps.
///
/// What it keeps stays resident after the guest is gone: up to 4 MiB in each slot that was ever used, which
/// no run holds any more and which the next run in that slot uses again. A thousand slots could keep 4 GiB
/// on a machine that has less, so all of them together keep at most a part of the memory there is, and that
/// part is not given out to runs (see [`guests_bytes_max`]). It counts one memory for each slot, as guests
/// have one; those few with two share.
fn kept_bytes(config: &RuntimeConfig) -> u64 {
    let Some(total) = config.memory_total_bytes else { return KEPT_BYTES_MAX };
    let share = total / KEPT_SHARE / u64::from(with_spares(config.slots));
    (share / PAGE_BYTES * PAGE_BYTES).min(KEPT_BYTES_MAX)
}

/// Returns the bytes that all runs together may use: what there is, less what free slots keep.
pub fn guests_bytes_max(config: &RuntimeConfig) -> u64 {
    let kept = kept_bytes(config) * u64::from(with_spares(config.slots));
    config.memory_total_bytes.map_or(u64::MAX, |total| total - kept)
}

/// Returns the address space that each memory of such a pool needs.
pub(crate) fn reservation(slots: u32, limits: &Limits) -> Reservation {
    Reservation::choose(u64::from(with_spares(slots)), limits)
}

/// Returns the bytes that one memory can grow to.
pub(crate) fn memory_bytes_max(limits: &Limits) -> usize {
    // No 32-bit memory is larger, and none of 64 bits is on offer.
    limits.memory_bytes.min(4 << 30) as usize
}

//! How many instances this machine can run concurrently; the binary derives the default number of slots from it.
//!
//! The bottleneck is the number of memory mappings and the address space, not memory: an idle guest takes about 40
//! KiB. Nothing here allocates or changes a setting.

use std::fmt;

use rustix::process::{Resource, getrlimit};
use wasmill_model::Limits;

/// Bytes of a guest's stack: `WASM_STACK_BYTES` for wasm, the rest for host calls. Pages are backed by memory on
/// first use, so a large stack costs only address space.
pub(crate) const STACK_BYTES: usize = 1 << 20;
/// Bytes of stack for wasm before a stack overflow: wasmtime's default, so that a program that runs under wasmtime
/// runs here.
pub(crate) const WASM_STACK_BYTES: usize = 512 << 10;
/// Linear memories per component. Most have one; two allow a component composed of two.
pub(crate) const MEMORIES_PER_INSTANCE: u32 = 2;
/// Tables per component. A plain Rust component has two.
pub(crate) const TABLES_PER_INSTANCE: u32 = 6;
/// Elements per table, 8 bytes each.
pub(crate) const TABLE_ELEMENTS: usize = 20_000;

/// The kernel's default of `vm.max_map_count`.
const MAPPINGS_DEFAULT: u64 = 65_530;
/// Mappings reserved for the process itself: threads, libraries, compiled plugins.
const MAPPINGS_RESERVED: u64 = 2_048;
/// 2 for a stack and its guard, up to 3 for a memory.
const MAPPINGS_PER_INSTANCE: u64 = 5;
/// An upper bound on slots for any machine.
const SLOTS_MAX: u64 = 1_000_000;
/// Address space for the pools: half of that of a 64-bit Linux process.
const ADDRESS_BYTES_MAX: u64 = 64 << 40;
/// Address space reserved for everything else if the process has a limit.
const ADDRESS_BYTES_RESERVED: u64 = 4 << 30;
/// Reserving the whole 32-bit range saves bounds checks.
const WIDE: AddressReservation = AddressReservation { memory_bytes: 4 << 30, guard_bytes: 32 << 20 };
const WASM_PAGE_BYTES: u64 = 64 << 10;

/// The number of instances that fit, and what limits it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotCapacity {
    /// The maximum number of concurrent instances.
    pub slots: u32,
    /// What limits the number, and the command that raises the limit, in one sentence.
    pub reason: String,
}

/// Returns how many instances with these limits fit on this machine.
pub fn slot_capacity(limits: Limits) -> SlotCapacity {
    Machine::probe().capacity(&limits)
}

/// Address space reserved for one linear memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressReservation {
    /// Bytes of the memory itself.
    pub(crate) memory_bytes: u64,
    /// Bytes of the guard region after it.
    pub(crate) guard_bytes: u64,
}

impl AddressReservation {
    /// Picks the wide reservation if all slots fit with it, otherwise the minimum for the memory limit.
    pub(crate) fn choose(slots: u64, limits: &Limits) -> Self {
        Self::choose_within(slots, limits, Machine::probe().address_bytes)
    }

    fn choose_within(slots: u64, limits: &Limits, address_bytes: u64) -> Self {
        if slots.saturating_mul(WIDE.bytes_per_slot()) <= address_bytes { WIDE } else { Self::narrow(limits) }
    }

    fn narrow(limits: &Limits) -> Self {
        let memory_bytes = limits.memory_bytes.next_multiple_of(WASM_PAGE_BYTES);
        Self { memory_bytes, guard_bytes: WASM_PAGE_BYTES }
    }

    fn bytes_per_slot(&self) -> u64 {
        let memories = u64::from(MEMORIES_PER_INSTANCE) * (self.memory_bytes + self.guard_bytes);
        let tables = u64::from(TABLES_PER_INSTANCE) * TABLE_ELEMENTS as u64 * 8;
        memories + tables + STACK_BYTES as u64
    }
}

/// Returns the instances needed for `slots`, including those that are being torn down.
pub(crate) fn with_spare_slots(slots: u32) -> u32 {
    slots.saturating_add(16).saturating_add(slots / 64)
}

struct Machine {
    /// The limit on mappings; `None` if the kernel does not report it.
    mappings: Option<u64>,
    address_bytes: u64,
    address_space_is_limited: bool,
}

impl Machine {
    fn probe() -> Self {
        let mappings = std::fs::read_to_string("/proc/sys/vm/max_map_count");
        let limit = getrlimit(Resource::As).current;
        Self {
            mappings: mappings.ok().and_then(|count| count.trim().parse().ok()),
            address_bytes: limit.map_or(ADDRESS_BYTES_MAX, |bytes| {
                bytes.saturating_sub(ADDRESS_BYTES_RESERVED).min(ADDRESS_BYTES_MAX)
            }),
            address_space_is_limited: limit.is_some(),
        }
    }

    fn capacity(&self, limits: &Limits) -> SlotCapacity {
        let mappings = self.mappings.unwrap_or(MAPPINGS_DEFAULT);
        let by_mappings = mappings.saturating_sub(MAPPINGS_RESERVED) / MAPPINGS_PER_INSTANCE;
        let by_address = self.address_bytes / AddressReservation::narrow(limits).bytes_per_slot();
        let fit = by_mappings.min(by_address).min(SLOTS_MAX);
        let reason = if fit == SLOTS_MAX {
            format!("{SLOTS_MAX} slots are the maximum")
        } else if fit == by_mappings {
            self.mappings_reason(mappings)
        } else {
            self.address_reason(limits)
        };
        let slots =
            (0..=fit as u32).rev().find(|&slots| u64::from(with_spare_slots(slots)) <= fit).unwrap_or(0);
        SlotCapacity { slots, reason }
    }

    fn mappings_reason(&self, mappings: u64) -> String {
        let wanted = (mappings * 16).max(1 << 20).next_power_of_two();
        let said = if self.mappings.is_some() { "is" } else { "is probably" };
        format!(
            "each slot takes up to {MAPPINGS_PER_INSTANCE} memory mappings and vm.max_map_count {said} {mappings}; \
             for more: sysctl -w vm.max_map_count={wanted}"
        )
    }

    fn address_reason(&self, limits: &Limits) -> String {
        let slot = crate::error::format::bytes(AddressReservation::narrow(limits).bytes_per_slot());
        let space = crate::error::format::bytes(self.address_bytes);
        let fix =
            if self.address_space_is_limited { "ulimit -v unlimited" } else { "lower the memory limit" };
        format!("each slot takes {slot} of address space and {space} are free; for more: {fix}")
    }
}

/// Formats the number and the reason as one sentence.
impl fmt::Display for SlotCapacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} slots fit: {}", self.slots, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Machine =
        Machine { mappings: Some(65_530), address_bytes: ADDRESS_BYTES_MAX, address_space_is_limited: false };

    #[test]
    fn the_default_kernel_fits_twelve_thousand_slots_and_names_the_setting() {
        let affordable = USUAL.capacity(&Limits::default());
        assert!((12_000..13_000).contains(&affordable.slots), "{affordable}");
        assert!(affordable.reason.ends_with("sysctl -w vm.max_map_count=1048576"), "{affordable}");
    }

    #[test]
    fn a_raised_mapping_limit_fits_a_hundred_thousand_slots() {
        let raised = Machine { mappings: Some(1 << 20), ..USUAL };
        assert!(raised.capacity(&Limits::default()).slots >= 100_000);
    }

    #[test]
    fn an_address_space_limit_is_named() {
        let limited = Machine { address_bytes: 16 << 30, address_space_is_limited: true, ..USUAL };
        let affordable = limited.capacity(&Limits::default());
        assert!((50..150).contains(&affordable.slots), "{affordable}");
        assert!(affordable.reason.contains("ulimit -v"), "{affordable}");
    }

    #[test]
    fn a_machine_without_mappings_fits_no_slot() {
        let none = Machine { mappings: Some(100), ..USUAL };
        assert_eq!(none.capacity(&Limits::default()).slots, 0);
    }

    #[test]
    fn large_pools_reserve_only_what_the_limit_needs() {
        let limits = Limits::default();
        assert_eq!(AddressReservation::choose_within(1_000, &limits, ADDRESS_BYTES_MAX), WIDE);
        let narrow = AddressReservation::choose_within(100_000, &limits, ADDRESS_BYTES_MAX);
        assert_eq!(narrow.memory_bytes, limits.memory_bytes);
        assert!(100_000 * narrow.bytes_per_slot() < ADDRESS_BYTES_MAX);
    }
}

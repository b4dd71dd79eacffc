//! How many instances this machine affords at once. The binary settles the number of slots with it.
//!
//! The wall is the number of memory mappings and the address space, not memory itself: a sleeping
//! guest costs about 40 KiB. Nothing here allocates or changes a setting.

use std::fmt;

use rustix::process::{Resource, getrlimit};
use wasmill_model::Limits;

/// Bytes of stack that a guest runs on; its own share is `WASM_STACK_BYTES`, the rest is for calls to the host.
/// Only what a guest has touched is ever backed by memory, so that a large one costs address space alone.
pub(crate) const STACK_BYTES: usize = 1 << 20;
/// Bytes of stack that wasm may use before it counts as a stack overflow: as much as wasmtime gives by
/// default, so that a program that runs there runs here.
pub(crate) const WASM_STACK_BYTES: usize = 512 << 10;
/// Linear memories of one component. Most have one; two admit a component composed of two.
pub(crate) const MEMORIES_PER_INSTANCE: u32 = 2;
/// Tables of one component. A plain Rust component has two.
pub(crate) const TABLES_PER_INSTANCE: u32 = 6;
/// Elements of one table, which are 8 bytes each.
pub(crate) const TABLE_ELEMENTS: usize = 20_000;

/// What one mapping-counting kernel allows without configuration.
const MAPPINGS_DEFAULT: u64 = 65_530;
/// Mappings left for the process itself: threads, libraries, the code of plugins.
const MAPPINGS_RESERVED: u64 = 2_048;
/// 2 for a stack and its guard, up to 3 for a memory.
const MAPPINGS_PER_INSTANCE: u64 = 5;
/// No more slots than this, whatever the machine affords.
const SLOTS_MAX: u64 = 1_000_000;
/// Address space that pools may take: half of what a 64-bit Linux process has.
const ADDRESS_BYTES_MAX: u64 = 64 << 40;
/// Address space left for everything else where the process has a limit.
const ADDRESS_BYTES_RESERVED: u64 = 4 << 30;
/// Reserving all that 32 bits can address spares the guest its bounds checks.
const WIDE: Reservation = Reservation { memory_bytes: 4 << 30, guard_bytes: 32 << 20 };
const WASM_PAGE_BYTES: u64 = 64 << 10;

/// How many instances fit, and why not more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotCapacity {
    /// The most instances that fit at once.
    pub slots: u32,
    /// What stands in the way of more, and the command that moves it, in one sentence.
    pub reason: String,
}

/// Finds out how many instances with these limits fit at once on this machine.
pub fn slot_capacity(limits: Limits) -> SlotCapacity {
    Machine::probe().affords(&limits)
}

/// Address space set aside for one linear memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    /// Bytes reserved for the memory itself.
    pub(crate) memory_bytes: u64,
    /// Bytes after it that are never accessible.
    pub(crate) guard_bytes: u64,
}

impl Reservation {
    /// Picks the wide reservation when so many slots fit with it, else no more than the limit needs.
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

/// Says how many slots are asked for at most by those that are in use, and by those being torn down.
pub(crate) fn with_spares(slots: u32) -> u32 {
    slots.saturating_add(16).saturating_add(slots / 64)
}

struct Machine {
    /// The most mappings of one process; `None` where the kernel does not say.
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

    fn affords(&self, limits: &Limits) -> SlotCapacity {
        let mappings = self.mappings.unwrap_or(MAPPINGS_DEFAULT);
        let by_mappings = mappings.saturating_sub(MAPPINGS_RESERVED) / MAPPINGS_PER_INSTANCE;
        let by_address = self.address_bytes / Reservation::narrow(limits).bytes_per_slot();
        let fit = by_mappings.min(by_address).min(SLOTS_MAX);
        let reason = if fit == SLOTS_MAX {
            format!("{SLOTS_MAX} slots are the most there can be")
        } else if fit == by_mappings {
            self.mappings_reason(mappings)
        } else {
            self.address_reason(limits)
        };
        let slots = (0..=fit as u32).rev().find(|&slots| u64::from(with_spares(slots)) <= fit).unwrap_or(0);
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
        let slot = crate::format::bytes(Reservation::narrow(limits).bytes_per_slot());
        let space = crate::format::bytes(self.address_bytes);
        let fix =
            if self.address_space_is_limited { "ulimit -v unlimited" } else { "lower the memory limit" };
        format!("each slot takes {slot} of address space and {space} are free; for more: {fix}")
    }
}

/// Writes the number and the reason as one sentence.
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
    fn the_usual_kernel_affords_twelve_thousand_and_says_how_to_get_more() {
        let affordable = USUAL.affords(&Limits::default());
        assert!((12_000..13_000).contains(&affordable.slots), "{affordable}");
        assert!(affordable.reason.ends_with("sysctl -w vm.max_map_count=1048576"), "{affordable}");
    }

    #[test]
    fn a_raised_kernel_affords_a_hundred_thousand() {
        let raised = Machine { mappings: Some(1 << 20), ..USUAL };
        assert!(raised.affords(&Limits::default()).slots >= 100_000);
    }

    #[test]
    fn an_address_space_limit_is_named() {
        let limited = Machine { address_bytes: 16 << 30, address_space_is_limited: true, ..USUAL };
        let affordable = limited.affords(&Limits::default());
        assert!((50..150).contains(&affordable.slots), "{affordable}");
        assert!(affordable.reason.contains("ulimit -v"), "{affordable}");
    }

    #[test]
    fn a_machine_without_room_affords_nothing() {
        let none = Machine { mappings: Some(100), ..USUAL };
        assert_eq!(none.affords(&Limits::default()).slots, 0);
    }

    #[test]
    fn large_pools_reserve_only_what_the_limit_needs() {
        let limits = Limits::default();
        assert_eq!(Reservation::choose_within(1_000, &limits, ADDRESS_BYTES_MAX), WIDE);
        let narrow = Reservation::choose_within(100_000, &limits, ADDRESS_BYTES_MAX);
        assert_eq!(narrow.memory_bytes, limits.memory_bytes);
        assert!(100_000 * narrow.bytes_per_slot() < ADDRESS_BYTES_MAX);
    }
}

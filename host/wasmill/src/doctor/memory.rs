//! Memory, and how many slots the machine affords.

use rustix::process::{Resource, getrlimit};
use wasmill_runtime::{RuntimeConfig, guests_bytes_max, machine_memory_bytes, slot_capacity};

use crate::doctor::report::Check;
use crate::serve;
use crate::settings::Settings;
use crate::terminal::text::format_bytes;

/// Memory of the host itself under load: plugin code, database pages, results in transit.
const HOST_BYTES: u64 = 256 << 20;

pub(super) fn memory(settings: &Settings) -> Check {
    const NAME: &str = "memory";
    let total = serve::capacity::memory_total(settings);
    let total_shown = format_bytes(total);
    let Some(machine) = machine_memory_bytes() else {
        return Check::warn(
            NAME,
            format!("unknown; tasks may use {total_shown} together, which is a guess"),
            "the kernel kills the server if there is less",
            "set --memory-total to the memory available for tasks",
        );
    };
    let slots = settings.slots_wanted().min(slot_capacity(settings.limits()).slots).max(1);
    let runtime = RuntimeConfig { slots, limits: settings.limits(), memory_total_bytes: Some(total) };
    let running = guests_bytes_max(&runtime);
    let found = format!(
        "{} here, {total_shown} of it for all tasks together: {} while they run, {} that free slots keep",
        format_bytes(machine),
        format_bytes(running),
        format_bytes(total.saturating_sub(running)),
    );
    if total > machine {
        Check::fail(
            NAME,
            found,
            "the kernel kills the server when tasks use their limit",
            "omit --memory-total, or set it to three quarters of the machine's memory",
        )
    } else if machine - total < HOST_BYTES {
        Check::warn(
            NAME,
            found,
            "little is left for the host; the kernel kills the server if it needs more",
            format!("--memory-total {}", format_bytes(machine / 4 * 3)),
        )
    } else {
        Check::ok(NAME, found)
    }
}

pub(super) fn slots(settings: &Settings) -> Check {
    const NAME: &str = "slots";
    let capacity = slot_capacity(settings.limits());
    let wanted = settings.slots_wanted();
    let (why, fix) =
        capacity.reason.split_once("; for more: ").unwrap_or((&capacity.reason, "lower --slots"));
    let found = format!("{} fit, {wanted} are requested: {why}", capacity.slots);
    if capacity.slots == 0 {
        Check::fail(NAME, found, "serve does not start", fix)
    } else if capacity.slots >= wanted {
        Check::ok(NAME, format!("{wanted} requested, {} fit", capacity.slots))
    } else {
        let cost = format!("only {} tasks run at once", capacity.slots);
        if settings.slots.is_some() {
            Check::fail(NAME, found, cost, fix)
        } else {
            Check::warn(NAME, found, cost, fix)
        }
    }
}

/// Checks the address space limit, if there is one.
pub(super) fn address_space() -> Option<Check> {
    let max = getrlimit(Resource::As).current?;
    Some(Check::warn(
        "address space",
        format!("limited to {}", format_bytes(max)),
        "slots reserve address space, so fewer fit, and guests run with explicit bounds checks",
        "ulimit -v unlimited",
    ))
}

//! Memory, and how many slots the machine affords.

use rustix::process::{Resource, getrlimit};
use wasmill_runtime::{RuntimeConfig, affordable_slots, guests_bytes_max, machine_memory_bytes};

use crate::doctor::report::Check;
use crate::screen::text::bytes;
use crate::serve;
use crate::settings::{Config, SLOTS};

/// What the host itself takes at work: code of plugins, pages of the database, results on their way.
const HOST_BYTES: u64 = 256 << 20;

pub(super) fn memory(config: &Config) -> Check {
    const NAME: &str = "memory";
    let total = serve::memory_total(config);
    let total_shown = bytes(total);
    let Some(machine) = machine_memory_bytes() else {
        return Check::warn(
            NAME,
            format!("not told; all tasks together may use {total_shown}, which is a guess"),
            "the kernel ends the server if there is less",
            format!("--memory-total {total_shown}, or what there is for tasks"),
        );
    };
    let slots = config.slots.unwrap_or(SLOTS).min(affordable_slots(config.limits()).slots).max(1);
    let runtime = RuntimeConfig { slots, limits: config.limits(), memory_total_bytes: Some(total) };
    let running = guests_bytes_max(&runtime);
    let found = format!(
        "{} here, {total_shown} of it for all tasks together: {} while they run, {} that free slots keep",
        bytes(machine),
        bytes(running),
        bytes(total.saturating_sub(running)),
    );
    if total > machine {
        Check::fail(
            NAME,
            found,
            "the kernel ends the server when tasks use what they may",
            "leave out --memory-total, or name three quarters of what there is",
        )
    } else if machine - total < HOST_BYTES {
        Check::warn(
            NAME,
            found,
            "little is left for the host, and the kernel ends the server if it needs more",
            format!("--memory-total {}", bytes(machine / 4 * 3)),
        )
    } else {
        Check::ok(NAME, found)
    }
}

pub(super) fn slots(config: &Config) -> Check {
    const NAME: &str = "slots";
    let affordable = affordable_slots(config.limits());
    let wanted = config.slots.unwrap_or(SLOTS);
    let (why, fix) =
        affordable.reason.split_once("; for more: ").unwrap_or((&affordable.reason, "lower --slots"));
    let found = format!("{} fit, {wanted} are asked for: {why}", affordable.slots);
    if affordable.slots == 0 {
        Check::fail(NAME, found, "serve does not start", fix)
    } else if affordable.slots >= wanted {
        Check::ok(NAME, format!("{wanted} asked for, {} fit", affordable.slots))
    } else {
        let cost = format!("only {} tasks run at once", affordable.slots);
        if config.slots.is_some() {
            Check::fail(NAME, found, cost, fix)
        } else {
            Check::warn(NAME, found, cost, fix)
        }
    }
}

/// Looks at the limit of address space, where there is one.
pub(super) fn address_space() -> Option<Check> {
    let most = getrlimit(Resource::As).current?;
    Some(Check::warn(
        "address space",
        format!("limited to {}", bytes(most)),
        "the memories of slots are laid out in address space, so fewer fit, and those check their bounds one by one",
        "ulimit -v unlimited",
    ))
}

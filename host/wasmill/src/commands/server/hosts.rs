//! `wasmill hosts`: the hosts that share the database of a server.

use std::time::Duration;

use anyhow::Result;

use crate::cli::server::StatsArgs;
use crate::client::{Client, Host, block_on};
use crate::exit::Exit;
use crate::output::{data, out};
use crate::terminal::text::{format_bytes, format_duration, padded, sanitize};

/// Prints the hosts as a table.
pub(crate) fn hosts(args: &StatsArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    let response = block_on(async { client.get("/hosts").await?.error_for_status() })?;
    if args.json {
        data!("{}", response.text());
        return Ok(Exit::Done);
    }
    out!("{}", row("HOST", "STATE", "LEASE", "SLOTS", "FREE MEMORY"));
    for host in response.read_list::<Host>()? {
        let state = match (host.this, host.on_duty) {
            (true, true) => format!("{}, this, on duty", host.state),
            (true, false) => format!("{}, this", host.state),
            (false, true) => format!("{}, on duty", host.state),
            (false, false) => host.state,
        };
        let lease = format_duration(Duration::from_millis(host.lease_age_ms));
        let slots = format!("{} of {}", host.slots.used, host.slots.total);
        let name = format!("{} {}", sanitize(&host.name), &host.id);
        out!("{}", row(&name, &state, &lease, &slots, &format_bytes(host.memory_free_bytes)));
        if !host.other_settings.is_empty() {
            out!("  has other settings than this one: {}", sanitize(&host.other_settings.join(", ")));
        }
    }
    Ok(Exit::Done)
}

fn row(host: &str, state: &str, lease: &str, slots: &str, memory: &str) -> String {
    let line = [padded(host, 34), padded(state, 20), padded(lease, 8), padded(slots, 14), memory.to_owned()];
    line.join("  ").trim_end().to_owned()
}

//! `wasmill stats`: shows server statistics.

use anyhow::Result;

use crate::cli::server::StatsArgs;
use crate::client::{Client, PluginStats, StateCounts, Stats, block_on};
use crate::exit::Exit;
use crate::output::{data, out};
use crate::terminal::BAR_COLUMNS;
use crate::terminal::style::Style;
use crate::terminal::text::format_bytes;

/// Prints the statistics.
pub(crate) fn stats(args: &StatsArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    let response = block_on(async { client.get("/stats").await?.error_for_status() })?;
    if args.json {
        data!("{}", response.text());
        return Ok(Exit::Done);
    }
    let Stats { waiting, running, slots, memory, draining, stored, is_at_least, finished, plugins } =
        response.read()?;
    let style = Style::stdout();
    out!("waiting   {waiting}");
    out!("running   {running}");
    let bar = |used: u64, total: u64| style.bar(used as f64 / total.max(1) as f64, BAR_COLUMNS);
    if let Some(slots) = slots {
        out!("slots     {} {} of {} used", bar(slots.used, slots.total), slots.used, slots.total);
    }
    if let Some(memory) = memory {
        let (used, total) = (format_bytes(memory.used_bytes), format_bytes(memory.total_bytes));
        out!("memory    {} {used} of {total} held", bar(memory.used_bytes, memory.total_bytes));
        if memory.blocks_queue {
            out!("          {}", style.yellow("the next task waits for memory"));
        }
    }
    out!("finished  {}", ended(stored, finished));
    for (name, PluginStats { stored, finished }) in &plugins {
        let (waiting, running) = (stored.waiting, stored.running);
        out!("  {name}: {waiting} waiting, {running} running; finished: {}", ended(*stored, *finished));
    }
    if is_at_least {
        out!("{}", style.yellow("there are very many tasks: these are at least so many"));
    }
    if draining {
        out!("{}", style.yellow("draining: no new tasks are accepted or started"));
    }
    Ok(Exit::Done)
}

/// Formats how many finished tasks are stored, and how many there ever were if they are counted.
fn ended(stored: StateCounts, finished: Option<StateCounts>) -> String {
    let ever = finished.map(|finished| format!(", {} ever", counts(finished))).unwrap_or_default();
    format!("{} stored{ever}", counts(stored))
}

/// Formats the number of finished tasks, with the failed and cancelled ones.
fn counts(by_state: StateCounts) -> String {
    let StateCounts { completed, failed, cancelled, .. } = by_state;
    format!("{} ({failed} failed, {cancelled} cancelled)", completed + failed + cancelled)
}

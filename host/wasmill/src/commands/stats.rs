//! `wasmill stats`: how busy a server is.

use anyhow::Result;

use crate::cli::server::StatsArgs;
use crate::client::{ByState, Client, OfPlugin, Stats, block_on};
use crate::exit::Exit;
use crate::output::{data, say};
use crate::screen::BAR_COLUMNS;
use crate::screen::paint::Paint;
use crate::screen::text::bytes;

/// Prints it.
pub(crate) fn stats(args: &StatsArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    let answer = block_on(async { client.get("/stats").await?.good() })?;
    if args.json {
        data!("{}", answer.text());
        return Ok(Exit::Done);
    }
    let Stats { waiting, running, slots, memory, draining, stored, finished, plugins } = answer.read()?;
    let paint = Paint::stdout();
    say!("waiting   {waiting}");
    say!("running   {running}");
    let bar = |used: u64, total: u64| paint.bar(used as f64 / total.max(1) as f64, BAR_COLUMNS);
    say!("slots     {} {} of {} used", bar(slots.used, slots.total), slots.used, slots.total);
    let (used, total) = (bytes(memory.used_bytes), bytes(memory.total_bytes));
    say!("memory    {} {used} of {total} held", bar(memory.used_bytes, memory.total_bytes));
    if memory.blocks_queue {
        say!("          {}", paint.yellow("the next task waits for memory"));
    }
    let (now, ever) = (counts(stored), counts(finished));
    say!("ended     {now} stored, {ever} ever");
    for (name, OfPlugin { stored, finished }) in &plugins {
        let (waiting, running) = (stored.waiting, stored.running);
        let (now, ever) = (counts(*stored), counts(*finished));
        say!("  {name}: {waiting} waiting, {running} running; ended: {now} stored, {ever} ever");
    }
    if draining {
        say!("{}", paint.yellow("draining: nothing new is taken or started"));
    }
    Ok(Exit::Done)
}

/// Words those that ended: all of them, and how many not well.
fn counts(by_state: ByState) -> String {
    let ByState { completed, failed, cancelled, .. } = by_state;
    format!("{} ({failed} failed, {cancelled} cancelled)", completed + failed + cancelled)
}

//! Writes docs/growth.md and its charts.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use wasmill_model::{Clock, SystemClock};

use super::chart::{Panel, draw, short};
use super::{ms, slots, stored, thousands};

/// Writes the page and both charts.
pub(super) fn write(slots: &[slots::Point], stored: &[stored::Point]) -> Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    std::fs::write(docs.join("growth-slots.svg"), slots_curves(slots))?;
    std::fs::write(docs.join("growth-stored.svg"), stored_curves(stored))?;
    std::fs::write(docs.join("growth.md"), page(slots, stored)?)?;
    println!("\nwritten: docs/growth.md, docs/growth-slots.svg, docs/growth-stored.svg");
    Ok(())
}

/// Below this number, a shared cost says nothing about each task.
const FEW: u64 = 100;

fn slots_curves(points: &[slots::Point]) -> String {
    let curve = |head, least, of: fn(&slots::Point) -> f64| {
        let points = points.iter().filter(|point| point.sleeping >= least);
        Panel {
            head,
            across: "tasks asleep",
            points: points.map(|point| (short(point.sleeping), of(point))).collect(),
        }
    };
    draw(
        "What a task costs beside tasks that sleep",
        &[
            curve("CPU for one no-op task, \u{b5}s", 1, |point| point.cost.cpu_us),
            curve("to start one sleeper, \u{b5}s", FEW, |point| each_us(point.start, point.sleeping)),
            curve("memory of one sleeper, KiB", FEW, |point| point.bytes / 1024.0),
        ],
    )
}

fn stored_curves(points: &[stored::Point]) -> String {
    let curve = |head, of: fn(&stored::Point) -> f64| Panel {
        head,
        across: "tasks stored",
        points: points.iter().map(|point| (short(point.stored), of(point))).collect(),
    };
    draw(
        "What a task costs beside tasks that are stored",
        &[
            curve("CPU for one no-op task, \u{b5}s", |point| point.cost.cpu_us),
            curve("GET of one task, p50, ms", |point| ms(point.get)),
            curve("start of the process, ms", |point| ms(point.start)),
        ],
    )
}

fn each_us(time: Duration, tasks: u64) -> f64 {
    time.as_secs_f64() * 1e6 / tasks as f64
}

fn page(slots: &[slots::Point], stored: &[stored::Point]) -> Result<String, std::fmt::Error> {
    let mut page = String::new();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let day = SystemClock.now().format("%Y-%m-%d");
    writeln!(page, "# What a task costs beside many others\n")?;
    writeln!(page, "Made by `make bench-growth` on {day}: {cores} cores, Linux {}.", kernel.trim())?;
    writeln!(page, "The load generator, 32 clients over HTTP, is on the same cores; every task is fsynced.")?;
    writeln!(page, "Each figure is from one run of 3 s: compare the ends of a curve, not its neighbours.\n")?;
    writeln!(page, "## Beside tasks that sleep\n")?;
    writeln!(
        page,
        "Each sleeper has a slot and an instance of its own, of a guest of the tests that sleeps in one call; \
         no-op tasks come and go beside them.\n"
    )?;
    writeln!(page, "![Curves of the table below](growth-slots.svg)\n")?;
    writeln!(
        page,
        "| asleep | CPU for one no-op | no-ops | memory of one sleeper | all started | all cancelled | idle |"
    )?;
    writeln!(page, "| --- | --- | --- | --- | --- | --- | --- |")?;
    for point in slots {
        let few = point.sleeping < FEW;
        let memory = if few { String::new() } else { format!("{:.1} KiB", point.bytes / 1024.0) };
        writeln!(
            page,
            "| {} | {:.1} \u{b5}s | {}/s | {memory} | {:.0} ms | {} | {:.1} % of a core |",
            thousands(point.sleeping),
            point.cost.cpu_us,
            thousands(point.cost.per_second as u64),
            ms(point.start),
            point.cancelled(),
            100.0 * point.idle
        )?;
    }
    writeln!(page, "\n## Beside tasks that are stored\n")?;
    writeln!(page, "They have completed, and nothing forgets them.\n")?;
    writeln!(page, "![Curves of the table below](growth-stored.svg)\n")?;
    writeln!(
        page,
        "| stored | CPU for one no-op | no-ops | GET of one, p50 | list of 100, p50 | start | on disk, each |"
    )?;
    writeln!(page, "| --- | --- | --- | --- | --- | --- | --- |")?;
    for point in stored {
        let bytes = if point.stored == 0 { String::new() } else { format!("{:.0} B", point.bytes) };
        writeln!(
            page,
            "| {} | {:.1} \u{b5}s | {}/s | {:.2} ms | {:.2} ms | {:.0} ms | {bytes} |",
            thousands(point.stored),
            point.cost.cpu_us,
            thousands(point.cost.per_second as u64),
            ms(point.get),
            ms(point.list),
            ms(point.start)
        )?;
    }
    Ok(page)
}

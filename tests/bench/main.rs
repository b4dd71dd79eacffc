//! `make bench`: what this machine can do at best, and what Wasmill makes of it, in one run.
//!
//! Everything is measured on the real server over loopback, the load generator on the same cores. The
//! floors stand beside the figures, since machines differ and are noisy: read the ratios.
//!
//! `make bench-growth` starts it with `growth`, and `make bench-peers` with `load`.

mod floors;
mod generated;
mod growth;
mod load;
mod parts;
mod report;

use anyhow::{Result, bail, ensure};
use tokio::runtime::{Builder, Runtime};

use crate::parts::cluster::{self, Sizes};
use crate::parts::{
    access, batch, cancel, fairness, files, kinds, large, latency, live, many, plugins, restart, suspended,
    throughput, ui, watched,
};
use crate::report::{per_second, row, title};

/// Keeps the tasks of test servers in PostgreSQL.
const TEST_DATABASE: &str = "WASMILL_TEST_DATABASE";

fn main() -> Result<()> {
    wasmill_tests::document::ignore();
    // Cargo says that this is a benchmark, which it knows.
    let words: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let load = Builder::new_current_thread().enable_all().build()?;
    let words = words.iter().map(String::as_str).collect::<Vec<_>>();
    ensure!(
        !matches!(words[..], [] | ["large" | "suspended" | "growth"])
            || std::env::var_os(TEST_DATABASE).is_none(),
        "{TEST_DATABASE} is set, and this part fills the tables of the embedded database; use cluster for PostgreSQL"
    );
    match words[..] {
        [] => measure(&load),
        // One part alone: `make bench ARGS=large`.
        ["large"] => load.block_on(large::measure()),
        ["access"] => load.block_on(access::measure(64)),
        ["batch"] => load.block_on(batch::measure()),
        ["throughput"] => load.block_on(throughput::measure(64)),
        ["latency"] => load.block_on(async {
            latency::measure_idle().await?;
            latency::measure_busy().await
        }),
        ["start"] => load.block_on(plugins::measure_start()),
        ["suspended"] => load.block_on(suspended::measure()),
        ["files"] => load.block_on(files::measure()),
        ["ui"] => load.block_on(ui::measure(64)),
        ["cluster"] => load.block_on(cluster::measure_and_write()),
        ["cluster", "quick"] => load.block_on(cluster::measure(Sizes::QUICK)),
        ["watched"] => load.block_on(watched::measure(64)),
        ["growth"] => growth::measure(),
        ["load", ref words @ ..] => load::run(words),
        _ => bail!(
            "unknown part {}; use throughput, access, large, batch, latency, start, suspended, files, ui, watched, cluster, growth or load, or no name for all but cluster and suspended",
            words.join(" ")
        ),
    }
}

fn measure(load: &Runtime) -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    title(&format!("Floors, on {cores} cores"));
    let bare_one = floors::bare_wasmtime(1)?;
    row("bare wasmtime, 1 thread", &per_second(bare_one, "runs"));
    let bare = floors::bare_wasmtime(cores)?;
    row(&format!("bare wasmtime, {cores} threads"), &per_second(bare, "runs"));
    let runtime = floors::runtime(cores)?;
    row(
        &format!("our runtime, {cores} threads"),
        &format!("{}, {:.0} % of bare", per_second(runtime, "runs"), 100.0 * runtime / bare),
    );
    let fsync = floors::fsync()?;
    row("one fsync of 4 KiB", &fsync.to_string());

    kinds::measure(cores)?;
    load.block_on(async {
        throughput::measure(64).await?;
        access::measure(64).await?;
        live::measure(64).await?;
        watched::measure(64).await?;
        ui::measure(64).await?;
        batch::measure().await?;
        latency::measure_idle().await?;
        latency::measure_busy().await?;
        cancel::measure(64).await?;
        fairness::measure(4).await?;
        fairness::measure(64).await?;
        latency::measure_beside_guests(64).await?;
        many::measure().await?;
        plugins::measure_drops().await?;
        plugins::measure_start().await?;
        restart::measure().await?;
        files::measure().await?;
        large::measure().await
    })
}
